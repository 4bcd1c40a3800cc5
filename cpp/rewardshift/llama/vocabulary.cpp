#include "rewardshift/llama/vocabulary.h"

#include <llama.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rewardshift/error.h"

namespace rewardshift::llama {
namespace {

/// llama.cpp's, less the space that SentencePiece models put before a text. A separator is put
/// there instead, which no token joins with anything behind it, and which is taken away again.
class ModelTokenizer final : public TextTokenizer {
 public:
  ModelTokenizer(std::shared_ptr<const Model> model, const std::vector<std::string>& bytes)
      : model_(std::move(model)) {
    const std::vector<Token> space_and_letter = tokens_or_none("a");
    std::string read;
    for (const Token token : space_and_letter) read += bytes[static_cast<std::size_t>(token)];
    if (read.starts_with(' ')) choose_separator(bytes);
  }

  std::vector<Token> tokens_of(std::string_view text) const override {
    if (separator_.empty()) return tokens_or_none(text);
    std::vector<Token> tokens = tokens_or_none(separator_ + std::string(text));
    if (tokens.size() < separator_tokens_) return {};
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(separator_tokens_));
    return tokens;
  }

 private:
  std::vector<Token> tokens_or_none(std::string_view text) const {
    try {
      return model_->tokenizer().tokenize(text, false, false);
    } catch (const std::invalid_argument&) {  // the vocabulary cannot spell it
      return {};
    }
  }

  void choose_separator(const std::vector<std::string>& bytes) {
    for (char separator = '\x01'; separator < '\x7f'; ++separator) {
      const auto joins = [=](const std::string& piece) {
        const std::size_t at = piece.find(separator);
        return at != std::string::npos && at + 1 < piece.size();
      };
      const std::size_t count = tokens_or_none({&separator, 1}).size();
      if (separator == ' ' || count == 0 || std::ranges::any_of(bytes, joins)) continue;
      separator_ = separator;
      separator_tokens_ = count;
      return;
    }
  }

  std::shared_ptr<const Model> model_;
  std::string separator_;  ///< empty where no space is put before a text
  std::size_t separator_tokens_ = 0;
};

TokenRole role_of(const llama_vocab* vocab, Token token) {
  if (llama_vocab_is_eog(vocab, token)) {
    if (token == llama_vocab_eot(vocab)) return TokenRole::end_of_turn;
    return token == llama_vocab_eos(vocab) ? TokenRole::end_of_text : TokenRole::other_end;
  }
  const int attributes = llama_vocab_get_attr(vocab, token);
  constexpr int kNotText =
      LLAMA_TOKEN_ATTR_UNKNOWN | LLAMA_TOKEN_ATTR_UNUSED | LLAMA_TOKEN_ATTR_CONTROL;
  if ((attributes & kNotText) != 0) return TokenRole::none;
  return (attributes & LLAMA_TOKEN_ATTR_BYTE) != 0 ? TokenRole::byte : TokenRole::text;
}

}  // namespace

std::shared_ptr<const Vocabulary> vocabulary_of(std::shared_ptr<const Model> model) {
  const llama_vocab* vocab = model->tokenizer().raw();
  if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
    throw ModelLoadError(model->path() +
                         " has no tokenizer: what its tokens are in another vocabulary is unknown");
  }
  auto all = std::make_shared<Vocabulary>();
  for (Token token = 0; token < model->tokenizer().size(); ++token) {
    const TokenRole role = role_of(vocab, token);
    const bool is_text = role == TokenRole::text || role == TokenRole::byte;
    all->bytes.push_back(is_text ? model->tokenizer().piece(token, false) : std::string{});
    all->roles.push_back(is_text && all->bytes.back().empty() ? TokenRole::none : role);
  }
  if (llama_vocab_get_add_bos(vocab)) all->begin = llama_vocab_bos(vocab);
  all->tokenizer = std::make_shared<const ModelTokenizer>(std::move(model), all->bytes);
  return all;
}

}  // namespace rewardshift::llama
