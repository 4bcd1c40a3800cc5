#include "rewardshift/llama/tokenizer.h"

#include <llama.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <limits>
#include <new>
#include <stdexcept>
#include <unordered_map>

#include "rewardshift/large_stack.h"

namespace rewardshift::llama {
namespace {

// llama.cpp splits the text of some vocabularies by std::regex, which recurses for each character
// of a match: 26,000 equal ones in a row overran a stack of 8 MiB, which ends the process.
constexpr std::size_t kStackPerByte = 512;  // 324 were measured
constexpr std::size_t kShort = 4096;
constexpr std::size_t kLong = std::size_t{8} << 20;  // the stack is 4 GiB then

}  // namespace

std::vector<Token> Tokenizer::tokenize(std::string_view text, bool add_special,
                                       bool parse_special) const {
  if (llama_vocab_type(vocab_) == LLAMA_VOCAB_TYPE_NONE) {
    throw std::invalid_argument("this model has no tokenizer; give it token ids instead of text");
  }
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()) / 2) {
    throw std::invalid_argument("text of " + std::to_string(text.size()) + " bytes is too long");
  }
  if (llama_vocab_type(vocab_) != LLAMA_VOCAB_TYPE_BPE || text.size() <= kShort) {
    return tokenize_here(text, add_special, parse_special);
  }
  std::vector<Token> tokens;
  std::exception_ptr error;
  run_on_large_stack(kStackPerByte * std::min(text.size(), kLong), [&] {
    try {
      tokens = tokenize_here(text, add_special, parse_special);
    } catch (...) {
      error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
  return tokens;
}

std::vector<Token> Tokenizer::tokenize_here(std::string_view text, bool add_special,
                                            bool parse_special) const {
  std::vector<Token> tokens(text.size() + 2);
  const auto length = static_cast<std::int32_t>(text.size());
  try {
    const auto run = [&] {
      return llama_tokenize(vocab_, text.data(), length, tokens.data(),
                            static_cast<std::int32_t>(tokens.size()), add_special, parse_special);
    };
    std::int32_t count = run();
    if (count < 0) {
      tokens.resize(static_cast<std::size_t>(-static_cast<std::int64_t>(count)));
      count = run();
    }
    tokens.resize(static_cast<std::size_t>(count));
    return tokens;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {
    return spell(text, add_special, parse_special);
  }
}

std::vector<Token> Tokenizer::spell(std::string_view text, bool add_special,
                                    bool parse_special) const {
  std::unordered_map<std::string, Token> by_piece;
  std::size_t longest = 0;
  for (Token token = size() - 1; token >= 0; --token) {  // the lowest id wins among equals
    std::string bytes = piece(token, parse_special);
    longest = std::max(longest, bytes.size());
    if (!bytes.empty()) by_piece[std::move(bytes)] = token;
  }
  std::vector<Token> tokens;
  if (add_special && llama_vocab_get_add_bos(vocab_)) tokens.push_back(llama_vocab_bos(vocab_));
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = std::min(longest, text.size() - at);
    auto found = by_piece.end();
    for (; length > 0; --length) {
      found = by_piece.find(std::string(text.substr(at, length)));
      if (found != by_piece.end()) break;
    }
    if (length == 0) {
      throw std::invalid_argument("the vocabulary has no token for byte " + std::to_string(at) +
                                  " of the text (" +
                                  std::to_string(static_cast<unsigned char>(text[at])) + ")");
    }
    tokens.push_back(found->second);
    at += length;
  }
  if (add_special && llama_vocab_get_add_eos(vocab_)) tokens.push_back(llama_vocab_eos(vocab_));
  return tokens;
}

std::string Tokenizer::piece(Token token, bool special) const {
  if (llama_vocab_type(vocab_) == LLAMA_VOCAB_TYPE_NONE) return {};
  std::array<char, 64> buffer;
  const std::int32_t n = llama_token_to_piece(vocab_, token, buffer.data(),
                                              static_cast<std::int32_t>(buffer.size()), 0, special);
  if (n >= 0) return {buffer.data(), static_cast<std::size_t>(n)};
  std::string bytes(static_cast<std::size_t>(-n), '\0');
  llama_token_to_piece(vocab_, token, bytes.data(), -n, 0, special);
  return bytes;
}

std::string Tokenizer::detokenize(std::span<const Token> tokens, bool special) const {
  std::string text;
  for (const Token token : tokens) {
    if (token < 0 || token >= size()) {
      throw std::invalid_argument("token " + std::to_string(token) +
                                  " is outside the vocabulary [0, " + std::to_string(size()) + ")");
    }
    text += piece(token, special);
  }
  return text;
}

int Tokenizer::size() const { return llama_vocab_n_tokens(vocab_); }

bool Tokenizer::is_end_of_generation(Token token) const {
  return llama_vocab_is_eog(vocab_, token);
}

}  // namespace rewardshift::llama
