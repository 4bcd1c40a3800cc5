#include "rewardshift/decode/ngram_drafter.h"

#include <algorithm>

namespace rewardshift {

void NgramDrafter::draft(std::span<DraftRequest> requests) {
  for (const DraftRequest& request : requests) {
    request.block->clear();
    grow(request);
    hand_over(*request.block, 0, 0);
  }
}

void NgramDrafter::grow(const DraftRequest& request) {
  nodes_.clear();
  add_node(request, -1, -1, 1.0);
  std::size_t branches = 1;
  for (int i = 0; i < request.length; ++i) {
    const int parent = most_likely(branches < request.sequences.size());
    if (parent < 0) return;
    Node& node = nodes_[static_cast<std::size_t>(parent)];
    const auto index = static_cast<std::uint32_t>(i + 1);  // 0 is that of drafts in a chain
    const double u = is_greedy(request.params->temperature)
                         ? 0.0  // the most probable one
                         : (*request.uniforms)(request.position, Purpose::proposal, index);
    WeightedToken& drawn = node.left[sample(node.left, u)];
    const auto [probability, token] = drawn;
    drawn.first = 0.0;
    node.mass = 0.0;
    for (const auto& [weight, other] : node.left) node.mass += weight;
    if (!node.children.empty()) ++branches;
    node.children.push_back(static_cast<int>(nodes_.size()));
    add_node(request, token, parent, node.reach * probability);
  }
}

void NgramDrafter::add_node(const DraftRequest& request, Token token, int parent, double reach) {
  nodes_.push_back({token, parent, reach});
  Node& node = nodes_.back();
  node.law = law_after(request, static_cast<int>(nodes_.size()) - 1);
  node.left = node.law;
  node.mass = node.law.empty() ? 0.0 : 1.0;
}

/// What the table says of the token after a node, over the tokens that may be drafted.
std::vector<WeightedToken> NgramDrafter::law_after(const DraftRequest& request, int node) {
  ending_.clear();
  for (int i = node; i > 0; i = nodes_[static_cast<std::size_t>(i)].parent) {
    ending_.push_back(nodes_[static_cast<std::size_t>(i)].token);
  }
  const auto& history = *request.history;
  const std::size_t more = std::min(NgramTable::kLongest, history.size());
  ending_.insert(ending_.end(), history.rbegin(),
                 history.rbegin() + static_cast<std::ptrdiff_t>(more));
  std::ranges::reverse(ending_);
  auto law = request.params->drafter->after(ending_);
  std::erase_if(law, [this](const WeightedToken& w) { return w.second >= vocab_size_; });
  double mass = 0.0;
  for (const auto& [weight, token] : law) mass += weight;
  for (auto& [weight, token] : law) weight /= mass;
  return law;
}

/// The node that gets the next child; -1 where none can have one.
int NgramDrafter::most_likely(bool may_branch) const {
  int best = -1;
  double most = 0.0;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (!may_branch && !node.children.empty()) continue;
    if (node.reach * node.mass <= most) continue;
    most = node.reach * node.mass;
    best = static_cast<int>(i);
  }
  return best;
}

/// Adds a node, which follows a row of the block, and what is under it, branch by branch.
void NgramDrafter::hand_over(DraftBlock& block, int node, std::size_t follows) const {
  const Node& from = nodes_[static_cast<std::size_t>(node)];
  if (node > 0) block.add(from.token, follows);
  if (!from.children.empty()) block.set_law(from.law);
  const std::size_t row = block.tokens.size();
  for (const int child : from.children) hand_over(block, child, row);
}

}  // namespace rewardshift
