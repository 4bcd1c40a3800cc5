// Where drafts come from.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rewardshift/decode/metered_model.h"
#include "rewardshift/decode/params.h"
#include "rewardshift/math/rng.h"

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

  /// Nothing more can be proposed: the parameters forbid all that the draft model could say.
  bool exhausted = false;

  /// Why drafting broke off; empty where it did not. Concerns this request alone.
  std::string failure;

  /// Forgets the tokens.
  void clear();

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

  // --- chains, drawn from the draft model

  /// Forgets the tokens and makes room for `length` rows over the vocabulary.
  void start(int length, int vocab_size);

  /// g, the probabilities that the token after row i was drawn from.
  std::span<double> proposal(std::size_t i) { return row<double>(proposals_, i); }
  std::span<const double> proposal(std::size_t i) const { return row<const double>(proposals_, i); }

  /// z_q at the same position: the draft model's logits. In a tree they are where set_slot() says.
  std::span<float> draft_logits(std::size_t i) { return row<float>(draft_logits_, i); }
  std::span<const float> draft_logits(std::size_t i) const {
    return row<const float>(draft_logits_, i);
  }

  // --- trees, drawn without replacement

  /// Which draft_logits() are those of the last token's row.
  void set_slot(std::size_t slot);

  /// The draft model's logits of a row of a tree; empty where it was not asked.
  std::span<const float> draft_logits_of(std::size_t row) const;

  /// g of the last token's row, the probabilities of all tokens that could be drawn there.
  void set_law(std::span<const WeightedToken> law);
  std::span<const WeightedToken> law(std::size_t row) const { return laws_[row]; }

 private:
  template <class T, class Rows>
  std::span<T> row(Rows& rows, std::size_t i) const {
    return std::span<T>(rows).subspan(i * vocab_size_, vocab_size_);
  }

  std::size_t vocab_size_ = 0;
  std::vector<double> proposals_;
  std::vector<float> draft_logits_;
  std::vector<std::vector<WeightedToken>> laws_;   ///< by row
  std::vector<std::optional<std::size_t>> slots_;  ///< by row
};

/// One request's part of a drafting round. All pointers are borrowed for the call.
struct DraftRequest {
  std::span<const int> sequences;  ///< that a model may use: one for each branch of a tree
  int length;                      ///< tokens wanted
  const RequestParams* params;
  const Uniforms* uniforms;
  std::size_t position;         ///< of the first drafted token in the response
  std::vector<Token>* history;  ///< the draft's; a model's drafts are appended
  DraftBlock* block;            ///< filled

  /// What decides the next token of a tree that has `drawn` already: no other round draws the same,
  /// as all of a tree's tokens have a say in its shape. Greedy drafts take the most probable.
  double uniform_in_tree(std::size_t drawn) const {
    if (is_greedy(params->temperature)) return 0.0;
    return (*uniforms)(position, Purpose::proposal, static_cast<std::uint32_t>(drawn) + 1);
  }
};

/// Fills blocks with tokens drawn from proposals. The exact rule is exact for any proposal, so a
/// drafter is free in what it proposes, as long as it draws from just what it reports.
class Drafter {
 public:
  virtual ~Drafter() = default;

  /// Drafts at most `length` tokens for each request; fewer where an end-of-generation token is
  /// drafted, which is then the last.
  virtual void draft(std::span<DraftRequest> requests) = 0;
};

}  // namespace rewardshift
