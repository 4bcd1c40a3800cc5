// Building blocks of the loops over the vocabulary, written so that compilers vectorise them.
//
// Sums keep kLanes partial sums in a fixed order: the result does not depend on how wide the
// machine's vectors are (but on whether it fuses multiplications and additions).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace rewardshift {

inline constexpr std::size_t kLanes = 16;

/// What e^x needs to know of a floating-point type: its integer of the same size, the constants of
/// the range reduction x = n ln2 + r, and how many terms of Taylor's series reach its precision.
template <class T>
struct ExpTraits;

template <>
struct ExpTraits<double> {
  using Bits = std::uint64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr Bits kBias = 1023;
  static constexpr double kRound =
      0x1.8p52;  // adding it rounds to an integer, kept in the low bits
  static constexpr double kLn2High = 0.6931471803691238;
  static constexpr double kLn2Low = 1.9082149292705877e-10;
  static constexpr double kLeast = -708.0;
  static constexpr int kDegree = 13;
};

template <>
struct ExpTraits<float> {
  using Bits = std::uint32_t;
  static constexpr int kMantissaBits = 23;
  static constexpr Bits kBias = 127;
  static constexpr float kRound = 0x1.8p23F;
  static constexpr float kLn2High = 0.693359375F;
  static constexpr float kLn2Low = -2.12194440e-4F;
  static constexpr float kLeast = -87.0F;
  static constexpr int kDegree = 7;
};

/// 1 / n! for n in [0, 13].
inline constexpr auto kInverseFactorials = [] {
  std::array<double, 14> inverse{1.0};
  for (std::size_t n = 1; n < inverse.size(); ++n) {
    inverse[n] = inverse[n - 1] / static_cast<double>(n);
  }
  return inverse;
}();

/// e^x for x <= 0, below 2 ulp; exactly 0 under ExpTraits::kLeast; NaN for NaN. No branches.
template <class T>
T exp_nonpositive(T x) {
  using Traits = ExpTraits<T>;
  const T shifted = x * static_cast<T>(1.4426950408889634) + Traits::kRound;
  const T n = shifted - Traits::kRound;
  const T r = (x - n * Traits::kLn2High) - n * Traits::kLn2Low;
  T e = static_cast<T>(kInverseFactorials[Traits::kDegree]);
  for (int i = Traits::kDegree - 1; i >= 0; --i) {
    e = e * r + static_cast<T>(kInverseFactorials[static_cast<std::size_t>(i)]);
  }
  using Bits = typename Traits::Bits;
  const Bits exponent = (std::bit_cast<Bits>(shifted) + Traits::kBias) << Traits::kMantissaBits;
  const T value = e * std::bit_cast<T>(exponent);
  return x < Traits::kLeast ? T{0} : value;
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

/// Largest of value(i) for i in [0, n); -inf for none. NaNs are passed over.
template <class T, class Value>
T vector_max(std::size_t n, Value value) {
  std::array<T, kLanes> lanes;
  lanes.fill(-std::numeric_limits<T>::infinity());
  const std::size_t whole = n - n % kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) {
      const T x = value(i + j);
      lanes[j] = x > lanes[j] ? x : lanes[j];
    }
  }
  for (std::size_t i = whole; i < n; ++i) {
    const T x = value(i);
    lanes[i - whole] = x > lanes[i - whole] ? x : lanes[i - whole];
  }
  T best = lanes[0];
  for (const T lane : lanes) best = lane > best ? lane : best;
  return best;
}

/// The first index whose cumulative weight exceeds u * total, for u in [0, 1) and weights >= 0 that
/// are not all zero. Sums whole blocks with vectors and walks one by one only inside the last.
template <class Weight>
std::size_t find_cumulative(std::size_t n, double u, Weight weight) {
  constexpr std::size_t kBlock = 512;
  const auto block_sum = [&](std::size_t begin) {
    return vector_sum(n - begin < kBlock ? n - begin : kBlock,
                      [&](std::size_t i) { return weight(begin + i); });
  };
  double total = 0.0;
  for (std::size_t begin = 0; begin < n; begin += kBlock) total += block_sum(begin);

  const double goal = u * total;
  double below = 0.0;
  std::size_t end = 0;
  for (std::size_t begin = 0; begin < n; begin += kBlock) {
    end = n - begin < kBlock ? n : begin + kBlock;
    const double sum = block_sum(begin);
    if (below + sum > goal) {
      for (std::size_t i = begin; i < end; ++i) {
        below += weight(i);
        if (below > goal) return i;
      }
      break;
    }
    below += sum;
  }
  while (end > 1 && !(weight(end - 1) > 0.0)) --end;  // rounding carried us past the last weight
  return end - 1;
}

}  // namespace rewardshift
