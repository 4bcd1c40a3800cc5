// What the tokens of one vocabulary are in another.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "rewardshift/language_model.h"
#include "rewardshift/vocabulary/vocabulary.h"

namespace rewardshift {

/// From the tokens of a target's vocabulary to those of a foreign one. Immutable; shared by models
/// and threads.
class VocabularyMap {
 public:
  VocabularyMap(std::shared_ptr<const Vocabulary> target,
                std::shared_ptr<const Vocabulary> foreign);

  const Vocabulary& target() const { return *target_; }
  const Vocabulary& foreign() const { return *foreign_; }

  /// Of the target's text tokens, how many have a twin.
  double share() const;

  /// Of the mass of a target's row of logits, how much lies on tokens that have a twin. The
  /// normaliser is the row's, at temperature 1.
  double share_of(std::span<const float> logits, double log_normaliser) const;

  /// Foreign tokens that a target's text token takes on average: text that the target has in n
  /// tokens rarely takes more than n times this many.
  double expansion() const;

 private:
  std::shared_ptr<const Vocabulary> target_;
  std::shared_ptr<const Vocabulary> foreign_;
};

}  // namespace rewardshift
