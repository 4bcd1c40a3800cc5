// Drafts that no model is asked for: from a table of n-grams, or quoted from the text itself.
#pragma once

#include <vector>

#include "rewardshift/decode/draft_tree.h"
#include "rewardshift/decode/proposer.h"
#include "rewardshift/decode/shaper.h"
#include "rewardshift/shift/panel.h"

namespace rewardshift {

/// Drafts from the table of a request's parameters (STAND): a tree of at most `draft_length` tokens
/// with a branch for each of the request's places at most. Or it quotes: a chain of what followed
/// where the text's end occurred before, each token proposed with certainty.
class TableProposer final : public Proposer {
 public:
  /// The panel is borrowed and must outlive the proposer.
  explicit TableProposer(const Panel& panel) : panel_(&panel) {}

  void draft(std::span<Request* const> requests) override;

 private:
  void quote(Request& request);
  void grow_tree(Request& request);
  std::vector<WeightedToken> law_after(Request& request, int node);
  bool may_follow(Request& request, std::span<const Token> drafts, Token token);

  const Panel* panel_;
  Shaper shaper_;
  DraftTree tree_;
  std::vector<Token> ending_;
  std::vector<Token> path_;
};

}  // namespace rewardshift
