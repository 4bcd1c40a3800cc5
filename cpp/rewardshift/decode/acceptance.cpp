#include "rewardshift/decode/acceptance.h"

namespace rewardshift {

/// In a chain a draft is decided on where all before it were accepted; in a tree it is enough that
/// it was drawn, as its chances are those of a walk from the root.
void Acceptance::count(const DraftOutcome& outcome) {
  const std::size_t decided = is_chain(outcome.kind)
                                  ? outcome.accepted.size() + (outcome.rejected ? 1 : 0)
                                  : outcome.drafted;
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

/// What stands in for another is tried again one day: a round of one kind lets the others that are
/// there in every round fade. What a table knows is there only now and then.
void Acceptances::count(const DraftOutcome& outcome) {
  of_[static_cast<std::size_t>(outcome.kind)].count(outcome);
  if (source_of(outcome.kind) == Source::table) return;
  for (std::size_t i = 0; i < kDraftKinds; ++i) {
    const auto other = static_cast<DraftKind>(i);
    if (other == outcome.kind || source_of(other) == Source::table) continue;
    of_[i].count({other});
  }
}

}  // namespace rewardshift
