// How often drafts are accepted, as far as it has been seen.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace rewardshift {

/// How a round's drafts are made: a chain or a tree of the draft model's, or a tree from a table,
/// which goes by the last so many tokens.
enum class DraftKind { chain, tree, after_1, after_2, after_3, after_4 };
inline constexpr std::size_t kDraftKinds = 6;

/// The kind of a table's drafts that go by the last n tokens, 1 to 4.
constexpr DraftKind after_last(std::size_t n) {
  return static_cast<DraftKind>(static_cast<std::size_t>(DraftKind::tree) + n);
}

constexpr bool comes_from_table(DraftKind kind) { return kind > DraftKind::tree; }

/// What became of the drafts of a round.
struct DraftOutcome {
  DraftKind kind = DraftKind::chain;
  std::size_t drafted = 0;
  std::span<const std::size_t> accepted = {};  ///< their numbers, in the order they were drawn
  bool rejected = false;  ///< of a chain: the draft after these was decided on, and failed
};

/// Accepted and decided drafts of one kind, by their number in the round; the recent past counts
/// most. Numbers that are not reached any more are forgotten, so that one day they are tried again.
class Acceptance {
 public:
  /// Each round counts `memory` times as much as the next; in [0, 1].
  explicit Acceptance(double memory) : memory_(memory) {}

  void count(const DraftOutcome& outcome);

  /// The probability that a draft is accepted, in a chain if those before it were: what was seen
  /// there, weighed against `weight` imagined drafts of which the share `prior` was accepted.
  double at(std::size_t number, double prior, double weight) const;

 private:
  double memory_;
  std::vector<double> accepted_;
  std::vector<double> decided_;
};

/// The same of all kinds.
class Acceptances {
 public:
  explicit Acceptances(double memory) : of_(kDraftKinds, Acceptance(memory)) {}

  void count(const DraftOutcome& outcome);

  const Acceptance& of(DraftKind kind) const { return of_[static_cast<std::size_t>(kind)]; }

 private:
  std::vector<Acceptance> of_;
};

}  // namespace rewardshift
