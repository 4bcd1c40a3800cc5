// (c pi* - g)+ of a goal and a proposal over the vocabulary. Internal to math/.
#pragma once

#include <algorithm>

#include "rewardshift/math/distribution.h"
#include "rewardshift/math/vector_loops.h"

namespace rewardshift {

/// What a proposal leaves of a goal: both are read once, and a second time only where a token is
/// drawn.
class Residual {
 public:
  Residual(const Weights& goal, const Weights& proposal, double scale)
      : goal_(goal.of.data()),
        proposal_(proposal.of.data()),
        per_goal_(scale / goal.sum),
        per_proposal_(1.0 / proposal.sum),
        scale_(scale),
        cumulative_(goal.of.size()) {
    sum_ = cumulative_.add_up([this](std::size_t begin, std::size_t count) {
      return vector_sum(count, [this, begin](std::size_t i) { return (*this)(begin + i); });
    });
  }

  double operator()(std::size_t i) const { return std::max(goal(i) - proposal(i), 0.0); }

  /// min(c pi*, g)
  double kept(std::size_t i) const { return std::min(goal(i), proposal(i)); }

  double sum() const { return sum_; }

  /// The share of proposals that are rejected: 1 - sum min(c pi*, g), which for c = 1 is sum().
  double rejected() const {
    if (scale_ == 1.0) return sum_;
    const double kept_in_all =
        vector_sum(cumulative_.size(), [this](std::size_t i) { return kept(i); });
    return std::max(1.0 - kept_in_all, 0.0);
  }

  /// A token from the residual normalised, which is not empty.
  Token draw(double u) const {
    return static_cast<Token>(cumulative_.find(u, [this](std::size_t i) { return (*this)(i); }));
  }

 private:
  double goal(std::size_t i) const { return per_goal_ * static_cast<double>(goal_[i]); }
  double proposal(std::size_t i) const { return per_proposal_ * static_cast<double>(proposal_[i]); }

  const float* goal_;
  const float* proposal_;
  double per_goal_;
  double per_proposal_;
  double scale_;
  CumulativeWeights cumulative_;
  double sum_ = 0.0;
};

}  // namespace rewardshift
