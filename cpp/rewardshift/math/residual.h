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
        cumulative_(goal.of.size()) {
    sum_ = cumulative_.add_up([this](std::size_t begin, std::size_t count) {
      kept_ += vector_sum(count, [this, begin](std::size_t i) { return kept(begin + i); });
      return vector_sum(count, [this, begin](std::size_t i) { return (*this)(begin + i); });
    });
  }

  double operator()(std::size_t i) const { return std::max(goal(i) - proposal(i), 0.0); }

  /// min(c pi*, g)
  double kept(std::size_t i) const { return std::min(goal(i), proposal(i)); }

  double sum() const { return sum_; }
  double sum_of_kept() const { return kept_; }

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
  CumulativeWeights cumulative_;
  double kept_ = 0.0;
  double sum_ = 0.0;
};

}  // namespace rewardshift
