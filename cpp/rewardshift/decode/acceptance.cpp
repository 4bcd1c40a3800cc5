#include "rewardshift/decode/acceptance.h"

namespace rewardshift {

/// In a chain a draft is decided on where all before it were accepted; in a tree it is enough that
/// it was drawn, as its chances are those of a walk from the root.
void Acceptance::count(const DraftOutcome& outcome) {
  const bool is_chain = outcome.kind == DraftKind::chain;
  const std::size_t decided =
      is_chain ? outcome.accepted.size() + (outcome.rejected ? 1 : 0) : outcome.drafted;
  if (decided_.size() < decided) {
    decided_.resize(decided);
    accepted_.resize(decided);
  }
  for (double& count : decided_) count *= memory_;
  for (double& count : accepted_) count *= memory_;
  for (std::size_t i = 0; i < decided; ++i) decided_[i] += 1.0;
  for (const std::size_t i : outcome.accepted) accepted_[i] += 1.0;
}

double Acceptance::at(std::size_t number, double prior, double weight) const {
  if (number >= decided_.size()) return prior;
  return (accepted_[number] + weight * prior) / (decided_[number] + weight);
}

/// Chains and trees of the draft model stand in for each other: each round without one forgets.
void Acceptances::count(const DraftOutcome& outcome) {
  const auto note = [this](const DraftOutcome& seen) {
    of_[static_cast<std::size_t>(seen.kind)].count(seen);
  };
  note(outcome);
  if (outcome.kind == DraftKind::chain) note({DraftKind::tree});
  if (outcome.kind == DraftKind::tree) note({DraftKind::chain});
}

}  // namespace rewardshift
