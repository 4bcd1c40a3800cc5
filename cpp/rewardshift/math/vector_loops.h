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

inline constexpr double kLog2E = 1.4426950408889634;

/// 2^t for t < 127, below 2 ulp; exactly 1 for 0, and 0 under -126; NaN for NaN, and nothing in
/// particular from 127 on. No branches.
///
/// t is an integer and a rest f; 2^f is 1 and the terms up to f^6 whose relative error is least,
/// 2e-09.
inline float exp2_below_127(float t) {
  // Adding it rounds to an integer, kept in the low bits, biased as an exponent is.
  constexpr float kRound = 0x1.8p23F + 127.0F;
  const float shifted = t + kRound;
  const float f = t - (shifted - kRound);
  float e = 0.00015353342F;
  e = e * f + 0.0013398901F;
  e = e * f + 0.009618438F;
  e = e * f + 0.055503324F;
  e = e * f + 0.24022648F;
  e = e * f + 0.6931472F;
  e = e * f + 1.0F;
  const float value = e * std::bit_cast<float>(std::bit_cast<std::uint32_t>(shifted) << 23);
  return t < -126.0F ? 0.0F : value;
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

/// The largest of values that come block by block; -inf for none. NaNs are passed over. More lanes
/// than sums have: in fewer, compilers find no vectors in comparisons, and no order of them
/// matters.
template <class T>
class Largest {
 public:
  Largest() { lanes_.fill(-std::numeric_limits<T>::infinity()); }

  void add(std::size_t n, const T* values) {
    for (std::size_t i = 0; i < n; i += kMany) {
      const std::size_t count = std::min(kMany, n - i);
      for (std::size_t j = 0; j < count; ++j) {
        lanes_[j] = values[i + j] > lanes_[j] ? values[i + j] : lanes_[j];
      }
    }
  }

  T get() const {
    std::array<T, kMany> lanes = lanes_;
    for (std::size_t half = kMany / 2; half > 0; half /= 2) {
      for (std::size_t j = 0; j < half; ++j) {
        lanes[j] = lanes[j + half] > lanes[j] ? lanes[j + half] : lanes[j];
      }
    }
    return lanes[0];
  }

 private:
  static constexpr std::size_t kMany = 8 * kLanes;

  std::array<T, kMany> lanes_;
};

template <class T>
T vector_max(std::size_t n, const T* values) {
  Largest<T> largest;
  largest.add(n, values);
  return largest.get();
}

/// Where a value is first; n if nowhere.
template <class T>
std::size_t vector_find(std::size_t n, const T* values, T value) {
  constexpr std::size_t kMany = 8 * kLanes;
  std::size_t i = 0;
  for (; i + kMany <= n; i += kMany) {
    std::uint32_t found = 0;
    for (std::size_t j = 0; j < kMany; ++j) found |= values[i + j] == value ? 1U : 0U;
    if (found != 0) break;
  }
  while (i < n && !(values[i] == value)) ++i;
  return i;
}

/// Weights added up once, chunk by chunk: a draw then walks one by one inside one chunk only.
class CumulativeWeights {
 public:
  explicit CumulativeWeights(std::size_t n)
      : n_(n), chunk_(std::max<std::size_t>(512, (n / kChunks / kLanes + 1) * kLanes)) {}

  std::size_t size() const { return n_; }

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
