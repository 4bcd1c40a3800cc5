#include "rewardshift/math/distribution.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

/// Logits to unnormalised probabilities exp((z - max) / temperature), in place.
struct Exponentiated {
  double top;  ///< the largest logit
  double sum;  ///< of the unnormalised probabilities
};

Exponentiated exponentiate(std::span<double> logits, double temperature) {
  double* z = logits.data();
  const double top = vector_max<double>(logits.size(), [z](std::size_t i) { return z[i]; });
  const double scale = 1.0 / temperature;
  const double sum = vector_sum(
      logits.size(), [=](std::size_t i) { return z[i] = exp_nonpositive((z[i] - top) * scale); });
  return {top, sum};
}

/// Probabilities sorted into buckets of equal binary exponent and leading mantissa bits. Buckets
/// are numbered from the most probable down, so a head of the distribution is a run of buckets.
struct Histogram {
  static constexpr std::size_t kBuckets = 512;  // 64 octaves of 8; smaller values share the last
  std::array<std::size_t, kBuckets> count{};
  std::array<double, kBuckets> mass{};

  static std::size_t bucket(double p) {
    constexpr std::uint64_t kOne = std::bit_cast<std::uint64_t>(1.0) >> 49;
    const std::uint64_t bits = std::bit_cast<std::uint64_t>(p) >> 49;
    return static_cast<std::size_t>(
        std::min<std::uint64_t>(kOne - std::min(kOne, bits), kBuckets - 1));
  }
};

/// Collects whole buckets into the workspace until they hold `count` tokens or `mass`, then sorts
/// them. A linear pass: only the few candidates are ever sorted.
std::vector<WeightedToken>& collect_head(std::span<const double> probs, std::size_t count,
                                         double mass, Workspace& workspace) {
  Histogram histogram;
  for (const double p : probs) {
    const std::size_t b = Histogram::bucket(p);
    ++histogram.count[b];
    histogram.mass[b] += p;
  }
  std::size_t last = 0;
  std::size_t collected = histogram.count[0];
  double collected_mass = histogram.mass[0];
  while (last + 1 < Histogram::kBuckets && collected < count && collected_mass < mass) {
    ++last;
    collected += histogram.count[last];
    collected_mass += histogram.mass[last];
  }
  auto& head = workspace.head;
  head.clear();
  for (std::size_t i = 0; i < probs.size(); ++i) {
    if (probs[i] > 0.0 && Histogram::bucket(probs[i]) <= last) {
      head.emplace_back(probs[i], static_cast<Token>(i));
    }
  }
  std::sort(head.begin(), head.end(), [](const auto& a, const auto& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  });
  return head;
}

double head_mass(std::span<const WeightedToken> head) {
  double sum = 0.0;
  for (const auto& [p, token] : head) sum += p;
  return sum;
}

/// Keeps the first tokens of the head that the truncation allows; returns their mass.
double cut_head(std::vector<WeightedToken>& head, const Truncation& truncation) {
  if (truncation.top_k > 0 && head.size() > static_cast<std::size_t>(truncation.top_k)) {
    head.resize(static_cast<std::size_t>(truncation.top_k));
  }
  if (truncation.top_p < 1.0) {
    const double total = truncation.top_k > 0 ? head_mass(head) : 1.0;
    double sum = 0.0;
    std::size_t keep = 0;
    while (keep < head.size() && (keep == 0 || sum < truncation.top_p * total)) {
      sum += head[keep++].first;
    }
    head.resize(keep);
  }
  const double floor = truncation.min_p * head.front().first;
  while (head.back().first < floor) head.pop_back();
  return head_mass(head);
}

