#include "rewardshift/math/distribution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "rewardshift/math/combined_row.h"
#include "rewardshift/math/truncation.h"
#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

/// Calls visit(begin, count) for each block of n tokens.
template <class Visit>
void for_each_block(std::size_t n, Visit visit) {
  for (std::size_t begin = 0; begin < n; begin += kBlock) visit(begin, std::min(kBlock, n - begin));
}

/// A row's own softmax: its largest logit, and sums of exponentials relative to that.
struct OwnSums {
  float top;
  double at_one = 0.0;
  double tempered = 0.0;
};

/// Adds up e^(z - top) and e^((z - top) / temperature) over a block. Four of them at a time are
/// added in float: a row's sum is to float precision.
template <bool kIsTempered>
void add_exponentials(OwnSums& own, const float* z, std::size_t count, float scale) {
  constexpr std::size_t kFew = 4;
  constexpr auto kToBase2 = static_cast<float>(kLog2E);
  const float top = own.top;
  const auto sum_of = [z, top](std::size_t i, std::size_t step, std::size_t n, float by) {
    float sum = 0.0F;
    for (std::size_t k = 0; k < n; ++k) sum += exp2_nonpositive((z[i + k * step] - top) * by);
    return static_cast<double>(sum);
  };
  std::array<double, kLanes> at_one{};
  std::array<double, kLanes> tempered{};
  const std::size_t whole = count - count % (kFew * kLanes);
  for (std::size_t i = 0; i < whole; i += kFew * kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) {
      at_one[j] += sum_of(i + j, kLanes, kFew, kToBase2);
      if (kIsTempered) tempered[j] += sum_of(i + j, kLanes, kFew, scale);
    }
  }
  for (std::size_t i = whole; i < count; ++i) {
    at_one[i % kLanes] += sum_of(i, 1, 1, kToBase2);
    if (kIsTempered) tempered[i % kLanes] += sum_of(i, 1, 1, scale);
  }
  for (std::size_t j = 0; j < kLanes; ++j) {
    own.at_one += at_one[j];
    own.tempered += tempered[j];
  }
}

void add_block(OwnSums& own, const float* z, std::size_t count, double temperature) {
  if (temperature == 1.0) return add_exponentials<false>(own, z, count, 1.0F);
  // Never so small a scale that infinity times it is no number.
  constexpr float kLeast = std::numeric_limits<float>::min();
  const float scale = std::max(static_cast<float>(kLog2E / temperature), kLeast);
  add_exponentials<true>(own, z, count, scale);
}

LogNormalisers logs_of(const OwnSums& own, double temperature) {
  const auto top = static_cast<double>(own.top);
  const double at_one = top + std::log(own.at_one);
  return {at_one, temperature == 1.0 ? at_one : top / temperature + std::log(own.tempered)};
}

/// Where the largest z is: its block is the first that holds it.
struct Top {
  double z = kImpossible;
  std::size_t block = 0;
};

/// A first pass over the rows, in float or double: the largest z.
template <class T>
Top find_top(const CombinedRow& row) {
  alignas(64) T z[kBlock];
  Top top;
  for_each_block(row.size(), [&](std::size_t begin, std::size_t count) {
    row.read(begin, count, z);
    const auto most = static_cast<double>(vector_max(count, z));
    if (most > top.z) top = {most, begin};
  });
  return top;
}

/// A second one: weights e^((z - top) / temperature).
struct Exponentials {
  double sum = 0.0;
  float most = 0.0F;  ///< 1 if top is the largest z
};

Exponentials exponentiate(const CombinedRow& row, double top, double temperature,
                          std::span<float> weights) {
  alignas(64) double z[kBlock];
  const double scale = kLog2E / temperature;
  Exponentials made;
  for_each_block(row.size(), [&](std::size_t begin, std::size_t count) {
    row.read(begin, count, z);
    float* w = weights.data() + begin;
    made.sum += vector_sum(count, [w, z = z, top, scale](std::size_t i) {
      w[i] = exp2_nonpositive(static_cast<float>((z[i] - top) * scale));
      return static_cast<double>(w[i]);
    });
    made.most = std::max(made.most, vector_max(count, w));
  });
  return made;
}

