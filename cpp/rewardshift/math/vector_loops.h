// Building blocks of the loops over the vocabulary, written so that compilers vectorise them.
//
// Sums keep kLanes partial sums in a fixed order: the result does not depend on how wide the
// machine's vectors are, only on the data.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace rewardshift {

inline constexpr std::size_t kLanes = 16;

/// e^x for x <= 0 in double, below 2 ulp; exactly 0 under -708; NaN for NaN. No branches.
inline double exp_nonpositive(double x) {
  constexpr double kLog2e = 1.4426950408889634;
  constexpr double kLn2High = 0.6931471803691238;
  constexpr double kLn2Low = 1.9082149292705877e-10;
  constexpr double kRound = 0x1.8p52;  // adding it rounds to an integer, kept in the low bits

  const double shifted = x * kLog2e + kRound;
  const double n = shifted - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  // Taylor's series to r^13: its remainder is under 2^-54 for |r| <= ln(2)/2.
  double e = 1.0 / 6227020800.0;
  e = e * r + 1.0 / 479001600.0;
  e = e * r + 1.0 / 39916800.0;
  e = e * r + 1.0 / 3628800.0;
  e = e * r + 1.0 / 362880.0;
  e = e * r + 1.0 / 40320.0;
  e = e * r + 1.0 / 5040.0;
  e = e * r + 1.0 / 720.0;
  e = e * r + 1.0 / 120.0;
  e = e * r + 1.0 / 24.0;
  e = e * r + 1.0 / 6.0;
  e = e * r + 0.5;
  e = e * r + 1.0;
  e = e * r + 1.0;
  const std::uint64_t exponent = (std::bit_cast<std::uint64_t>(shifted) + 1023) << 52;
  const double value = e * std::bit_cast<double>(exponent);
  return x < -708.0 ? 0.0 : value;
}

/// sum of term(i) for i in [0, n), or of fewer terms where `term` yields 0.
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
