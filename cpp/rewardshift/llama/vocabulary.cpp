#include "rewardshift/llama/vocabulary.h"

#include <llama.h>

#include <algorithm>
#include <array>
#include <functional>
#include <mutex>
#include <span>
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
/// Where llama.cpp compiles a regular expression at each call, a word takes it 50 microseconds:
/// words are remembered, for they come again, and all readers of a text ask for the same ones.
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
    if (text.size() > kWord) return cut(text);
    {
      const std::lock_guard guard(mutex_);
      const Known& known = known_[std::hash<std::string_view>{}(text) % known_.size()];
      if (known.text == text) return known.tokens;
    }
    std::vector<Token> tokens = cut(text);
    const std::lock_guard guard(mutex_);
    known_[std::hash<std::string_view>{}(text) % known_.size()] = {std::string(text), tokens};
    return tokens;
  }

 private:
  static constexpr std::size_t kWord = 64;  // bytes
  struct Known {
    std::string text;
    std::vector<Token> tokens;
  };

  std::vector<Token> cut(std::string_view text) const {
    if (separator_.empty()) return tokens_or_none(text);
    std::vector<Token> tokens = tokens_or_none(separator_ + std::string(text));
    if (tokens.size() < separator_tokens_) return {};
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(separator_tokens_));
    return tokens;
  }

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
  mutable std::mutex mutex_;
  mutable std::vector<Known> known_ = std::vector<Known>(4096);  ///< guarded, by hash
};

/// How models spell what ends a turn of a conversation, and what ends a text. llama.cpp knows which
/// tokens end a generation, but takes any of them for the end of a turn.
constexpr std::array<std::string_view, 13> kTurnEnds = {
    "<|im_end|>", "<|eot_id|>", "<|end|>",         "<|return|>", "<end_of_turn>",
    "<turn|>",    "<EOT>",      "_<EOT>",          "[EOT]",      "<end_of_utterance>",
    "<|eot|>",    "[e~[",       "<|end_of_turn|>",
};
constexpr std::array<std::string_view, 5> kTextEnds = {
    "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]",
};

bool is_among(std::span<const std::string_view> spellings, std::string_view spelling) {
  return std::ranges::find(spellings, spelling) != spellings.end();
}

TokenRole role_of(const llama_vocab* vocab, Token token) {
  if (llama_vocab_is_eog(vocab, token)) {
    const std::string_view spelling = llama_vocab_get_text(vocab, token);
    if (is_among(kTurnEnds, spelling)) return TokenRole::end_of_turn;
    const bool ends_text = token == llama_vocab_eos(vocab) || is_among(kTextEnds, spelling);
    return ends_text ? TokenRole::end_of_text : TokenRole::other_end;
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
