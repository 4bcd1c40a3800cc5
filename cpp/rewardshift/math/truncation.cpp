#include "rewardshift/math/truncation.h"

#include <algorithm>
#include <limits>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

/// How far down a sorted distribution goes: until it holds so many tokens, or so much weight.
struct Reach {
  std::size_t count = std::numeric_limits<std::size_t>::max();
  double weight = std::numeric_limits<double>::infinity();
};

/// A weight such that the tokens from there up reach far enough: by powers of 16 below the largest.
float floor_of_head(std::span<const float> weights, const Reach& reach) {
  constexpr float kStep = 0x1p-4F;
  constexpr float kLeast = 0x1p-40F;
  const float* w = weights.data();
  const float top = vector_max(weights.size(), w);
  for (float share = kStep; share > kLeast; share *= kStep) {
    const float floor = share * top;
    const double found = vector_sum(weights.size(), [w, floor, &reach](std::size_t i) {
      const double amount =
          reach.count < std::numeric_limits<std::size_t>::max() ? 1.0 : static_cast<double>(w[i]);
      return w[i] >= floor ? amount : 0.0;
    });
    if (found >= reach.weight || found >= static_cast<double>(reach.count)) return floor;
  }
  return std::numeric_limits<float>::denorm_min();  // whatever is possible
}

/// All tokens of at least this weight, by id. Blocks without one are passed over.
void collect(std::span<const float> weights, float floor, std::vector<WeightedToken>& head) {
  constexpr std::size_t kAtATime = 64;
  head.clear();
  for (std::size_t begin = 0; begin < weights.size(); begin += kAtATime) {
    const std::size_t end = std::min(begin + kAtATime, weights.size());
    if (vector_max(end - begin, weights.data() + begin) < floor) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (weights[i] >= floor) {
        head.emplace_back(static_cast<double>(weights[i]), static_cast<Token>(i));
      }
    }
  }
}

/// Leaves the most probable tokens in the workspace, most probable first, lower ids first among
/// equals, as far as asked. Linear passes: only what is left is ever sorted.
std::vector<WeightedToken>& take_head(std::span<const float> weights, const Reach& reach,
                                      Workspace& workspace) {
  auto& head = workspace.head;
  collect(weights, floor_of_head(weights, reach), head);
  const auto comes_later = [](const WeightedToken& a, const WeightedToken& b) {
    return a.first < b.first || (a.first == b.first && a.second > b.second);
  };
  std::ranges::make_heap(head, comes_later);
  auto taken = head.end();
  double weight = 0.0;
  while (taken != head.begin() && weight < reach.weight &&
         static_cast<std::size_t>(head.end() - taken) < reach.count) {
    std::pop_heap(head.begin(), taken, comes_later);
    weight += (--taken)->first;
  }
  head.erase(head.begin(), taken);
  std::ranges::reverse(head);
  return head;
}

double sum_of(std::span<const WeightedToken> head) {
  double sum = 0.0;
  for (const auto& [weight, token] : head) sum += weight;
  return sum;
}

/// The fewest tokens that reach a weight, at least one.
void cut_by_weight(std::vector<WeightedToken>& head, double enough) {
  double sum = 0.0;
  std::size_t keep = 0;
  while (keep < head.size() && (keep == 0 || sum < enough)) sum += head[keep++].first;
  head.resize(keep);
}

double cut_by_share(std::span<float> weights, double min_p) {
  float* w = weights.data();
  const double floor = min_p * static_cast<double>(vector_max(weights.size(), w));
  for (float& x : weights) x = static_cast<double>(x) < floor ? 0.0F : x;
  return vector_sum_of(weights.size(), w);
}

}  // namespace

double truncate(std::span<float> weights, double sum, const Truncation& truncation,
                Workspace& workspace) {
  if (truncation.top_k <= 0 && truncation.top_p >= 1.0) {
    return cut_by_share(weights, truncation.min_p);
  }
  Reach reach;
  if (truncation.top_k > 0) {
    reach.count = static_cast<std::size_t>(truncation.top_k);
  } else {
    reach.weight = truncation.top_p * sum;
  }
  auto& head = take_head(weights, reach, workspace);
  if (truncation.top_k > 0 && truncation.top_p < 1.0) {
    cut_by_weight(head, truncation.top_p * sum_of(head));
  }
  const double floor = truncation.min_p * head.front().first;
  while (head.back().first < floor) head.pop_back();
  std::ranges::fill(weights, 0.0F);
  for (const auto& [weight, token] : head) {
    weights[static_cast<std::size_t>(token)] = static_cast<float>(weight);
  }
  return sum_of(head);
}

std::span<const WeightedToken> most_probable(const Weights& weights, std::size_t n,
                                             Workspace& workspace) {
  auto& head = take_head(weights.of, {.count = n}, workspace);
  for (auto& [weight, token] : head) weight /= weights.sum;
  return head;
}

}  // namespace rewardshift
