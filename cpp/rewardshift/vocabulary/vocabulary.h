// A vocabulary as data: what its tokens are, and how it cuts text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// What a token is for.
enum class TokenRole : std::uint8_t {
  text,         ///< adds bytes to the text
  byte,         ///< adds one byte, of characters that no text token has
  end_of_text,  ///< ends a generation, as the two below
  end_of_turn,
  other_end,
  none,  ///< any other control token, unused ids, padding: adds nothing, and corresponds to nothing
};

/// Cuts text into tokens. Immutable; safe from several threads.
class TextTokenizer {
 public:
  virtual ~TextTokenizer() = default;
  TextTokenizer(const TextTokenizer&) = delete;
  TextTokenizer& operator=(const TextTokenizer&) = delete;

  /// Tokens of valid UTF-8 text, as the vocabulary's own tokenizer cuts it: without added spaces or
  /// control tokens, and none recognised in it. Where it cannot, any tokens, or none: whoever asks
  /// compares bytes.
  virtual std::vector<Token> tokens_of(std::string_view text) const = 0;

 protected:
  TextTokenizer() = default;
};

struct Vocabulary {
  std::vector<std::string> bytes;  ///< by token; empty for all but text and byte tokens
  std::vector<TokenRole> roles;    ///< by token
  std::optional<Token> begin;      ///< what its texts begin with, where they begin with a token
  std::shared_ptr<const TextTokenizer> tokenizer;  ///< never null

  int size() const { return static_cast<int>(bytes.size()); }
  std::string_view bytes_of(Token token) const { return bytes[static_cast<std::size_t>(token)]; }
  TokenRole role_of(Token token) const { return roles[static_cast<std::size_t>(token)]; }

  /// Whether the text is what these tokens add up to.
  bool spells(std::span<const Token> tokens, std::string_view text) const;

  /// The first token of a role.
  std::optional<Token> find(TokenRole role) const;
};

}  // namespace rewardshift
