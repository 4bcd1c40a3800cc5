// Building blocks of the loops over the vocabulary, written so that compilers vectorise them.
//
// Sums keep kLanes partial sums in a fixed order: the result does not depend on how wide the
// machine's vectors are (but on whether it fuses multiplications and additions).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace rewardshift {

inline constexpr std::size_t kLanes = 16;

/// Rows are read in blocks of this many tokens, so that what is made of them stays in the first
/// cache. A multiple of kLanes and of the 32 bits of a mask's word.
inline constexpr std::size_t kBlock = 1024;

inline constexpr double kImpossible = -std::numeric_limits<double>::infinity();

/// e^x for x <= 0, below 2 ulp; exactly 1 for 0 and 0 under -87; NaN for NaN. No branches.
///
/// x = n ln2 + r; e^r is 1 + r and the terms up to r^6 whose relative error is least, 3e-9.
inline float exp_nonpositive(float x) {
  // Adding it rounds to an integer, kept in the low bits, biased as an exponent is.
  constexpr float kRound = 0x1.8p23F + 127.0F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float e = 0.00138145847F;
  e = e * r + 0.00836872403F;
  e = e * r + 0.0416683890F;
  e = e * r + 0.166665211F;
  e = e * r + 0.499999940F;
  e = e * r + 1.0F;
  e = e * r + 1.0F;
  const float value = e * std::bit_cast<float>(std::bit_cast<std::uint32_t>(shifted) << 23);
  return x < -87.0F ? 0.0F : value;
}

/// The sum of term(i) for i in [0, n).
template <class Term>
double vector_sum(std::size_t n, Term term) {
  std::array<double, kLanes> lanes{};
  const std::size_t whole = n - n % kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
  }
  for (std::size_t i = whole; i < n; ++i) lanes[i - whole] += term(i);
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

inline double vector_sum_of(std::size_t n, const float* values) {
  return vector_sum(n, [values](std::size_t i) { return static_cast<double>(values[i]); });
}

/// Largest of n values; -inf for none. NaNs are passed over.
template <class T>
T vector_max(std::size_t n, const T* values) {
  std::array<T, kLanes> lanes;
  lanes.fill(-std::numeric_limits<T>::infinity());
  const std::size_t whole = n - n % kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) {
      lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
    }
  }
  for (std::size_t i = whole; i < n; ++i) {
    lanes[i - whole] = values[i] > lanes[i - whole] ? values[i] : lanes[i - whole];
  }
  T best = lanes[0];
  for (const T lane : lanes) best = lane > best ? lane : best;
  return best;
}

/// Weights added up once, chunk by chunk: a draw then walks one by one inside one chunk only.
class CumulativeWeights {
 public:
  explicit CumulativeWeights(std::size_t n)
      : n_(n), chunk_(std::max<std::size_t>(512, (n / kChunks / kLanes + 1) * kLanes)) {}

  /// Calls add(begin, count) for each chunk, in order, which returns the chunk's weight.
  template <class Add>
  double add_up(Add add) {
    double total = 0.0;
    for (std::size_t begin = 0, i = 0; begin < n_; begin += chunk_, ++i) {
      sums_[i] = add(begin, std::min(chunk_, n_ - begin));
      total += sums_[i];
    }
    total_ = total;
    return total;
  }

  /// The first index whose cumulative weight exceeds u times the total, for u in [0, 1) and
  /// weights >= 0 that are not all zero.
  template <class Weight>
  std::size_t find(double u, Weight weight) const {
    const double goal = u * total_;
    double below = 0.0;
    std::size_t begin = 0;
    for (std::size_t i = 0; begin < n_ && below + sums_[i] <= goal; ++i) {
      below += sums_[i];
      begin += chunk_;
    }
    std::size_t end = std::min(begin + chunk_, n_);
    for (std::size_t i = begin; i < end; ++i) {
      below += weight(i);
      if (below > goal) return i;
    }
    while (end > 1 && !(weight(end - 1) > 0.0)) --end;  // rounding carried us past the last weight
    return end - 1;
  }

 private:
  static constexpr std::size_t kChunks = 256;

  std::size_t n_;
  std::size_t chunk_;
  std::array<double, kChunks> sums_;
  double total_ = 0.0;
};

/// Likewise in one go.
template <class Weight>
std::size_t find_cumulative(std::size_t n, double u, Weight weight) {
  CumulativeWeights weights(n);
  weights.add_up([&](std::size_t begin, std::size_t count) {
    return vector_sum(count, [&](std::size_t i) { return weight(begin + i); });
  });
  return weights.find(u, weight);
}

}  // namespace rewardshift
