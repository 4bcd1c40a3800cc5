// Text to tokens and back, for any vocabulary llama.cpp can load.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewardshift/language_model.h"

struct llama_vocab;

namespace rewardshift::llama {

/// A view of a model's vocabulary; lives as long as the model. Thread-safe.
class Tokenizer {
 public:
  explicit Tokenizer(const llama_vocab* vocab) : vocab_(vocab) {}

  /// Token ids of UTF-8 text; with `add_special`, with the begin- and end-of-text tokens that the
  /// model wants; with `parse_special`, control tokens are recognised in the text.
  ///
  /// Some vocabularies lack the byte tokens that llama.cpp falls back to, and make it throw; for
  /// them the longest matching tokens are taken from left to right. Throws std::invalid_argument
  /// for text that cannot be spelled.
  std::vector<Token> tokenize(std::string_view text, bool add_special, bool parse_special) const;

  /// A token's bytes; control tokens have some only with `special`.
  std::string piece(Token token, bool special) const;

  /// All tokens' bytes; may hold partial UTF-8 characters.
  std::string detokenize(std::span<const Token> tokens, bool special) const;

  int size() const;

  /// llama.cpp's own, for what else it knows of tokens.
  const llama_vocab* raw() const { return vocab_; }

  bool is_end_of_generation(Token token) const;

 private:
  std::vector<Token> tokenize_here(std::string_view text, bool add_special,
                                   bool parse_special) const;
  std::vector<Token> spell(std::string_view text, bool add_special, bool parse_special) const;

  const llama_vocab* vocab_;
};

}  // namespace rewardshift::llama
