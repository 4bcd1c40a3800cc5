#include "rewardshift/math/truncation.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

/// How far down a sorted distribution goes: until it holds so many tokens, or so much weight.
struct Reach {
  std::size_t count = std::numeric_limits<std::size_t>::max();
  double weight = std::numeric_limits<double>::infinity();

  bool counts() const { return count < std::numeric_limits<std::size_t>::max(); }
};

/// Whether the tokens of at least this weight reach far enough.
bool has_enough(std::span<const float> weights, float floor, const Reach& reach) {
  const float* w = weights.data();
  if (!reach.counts()) {
    const double found = vector_sum(weights.size(), [w, floor](std::size_t i) {
      return static_cast<double>(w[i] >= floor ? w[i] : 0.0F);
    });
    return found >= reach.weight;
  }
  std::uint32_t found = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) found += w[i] >= floor ? 1 : 0;
  return found >= reach.count;
}

/// A weight such that the tokens from there up reach far enough. Those that make up a mass may be
/// thousands, and are narrowed down further before they are looked at one by one.
float floor_of_head(std::span<const float> weights, const Reach& reach) {
  constexpr float kStep = 0x1p-4F;
  constexpr float kLeast = 0x1p-40F;
  const float top = vector_max(weights.size(), weights.data());
  for (float share = kStep; share > kLeast; share *= kStep) {
    if (!has_enough(weights, share * top, reach)) continue;
    // Never beyond the top: a top_p so small that the weight is 0 is reached by no token at all.
    while (!reach.counts() && share < 1.0F && has_enough(weights, 2.0F * share * top, reach)) {
      share *= 2.0F;
    }
    return share * top;
  }
  return std::numeric_limits<float>::denorm_min();  // whatever is possible
}

/// All tokens of at least this weight, by id. Blocks without one are passed over.
void collect(std::span<const float> weights, float floor, std::vector<WeightedToken>& head) {
  constexpr std::size_t kAtATime = 32;
  head.clear();
  for (std::size_t begin = 0; begin < weights.size(); begin += kAtATime) {
    const std::size_t end = std::min(begin + kAtATime, weights.size());
    std::uint32_t found = 0;
    for (std::size_t i = begin; i < end; ++i) found |= weights[i] >= floor ? 1U : 0U;
    if (found == 0) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (weights[i] >= floor) {
        head.emplace_back(static_cast<double>(weights[i]), static_cast<Token>(i));
      }
    }
  }
}

/// The tokens that reach so far, in no order, and more.
std::vector<WeightedToken>& collect_head(std::span<const float> weights, const Reach& reach,
                                         Workspace& workspace) {
  collect(weights, floor_of_head(weights, reach), workspace.head);
  return workspace.head;
}

bool comes_first(const WeightedToken& a, const WeightedToken& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
}

double sum_of(std::span<const WeightedToken> tokens) {
  double sum = 0.0;
  for (const auto& [weight, token] : tokens) sum += weight;
  return sum;
}

/// Keeps the most probable tokens, in no order.
void cut_by_count(std::vector<WeightedToken>& head, std::size_t count) {
  if (head.size() <= count) return;
  std::nth_element(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(count), head.end(),
                   comes_first);
  head.resize(count);
}

/// Keeps the fewest most probable tokens that reach a weight, at least one, in no order. Looks for
/// their number by halves: linear in all.
void cut_by_weight(std::vector<WeightedToken>& head, double enough) {
  auto first = head.begin();  // those before are too few
  auto last = head.end();     // those before are enough
  double sum = 0.0;
  while (last - first > 1) {
    const auto middle = first + (last - first) / 2;
    std::nth_element(first, middle, last, comes_first);
    const double more = sum_of({first, middle});
    if (sum + more >= enough) {
      last = middle;
    } else {
      sum += more;
      first = middle;
    }
  }
  head.erase(last, head.end());
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
  auto& head = collect_head(weights, reach, workspace);
  if (truncation.top_k > 0) cut_by_count(head, reach.count);
  if (truncation.top_p < 1.0) {
    cut_by_weight(head, truncation.top_p * (truncation.top_k > 0 ? sum_of(head) : sum));
  }
  if (truncation.min_p > 0.0) {
    const double floor = truncation.min_p * std::ranges::max(head).first;
    std::erase_if(head, [floor](const WeightedToken& token) { return token.first < floor; });
  }
  std::ranges::fill(weights, 0.0F);
  for (const auto& [weight, token] : head) {
    weights[static_cast<std::size_t>(token)] = static_cast<float>(weight);
  }
  return sum_of(head);
}

void largest(std::span<const float> logits, std::size_t n, Workspace& workspace,
             std::vector<Token>& out) {
  constexpr std::size_t kAtATime = 128;
  auto& tops = workspace.adjusted;  // of each few tokens the largest logit, and where they begin
  auto& head = workspace.head;
  tops.clear();
  head.clear();
  out.clear();
  if (n == 0) return;
  for (std::size_t begin = 0; begin < logits.size(); begin += kAtATime) {
    const std::size_t count = std::min(kAtATime, logits.size() - begin);
    const auto top = static_cast<double>(vector_max(count, logits.data() + begin));
    if (top > kImpossible) tops.emplace_back(top, static_cast<Token>(begin));
  }
  double floor = kImpossible;  // n logits at least are not below it
  if (tops.size() > n) {
    const auto last = tops.begin() + static_cast<std::ptrdiff_t>(n - 1);
    std::nth_element(tops.begin(), last, tops.end(), comes_first);
    floor = last->first;
  }
  for (const auto& [top, first] : tops) {
    if (top < floor) continue;
    const auto begin = static_cast<std::size_t>(first);
    for (std::size_t i = begin; i < std::min(begin + kAtATime, logits.size()); ++i) {
      const auto z = static_cast<double>(logits[i]);
      if (z >= floor && z > kImpossible) head.emplace_back(z, static_cast<Token>(i));
    }
  }
  cut_by_count(head, n);
  std::ranges::sort(head, comes_first);
  for (const auto& [z, token] : head) out.push_back(token);
}

std::span<const WeightedToken> most_probable(const Weights& weights, std::size_t n,
                                             Workspace& workspace) {
  auto& head = collect_head(weights.of, {.count = n}, workspace);
  cut_by_count(head, n);
  std::ranges::sort(head, comes_first);
  for (auto& [weight, token] : head) weight /= weights.sum;
  return head;
}

}  // namespace rewardshift
