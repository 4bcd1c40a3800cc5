// Trees of drafts from a table of n-grams.
#pragma once

#include <vector>

#include "rewardshift/decode/drafter.h"

namespace rewardshift {

/// Drafts from the table of each request's parameters, no model asked: a tree of at most `length`
/// tokens with a branch for each of the request's sequences at most.
///
/// It grows where a token is most likely to be reached: the next one goes under the node whose own
/// probability, times what its law has left, is largest. Children are drawn one after another
/// without replacement, which is the law of Gumbel-top-k (STAND; Kool et al., ICML 2019). Where a
/// token goes never depends on which it turns out to be: decide_one_of() relies on that.
class NgramDrafter final : public Drafter {
 public:
  /// Drafts of the first `vocab_size` tokens.
  explicit NgramDrafter(int vocab_size) : vocab_size_(vocab_size) {}

  void draft(std::span<DraftRequest> requests) override;

 private:
  struct Node {
    Token token;
    int parent;                            ///< -1 for the history itself
    double reach;                          ///< product of the probabilities up to here
    std::vector<WeightedToken> law = {};   ///< of the next token
    std::vector<WeightedToken> left = {};  ///< of it, without the children
    double mass = 0.0;                     ///< of what is left
    std::vector<int> children = {};        ///< as drawn
  };

  void grow(const DraftRequest& request);
  void add_node(const DraftRequest& request, Token token, int parent, double reach);
  std::vector<WeightedToken> law_after(const DraftRequest& request, int node);
  int most_likely(bool may_branch) const;
  void hand_over(DraftBlock& block, int node, std::size_t follows) const;

  int vocab_size_;
  std::vector<Node> nodes_;  ///< of the tree being grown
  std::vector<Token> ending_;
};

}  // namespace rewardshift
