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

/// Whether e to this power is so near 1 that float exponents relative to it are good to 2^-20, and
/// leave room for what is smaller.
bool is_near(double exponent) { return std::abs(exponent) <= 16.0; }

/// The first token with the largest logit; 0 where none is a number.
std::size_t first_of_largest(std::span<const float> logits) {
  const std::size_t first =
      vector_find(logits.size(), logits.data(), vector_max(logits.size(), logits.data()));
  return first < logits.size() ? first : 0;
}

/// A row's own softmax: sums of exponentials relative to one logit.
struct OwnSums {
  float centre;
  double at_one = 0.0;
  double tempered = 0.0;
  float top = 0.0F;  ///< the largest logit
};

/// Adds up e^(z - centre) and e^((z - centre) / temperature) over a block. Four of them at a time
/// are added in float: a row's sum is to float precision.
template <bool kIsTempered>
void add_exponentials(OwnSums& own, const float* z, std::size_t count, float scale) {
  constexpr std::size_t kFew = 4;
  constexpr auto kToBase2 = static_cast<float>(kLog2E);
  const float centre = own.centre;
  const auto sum_of = [z, centre](std::size_t i, std::size_t step, std::size_t n, float by) {
    float sum = 0.0F;
    for (std::size_t k = 0; k < n; ++k) sum += exp2_below_127((z[i + k * step] - centre) * by);
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

OwnSums own_sums(std::span<const float> logits, float centre, double temperature) {
  // Never so small a scale that infinity times it is no number.
  constexpr float kLeast = std::numeric_limits<float>::min();
  const float scale = std::max(static_cast<float>(kLog2E / temperature), kLeast);
  OwnSums own{centre};
  Largest<float> largest;
  for_each_block(logits.size(), [&](std::size_t begin, std::size_t count) {
    const float* z = logits.data() + begin;
    largest.add(count, z);
    if (temperature == 1.0) return add_exponentials<false>(own, z, count, scale);
    add_exponentials<true>(own, z, count, scale);
  });
  own.top = largest.get();
  return own;
}

/// Where the largest z is: its block is the first that holds it.
struct Top {
  double z = kImpossible;
  std::size_t block = 0;
};

Top find_top(const CombinedRow& row) {
  alignas(64) double z[kBlock];
  Top top;
  for_each_block(row.size(), [&](std::size_t begin, std::size_t count) {
    row.read(begin, count, z);
    const double most = vector_max(count, z);
    if (most > top.z) top = {most, begin};
  });
  return top;
}

/// The first token with the largest z.
std::size_t find_best(const CombinedRow& row, const Top& top) {
  alignas(64) double z[kBlock];
  const std::size_t count = std::min(kBlock, row.size() - top.block);
  row.read(top.block, count, z);
  return top.block + vector_find(count, z, top.z);
}

/// What was written as weights e^((z - origin) / temperature).
struct Exponentials {
  double origin;
  double sum = 0.0;
  double most = kImpossible;  ///< the largest z - origin
};

template <class T>
Exponentials exponentiate(const CombinedRow& row, double origin, double temperature,
                          std::span<float> weights) {
  alignas(64) T z[kBlock];
  const T from = static_cast<T>(origin);
  const T scale = static_cast<T>(kLog2E / temperature);
  Exponentials made{origin};
  Largest<T> largest;
  for_each_block(row.size(), [&](std::size_t begin, std::size_t count) {
    row.read(begin, count, z);
    largest.add(count, z);
    float* w = weights.data() + begin;
    made.sum += vector_sum(count, [w, z = z, from, scale](std::size_t i) {
      w[i] = exp2_below_127(static_cast<float>((z[i] - from) * scale));
      return static_cast<double>(w[i]);
    });
  });
  made.most = static_cast<double>(largest.get()) - origin;
  return made;
}

/// Whether z in float, relative to a token, is as good as its exponential in float: of rows as
/// models give them, at temperatures and strengths as people ask for.
bool is_ordinary(std::span<const Term> terms, std::size_t centre, double temperature) {
  constexpr double kMostWeight = 16.0;
  constexpr float kMostLogit = 256.0F;
  double weight = 0.0;
  for (const Term& term : terms) {
    if (!(std::abs(term.logits[centre]) <= kMostLogit)) return false;
    weight += std::abs(term.weight);
  }
  return weight <= kMostWeight * temperature && temperature <= kMostWeight;
}

/// In one pass and in float from the target's best token, which is the goal's or near it, where
/// that will do; else in double from the largest z.
Exponentials weigh(std::span<const Term> terms, const CombinedRow& row, double temperature,
                   std::span<float> weights) {
  const std::size_t guess = first_of_largest(terms.front().logits);
  if (is_ordinary(terms, guess, temperature)) {
    CombinedRow centred = row;
    centred.centre_on(guess);
    Exponentials made = exponentiate<float>(centred, 0.0, temperature, weights);
    made.origin = row.at(guess);
    if (std::isfinite(made.sum) && is_near(made.most / temperature)) return made;
  }
  return exponentiate<double>(row, find_top(row).z, temperature, weights);
}

}  // namespace

LogNormalisers log_normalisers(std::span<const float> logits, double temperature,
                               std::optional<Token> near) {
  const double t = is_greedy(temperature) ? 1.0 : temperature;
  OwnSums own = own_sums(
      logits,
      near ? logits[static_cast<std::size_t>(*near)] : vector_max(logits.size(), logits.data()), t);
  const double most = (static_cast<double>(own.top) - own.centre) * std::max(1.0, 1.0 / t);
  if (!is_near(most)) own = own_sums(logits, own.top, t);
  const auto centre = static_cast<double>(own.centre);
  const double at_one = centre + std::log(own.at_one);
  return {at_one, t == 1.0 ? at_one : centre / t + std::log(own.tempered)};
}

double mass_of(std::span<const float> logits, double log_normaliser,
               std::span<const std::uint32_t> tokens) {
  constexpr std::size_t kBits = 32;
  constexpr auto kToBase2 = static_cast<float>(kLog2E);
  const auto normaliser = static_cast<float>(log_normaliser);
  std::array<double, kBits> lanes{};
  const auto add = [&](const float* z, std::size_t count, std::uint32_t word) {
    for (std::size_t i = 0; i < count; ++i) {
      const float p = exp2_below_127((z[i] - normaliser) * kToBase2);
      lanes[i] += static_cast<double>((word >> i & 1U) != 0 ? p : 0.0F);
    }
  };
  const std::size_t whole = logits.size() / kBits;
  for (std::size_t i = 0; i < whole; ++i) add(logits.data() + i * kBits, kBits, tokens[i]);
  if (const std::size_t rest = logits.size() % kBits; rest > 0) {
    add(logits.data() + whole * kBits, rest, tokens[whole]);
  }
  return vector_sum(kBits, [&](std::size_t i) { return lanes[i]; });
}

double entropy(std::span<const float> logits, double log_normaliser) {
  const float* z = logits.data();
  const auto normaliser = static_cast<float>(log_normaliser);
  return vector_sum(logits.size(), [=](std::size_t i) {
    // No 0 times infinity: e^-100 is 0.
    const float log_p = std::clamp(z[i] - normaliser, -100.0F, 0.0F);
    return static_cast<double>(-log_p * exp2_below_127(log_p * static_cast<float>(kLog2E)));
  });
}

Shaped shape(std::span<const Term> terms, const Shaping& shaping, Workspace& workspace,
             std::span<float> weights) {
  const bool greedy = is_greedy(shaping.temperature);
  const double t = greedy ? 1.0 : shaping.temperature;
  const CombinedRow row(terms, shaping, workspace);
  const Top top = greedy ? find_top(row) : Top{};
  const Exponentials made =
      greedy ? exponentiate<double>(row, top.z, t, weights) : weigh(terms, row, t, weights);
  const double log_sum = std::log(made.sum);
  Shaped shaped{made.sum, made.origin / t + log_sum, 1.0, made.most / t - log_sum};
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
