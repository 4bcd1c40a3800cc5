#include "rewardshift/decode/draft_tree.h"

namespace rewardshift {

void DraftTree::start() {
  nodes_.clear();
  nodes_.push_back({-1, -1, 0, 1.0});
  branches_ = 1;
  slots_ = 0;
}

void DraftTree::append_path(int node, std::vector<Token>& out) const {
  if (node == 0) return;
  append_path(at(node).parent, out);
  out.push_back(token(node));
}

int DraftTree::most_likely(std::size_t width) const {
  int best = -1;
  double most = 0.0;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (branches_ >= width && !node.children.empty()) continue;
    if (node.reach * node.mass <= most) continue;
    most = node.reach * node.mass;
    best = static_cast<int>(i);
  }
  return best;
}

void DraftTree::set_law(int node, std::span<const WeightedToken> law, int slot) {
  Node& here = at(node);
  here.is_known = true;
  here.slot = slot;
  if (slot >= 0) ++slots_;
  here.law.assign(law.begin(), law.end());
  double mass = 0.0;
  for (const auto& [weight, token] : law) mass += weight;
  for (auto& [weight, token] : here.law) weight /= mass;
  here.left = here.law;
  here.mass = law.empty() ? 0.0 : 1.0;
}

void DraftTree::draw(int node, double u) {
  Node& from = at(node);
  WeightedToken& drawn = from.left[sample(from.left, u)];
  const auto [probability, token] = drawn;
  drawn.first = 0.0;
  from.mass = 0.0;
  for (const auto& [weight, other] : from.left) from.mass += weight;
  const std::size_t branch = from.children.empty() ? from.branch : branches_++;
  from.children.push_back(static_cast<int>(nodes_.size()));
  nodes_.push_back({token, node, branch, from.reach * probability});
}

void DraftTree::hand_over(DraftBlock& block, int node, std::size_t follows) const {
  const Node& from = at(node);
  if (node > 0) block.add(from.token, follows, static_cast<std::size_t>(node) - 1);
  if (from.slot >= 0) block.set_slot(static_cast<std::size_t>(from.slot));
  if (!from.children.empty()) block.set_law(from.law);
  const std::size_t row = block.tokens.size();
  for (const int child : from.children) hand_over(block, child, row);
}

}  // namespace rewardshift
