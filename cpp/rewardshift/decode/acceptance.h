// How often drafts are accepted, as far as it has been seen.
#pragma once

#include <cstddef>
#include <vector>

namespace rewardshift {

/// Accepted and decided drafts by position in the draft; the recent past counts most. Positions
/// that are not reached any more are forgotten, so that one day they are tried again.
class Acceptance {
 public:
  /// Each round counts `memory` times as much as the next; in [0, 1].
  explicit Acceptance(double memory) : memory_(memory) {}

  /// Notes a round in which the first `accepted` drafts were, and the next was not if `rejected`;
  /// none and false is a round without drafts.
  void count_round(std::size_t accepted, bool rejected);

  /// The probability that the draft at `position` is accepted if those before it were: what was
  /// seen there, weighed against `weight` imagined drafts of which the share `prior` was accepted.
  double at(std::size_t position, double prior, double weight) const;

 private:
  double memory_;
  std::vector<double> accepted_;
  std::vector<double> decided_;
};

}  // namespace rewardshift
