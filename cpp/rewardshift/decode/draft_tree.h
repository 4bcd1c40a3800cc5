// How a tree of drafts grows, whoever says what may follow.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/decode/draft_block.h"

namespace rewardshift {

/// A tree of drafts under way. Node 0 is the history itself.
///
/// It grows where a token is most likely to be reached: the next one goes under the node whose own
/// probability, times what its law has left, is largest. Children are drawn one after another
/// without replacement, which is the law of Gumbel-top-k (Kool et al., ICML 2019). Where a token
/// goes never depends on which it turns out to be: decide_one_of() relies on that.
class DraftTree {
 public:
  /// Forgets all but the history.
  void start();

  std::size_t size() const { return nodes_.size() - 1; }
  Token token(int node) const { return at(node).token; }
  std::size_t branch(int node) const { return at(node).branch; }
  void append_path(int node, std::vector<Token>& out) const;

  /// The node that gets the next child, where no more than `width` branches are wanted; -1 where
  /// none can have one. Of nodes whose law is not known yet it is taken that all is left.
  int most_likely(std::size_t width) const;

  /// Tells what follows a node: weights, of which none are no law at all. The node's row of the
  /// draft model, if that has one, is the block's `slot`.
  void set_law(int node, std::span<const WeightedToken> law, int slot = -1);
  bool knows_law(int node) const { return at(node).is_known; }

  /// How many nodes have rows of the draft model.
  int next_slot() const { return slots_; }

  /// Draws a node's next child.
  void draw(int node, double u);

  /// Adds the tree to a block, branch by branch.
  void hand_over(DraftBlock& block) const { hand_over(block, 0, 0); }

 private:
  struct Node {
    Token token;
    int parent;
    std::size_t branch;
    double reach;       ///< product of the probabilities up to here
    double mass = 1.0;  ///< of what its law has left
    bool is_known = false;
    int slot = -1;
    std::vector<WeightedToken> law = {};   ///< of the next token
    std::vector<WeightedToken> left = {};  ///< of it, without the children
    std::vector<int> children = {};        ///< as drawn
  };

  Node& at(int node) { return nodes_[static_cast<std::size_t>(node)]; }
  const Node& at(int node) const { return nodes_[static_cast<std::size_t>(node)]; }
  void hand_over(DraftBlock& block, int node, std::size_t follows) const;

  std::vector<Node> nodes_;
  std::size_t branches_ = 1;
  int slots_ = 0;
};

}  // namespace rewardshift