/// The first token with the largest z.
std::size_t find_best(const CombinedRow& row, const Top& top) {
  alignas(64) double z[kBlock];
  const std::size_t count = std::min(kBlock, row.size() - top.block);
  row.read(top.block, count, z);
  return top.block + static_cast<std::size_t>(std::find(z, z + count, top.z) - z);
}

}  // namespace

LogNormalisers log_normalisers(std::span<const float> logits, double temperature) {
  const double t = is_greedy(temperature) ? 1.0 : temperature;
  OwnSums own{vector_max(logits.size(), logits.data())};
  for_each_block(logits.size(), [&](std::size_t begin, std::size_t count) {
    add_block(own, logits.data() + begin, count, t);
  });
  return logs_of(own, t);
}

double mass_of(std::span<const float> logits, double log_normaliser,
               std::span<const std::uint32_t> tokens) {
  constexpr std::size_t kBits = 32;
  const auto normaliser = static_cast<float>(log_normaliser);
  double mass = 0.0;
  for (std::size_t begin = 0; begin < logits.size(); begin += kBits) {
    const std::size_t count = std::min(kBits, logits.size() - begin);
    const std::uint32_t word = tokens[begin / kBits];
    const float* z = logits.data() + begin;
    float sum = 0.0F;
    for (std::size_t i = 0; i < count; ++i) {
      const float of_token = exp2_nonpositive((z[i] - normaliser) * static_cast<float>(kLog2E));
      sum += (word >> i & 1U) != 0 ? of_token : 0.0F;
    }
    mass += static_cast<double>(sum);
  }
  return mass;
}

double entropy(std::span<const float> logits, double log_normaliser) {
  const float* z = logits.data();
  const auto normaliser = static_cast<float>(log_normaliser);
  return vector_sum(logits.size(), [=](std::size_t i) {
    // No 0 times infinity: e^-100 is 0.
    const float log_p = std::clamp(z[i] - normaliser, -100.0F, 0.0F);
    return static_cast<double>(-log_p * exp2_nonpositive(log_p * static_cast<float>(kLog2E)));
  });
}

Shaped shape(std::span<const Term> terms, const Shaping& shaping, Workspace& workspace,
             std::span<float> weights) {
  const bool greedy = is_greedy(shaping.temperature);
  const double t = greedy ? 1.0 : shaping.temperature;
  const CombinedRow row(terms, shaping, workspace);
  // Any top near the largest z does, and float is near enough but for huge logits or weights over
  // tiny temperatures; only the argmax needs the very one.
  Top top = greedy ? find_top<double>(row) : find_top<float>(row);
  Exponentials made = exponentiate(row, top.z, t, weights);
  if (!(made.most > 0.5F && made.most < 2.0F)) {
    top = find_top<double>(row);
    made = exponentiate(row, top.z, t, weights);
  }
  Shaped shaped{made.sum, top.z / t + std::log(made.sum), 1.0,
                std::log(static_cast<double>(made.most) / made.sum)};
  if (!std::isfinite(shaped.log_normaliser)) return shaped;
  if (greedy) {
    std::ranges::fill(weights, 0.0F);
    weights[find_best(row, top)] = 1.0F;
    shaped.sum = 1.0;
  } else if (!shaping.truncation.is_off()) {
    const double sum = truncate(weights, shaped.sum, shaping.truncation, workspace);
    shaped.kept = sum / shaped.sum;
    shaped.sum = sum;
  }
  return shaped;
}

Token sample(const Weights& weights, double u) {
  const float* w = weights.of.data();
  return static_cast<Token>(find_cumulative(
      weights.of.size(), u, [w](std::size_t i) { return static_cast<double>(w[i]); }));
}

std::size_t sample(std::span<const WeightedToken> weights, double u) {
  return find_cumulative(weights.size(), u, [weights](std::size_t i) { return weights[i].first; });
}

}  // namespace rewardshift
