// How often drafts are accepted, as far as it has been seen.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace rewardshift {

/// How a round's drafts are made. Chains and trees are drawn from readers: of a base as it is, or
/// shifted. Others come from a table, which goes by the last so many tokens, or are quoted from the
/// text itself after a match of few or many tokens.
enum class DraftKind {
  chain,
  shifted_chain,
  tree,
  shifted_tree,
  after_1,
  after_2,
  after_3,
  after_4,
  quote_short,
  quote_long
};
inline constexpr std::size_t kDraftKinds = 10;

/// The kind of a table's drafts that go by the last n tokens, 1 to 4.
constexpr DraftKind after_last(std::size_t n) {
  return static_cast<DraftKind>(static_cast<std::size_t>(DraftKind::after_1) + n - 1);
}

/// Where drafts come from, for statistics.
enum class Source { plain, shifted, table, quote };
inline constexpr std::size_t kSources = 4;

constexpr Source source_of(DraftKind kind) {
  switch (kind) {
    case DraftKind::chain:
    case DraftKind::tree:
      return Source::plain;
    case DraftKind::shifted_chain:
    case DraftKind::shifted_tree:
      return Source::shifted;
    case DraftKind::quote_short:
    case DraftKind::quote_long:
      return Source::quote;
    default:
      return Source::table;
  }
}

/// Whether readers are asked while drafting.
constexpr bool asks_readers(DraftKind kind) { return kind <= DraftKind::shifted_tree; }

/// Whether all drafts follow one another: each is decided on only where those before it were
/// accepted.
constexpr bool is_chain(DraftKind kind) {
  return kind == DraftKind::chain || kind == DraftKind::shifted_chain ||
         source_of(kind) == Source::quote;
}

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
