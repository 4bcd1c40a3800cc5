#include "rewardshift/decode/acceptance.h"

namespace rewardshift {

void Acceptance::count_round(std::size_t accepted, bool rejected) {
  const std::size_t decided = accepted + (rejected ? 1 : 0);
  if (decided_.size() < decided) {
    decided_.resize(decided);
    accepted_.resize(decided);
  }
  for (std::size_t i = 0; i < decided_.size(); ++i) {
    decided_[i] = memory_ * decided_[i] + (i < decided ? 1.0 : 0.0);
    accepted_[i] = memory_ * accepted_[i] + (i < accepted ? 1.0 : 0.0);
  }
}

double Acceptance::at(std::size_t position, double prior, double weight) const {
  if (position >= decided_.size()) return prior;
  return (accepted_[position] + weight * prior) / (decided_[position] + weight);
}

}  // namespace rewardshift
