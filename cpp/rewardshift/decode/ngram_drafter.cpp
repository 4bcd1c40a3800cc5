#include "rewardshift/decode/ngram_drafter.h"

#include <algorithm>

namespace rewardshift {

void NgramDrafter::draft(std::span<DraftRequest> requests) {
  for (const DraftRequest& request : requests) {
    request.block->clear();
    tree_.start();
    int node = 0;
    while (tree_.size() < static_cast<std::size_t>(request.length) &&
           (node = tree_.most_likely(request.sequences.size())) >= 0) {
      if (tree_.knows_law(node)) {
        tree_.draw(node, request.uniform_in_tree(tree_.size()));
      } else {
        tree_.set_law(node, law_after(request, node));
      }
    }
    tree_.hand_over(*request.block);
  }
}

/// What the table says of the token after a node, over the tokens that may be drafted.
std::vector<WeightedToken> NgramDrafter::law_after(const DraftRequest& request, int node) {
  const auto& history = *request.history;
  const std::size_t looked_at = std::min(NgramTable::kLongest, history.size());
  ending_.assign(history.end() - static_cast<std::ptrdiff_t>(looked_at), history.end());
  tree_.append_path(node, ending_);
  auto law = request.params->drafter->after(ending_);
  std::erase_if(law, [this](const WeightedToken& w) { return w.second >= vocab_size_; });
  return law;
}

}  // namespace rewardshift
