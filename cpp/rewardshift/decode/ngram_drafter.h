// Drafts from a table of n-grams.
#pragma once

#include <vector>

#include "rewardshift/decode/draft_tree.h"

namespace rewardshift {

/// Drafts from the table of each request's parameters, no model asked (STAND): a tree of at most
/// `length` tokens with a branch for each of the request's sequences at most.
class NgramDrafter final : public Drafter {
 public:
  /// Drafts of the first `vocab_size` tokens.
  explicit NgramDrafter(int vocab_size) : vocab_size_(vocab_size) {}

  void draft(std::span<DraftRequest> requests) override;

 private:
  std::vector<WeightedToken> law_after(const DraftRequest& request, int node);

  int vocab_size_;
  DraftTree tree_;
  std::vector<Token> ending_;
};

}  // namespace rewardshift
