// The one way in which a vocabulary cuts a text, whoever wrote it and however it grew.
#pragma once

#include <bitset>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rewardshift/vocabulary/vocabulary.h"

namespace rewardshift {

/// Bytes to tokens. Immutable; safe from several threads.
///
/// Text is cut at boundaries, and what lies between two of them is given to the vocabulary's own
/// tokenizer. A boundary is a place that neither its pre-tokenizer nor any of its tokens can reach
/// across, so that the cuts leave the outcome alone and only what follows the last one is ever
/// tokenised again. Only a stretch of kLongest bytes without a boundary is cut regardless.
///
/// The tokens' bytes are the text, always: nothing is put before it, and what the tokenizer would
/// change (bytes that are no whole character, normalised text) is spelled by the longest tokens
/// there are, from left to right. Bytes that no token has are left out.
class CanonicalTokenizer {
 public:
  static constexpr std::size_t kLongest = 512;

  explicit CanonicalTokenizer(std::shared_ptr<const Vocabulary> vocabulary);

  /// Tokens of the whole text.
  std::vector<Token> tokens_of(std::string_view text) const;

  /// Likewise of each of many short texts, as if asked one by one, but by several threads.
  std::vector<std::vector<Token>> tokens_of_each(std::span<const std::string_view> texts) const;

  /// The boundary that the last byte of `text` shows, in (start, text.size()); start is the one
  /// before. Depends on the bytes alone, so boundaries of a text stay where they are as it grows.
  std::optional<std::size_t> boundary(std::string_view text, std::size_t start) const;

  /// Tokens of what lies between two boundaries, or behind the last one.
  std::vector<Token> tokens_between(std::string_view text) const;

  /// The text token that has these bytes; where several do, one that stands for text.
  std::optional<Token> find(std::string_view bytes) const;

 private:
  bool occurs(char before, char after) const {
    return pairs_[static_cast<unsigned char>(before) * 256U + static_cast<unsigned char>(after)];
  }
  void spell(std::string_view bytes, std::vector<Token>& tokens) const;
  bool can_be_joined(std::string_view text) const;
  void tokenise_joined(std::span<const std::string_view> texts, std::span<const std::size_t> joined,
                       std::vector<std::vector<Token>>& all) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::unordered_map<std::string_view, Token> by_bytes_;
  std::bitset<256 * 256> pairs_;  ///< of neighbouring bytes that occur in a token
  std::size_t longest_ = 0;       ///< bytes of a token
};

}  // namespace rewardshift
