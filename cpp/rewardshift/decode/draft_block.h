// What a round drafts for one request.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/math/distribution.h"
#include "rewardshift/shift/combination.h"

namespace rewardshift {

/// The drafted tokens of one request in one round, a tree: each follows another one, or the
/// history. Row 0 is the position after the history, row i + 1 that after tokens[i]; a token is
/// drawn from the proposal of the row it follows. In a chain tokens[i] follows row i.
///
/// The tokens are in the order of a walk that goes down before it goes aside: where one does not
/// follow the one before it, a new branch begins. The memory is reused from round to round.
class DraftBlock {
 public:
  std::vector<Token> tokens;

  /// By token: the row it follows.
  std::vector<std::size_t> follows;

  /// By token: how many were drawn before it.
  std::vector<std::size_t> numbers;

  /// Nothing more can be proposed: the parameters forbid all that the readers could say.
  bool exhausted = false;

  /// Why drafting broke off; empty where it did not. Concerns this request alone.
  std::string failure;
  bool bad_row = false;  ///< it is that a reader's row was no distribution

  /// Forgets the tokens; a proposal of these readers will draft at most `length` over the first
  /// `vocab_size` ids, or a table, where it is empty.
  void start(const Combination& proposal, std::size_t length, int vocab_size);

  /// Adds a token to the tree.
  void add(Token token, std::size_t row, std::size_t number);

  /// The tokens that follow a row, as they were drawn.
  void children_of(std::size_t row, std::vector<Token>& out) const;

  /// The row after one of them.
  std::size_t row_after(std::size_t row, Token child) const;

  /// Where the branch that begins with the token at `begin` ends.
  std::size_t branch_end(std::size_t begin) const;

  /// Appends the tokens between the history and a row.
  void append_path(std::size_t row, std::vector<Token>& out) const;

  // --- what the readers of the proposal said while it was drafted: slots of rows

  /// Keeps what the proposal's readers said somewhere, in the next free slot; returns which.
  std::size_t keep(std::span<const std::span<const float>> rows);

  /// Tells that the last token's row (at first: row 0) is what was kept in a slot.
  void set_slot(std::size_t slot);

  /// What a reader said at a row; empty where it was not asked.
  std::span<const float> read(std::size_t reader, std::size_t row) const;

  // --- proposals: of chains over the whole vocabulary, of trees and tables over few tokens

  /// Where the law of the token after row i goes, or is.
  std::span<float> weights(std::size_t i) { return slot_of(weights_, i); }
  void set_sum(double sum) { sums_.push_back(sum); }
  Weights proposal(std::size_t i) const { return {slot_of(weights_, i), sums_[i]}; }

  /// g of the last token's row, the probabilities of all tokens that could be drawn there.
  void set_law(std::span<const WeightedToken> law);
  std::span<const WeightedToken> law(std::size_t row) const { return laws_[row]; }

 private:
  std::span<float> slot_of(std::vector<float>& rows, std::size_t i) {
    return std::span(rows).subspan(i * vocab_size_, vocab_size_);
  }
  std::span<const float> slot_of(const std::vector<float>& rows, std::size_t i) const {
    return std::span(rows).subspan(i * vocab_size_, vocab_size_);
  }

  Combination proposal_;
  std::size_t vocab_size_ = 0;
  std::vector<float> weights_;
  std::vector<double> sums_;
  std::vector<std::vector<float>> kept_;  ///< by part of the proposal, slot after slot
  std::size_t kept_slots_ = 0;
  std::vector<std::vector<WeightedToken>> laws_;   ///< by row
  std::vector<std::optional<std::size_t>> slots_;  ///< by row
};

}  // namespace rewardshift