double truncate(std::span<double> probs, const Truncation& truncation, Workspace& workspace) {
  const bool only_min_p = truncation.top_k <= 0 && truncation.top_p >= 1.0;
  double* p = probs.data();
  if (only_min_p) {
    const double top = vector_max<double>(probs.size(), [p](std::size_t i) { return p[i]; });
    const double floor = truncation.min_p * top;
    for (double& x : probs) x = x < floor ? 0.0 : x;
    const double kept = vector_sum(probs.size(), [p](std::size_t i) { return p[i]; });
    for (double& x : probs) x /= kept;
    return kept;
  }
  // Enough candidates for top_k to choose from and, where it does not, for top_p.
  const std::size_t count = truncation.top_k > 0 ? static_cast<std::size_t>(truncation.top_k)
                                                 : std::numeric_limits<std::size_t>::max();
  const double mass = truncation.top_k > 0 ? std::numeric_limits<double>::infinity()
                                           : std::min(1.0, truncation.top_p + 1e-9);
  auto& head = collect_head(probs, count, mass, workspace);
  const double kept = cut_head(head, truncation);
  std::fill(probs.begin(), probs.end(), 0.0);
  for (const auto& [x, token] : head) probs[static_cast<std::size_t>(token)] = x / kept;
  return kept;
}

}  // namespace

LogNormalisers log_normalisers(std::span<const float> logits, double temperature) {
  const float* z = logits.data();
  const float top = vector_max<float>(logits.size(), [z](std::size_t i) { return z[i]; });
  const auto at = [=, n = logits.size()](double t) {
    const float scale = static_cast<float>(1.0 / t);
    const double sum = vector_sum(n, [=](std::size_t i) {
      return static_cast<double>(exp_nonpositive((z[i] - top) * scale));
    });
    return static_cast<double>(top) / t + std::log(sum);
  };
  const double at_one = at(1.0);
  return {at_one, temperature == 1.0 ? at_one : at(temperature)};
}

double entropy(std::span<const float> logits, double log_normaliser) {
  const float* z = logits.data();
  const auto normaliser = static_cast<float>(log_normaliser);
  return vector_sum(logits.size(), [=](std::size_t i) {
    const float log_p = std::max(z[i] - normaliser, -100.0F);  // e^-100 is 0: no 0 times infinity
    return static_cast<double>(-log_p * exp_nonpositive(std::min(log_p, 0.0F)));
  });
}

void adjust(std::span<double> logits, std::span<const Adjustment> adjustments) {
  for (const Adjustment& a : adjustments) {
    double& z = logits[static_cast<std::size_t>(a.token)];
    z = (z > 0.0 ? z / a.repeat_penalty : z * a.repeat_penalty) + a.bias;
  }
}

Shaped shape(std::span<double> logits_to_probs, double temperature, const Truncation& truncation,
             Workspace& workspace) {
  double* p = logits_to_probs.data();
  const std::size_t n = logits_to_probs.size();
  const bool greedy = is_greedy(temperature);
  const std::ptrdiff_t best = greedy ? std::max_element(p, p + n) - p : 0;
  const double t = greedy ? 1.0 : temperature;
  const auto [top, sum] = exponentiate(logits_to_probs, t);
  const double log_normaliser = top / t + std::log(sum);
  const double log_best = -std::log(sum);
  if (!std::isfinite(log_normaliser)) return {log_normaliser, 1.0, log_best};
  if (greedy) {
    std::fill(p, p + n, 0.0);
    p[best] = 1.0;
    return {log_normaliser, 1.0, log_best};
  }
  const double inverse = 1.0 / sum;
  for (std::size_t i = 0; i < n; ++i) p[i] *= inverse;
  return {log_normaliser,
          truncation.is_off() ? 1.0 : truncate(logits_to_probs, truncation, workspace), log_best};
}

Token sample(std::span<const double> weights, double u) {
  const double* w = weights.data();
  return static_cast<Token>(
      find_cumulative(weights.size(), u, [w](std::size_t i) { return w[i]; }));
}

std::size_t sample(std::span<const WeightedToken> weights, double u) {
  return find_cumulative(weights.size(), u, [weights](std::size_t i) { return weights[i].first; });
}

std::span<const WeightedToken> most_probable(std::span<const double> probs, std::size_t n,
                                             Workspace& workspace) {
  auto& head = collect_head(probs, n, std::numeric_limits<double>::infinity(), workspace);
  if (head.size() > n) head.resize(n);
  return head;
}

}  // namespace rewardshift
