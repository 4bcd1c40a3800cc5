// How many tokens to draft in the next round.
#pragma once

#include "rewardshift/decode/statistics.h"

namespace rewardshift {

/// Chooses draft lengths. Whatever it chooses, the law of the output stays the same.
class DraftPolicy {
 public:
  virtual ~DraftPolicy() = default;

  /// Tokens to draft for a request whose rounds so far went like this; >= 0.
  virtual int draft_length(const Statistics& so_far) const = 0;
};

/// Always the same length.
class FixedDraftPolicy final : public DraftPolicy {
 public:
  explicit FixedDraftPolicy(int length) : length_(length) {}
  int draft_length(const Statistics&) const override { return length_; }

 private:
  int length_;
};

}  // namespace rewardshift
