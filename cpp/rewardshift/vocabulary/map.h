// What the tokens of one vocabulary are in another.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rewardshift/vocabulary/canonical.h"

namespace rewardshift {

/// From the tokens of a target's vocabulary to those of a foreign one. Immutable; shared by models
/// and threads. Equal vocabularies need none.
///
/// A token's twin has the same bytes. Those that end generation have one by role: end of text for
/// end of text, else end of turn; for any other end of turn, else end of text. What begins a text
/// has what begins the foreign vocabulary's. Other control tokens correspond to nothing.
class VocabularyMap {
 public:
  VocabularyMap(std::shared_ptr<const Vocabulary> target,
                std::shared_ptr<const Vocabulary> foreign);

  const Vocabulary& target() const { return *target_; }
  const Vocabulary& foreign() const { return *foreign_; }
  const CanonicalTokenizer& tokenizer() const { return tokenizer_; }  ///< the foreign one

  /// Foreign tokens for a token of the target: its twin, or else its bytes' canonical tokenisation,
  /// by themselves. None for what corresponds to nothing.
  std::span<const Token> pieces(Token token) const {
    const auto i = static_cast<std::size_t>(token);
    return std::span(pieces_).subspan(begins_[i], begins_[i + 1] - begins_[i]);
  }
  bool has_twin(Token token) const {
    const auto bit = static_cast<std::size_t>(token);
    return (twins_[bit / 32] >> (bit % 32) & 1U) != 0;
  }

  /// The tokens that have one: a bit for each, the lowest first.
  std::span<const std::uint32_t> twins() const { return twins_; }

  /// Whether any token has several pieces. One that has a twin has none but that.
  bool splits() const { return splits_; }

  /// Of the target's text tokens, how many have a twin.
  double share() const { return share_; }

  /// Of the mass of a target's row of logits, how much lies on tokens that have a twin. The
  /// normaliser is the row's at temperature 1, and finite.
  double share_of(std::span<const float> logits, double log_normaliser) const;

  /// Foreign tokens for a text token of the target, on average over the vocabulary; at least 1. As
  /// common tokens have twins more often than rare ones, most texts take fewer.
  double expansion() const { return expansion_; }

 private:
  std::shared_ptr<const Vocabulary> target_;
  std::shared_ptr<const Vocabulary> foreign_;
  CanonicalTokenizer tokenizer_;
  std::vector<Token> pieces_;          ///< of all tokens, one after another
  std::vector<std::uint32_t> begins_;  ///< by token: where its pieces begin; and where they end
  std::vector<std::uint32_t> twins_;   ///< by token: a bit
  bool splits_ = false;
  double share_ = 0.0;
  double expansion_ = 1.0;
};

}  // namespace rewardshift
