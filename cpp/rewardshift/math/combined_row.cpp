#include "rewardshift/math/combined_row.h"

#include <algorithm>
#include <array>
#include <limits>

namespace rewardshift {
namespace {

/// Tokens [begin, begin + count) of rows, read relative to one token if there is a centre.
struct Part {
  std::size_t begin;
  std::size_t count;
  std::optional<std::size_t> centre;
};

/// Adds N terms to z, or begins it with them. What was impossible stays so; an infinity that a
/// weight below 0 would turn into an impossible token becomes NaN, so that nobody overlooks it.
template <std::size_t N, bool kBegins, class T>
void add(const Term* terms, const Part& part, T* __restrict z) {
  constexpr T kNothing = -std::numeric_limits<T>::infinity();
  std::array<const float*, N> rows;
  std::array<T, N> weights;
  std::array<T, N> centres;
  for (std::size_t j = 0; j < N; ++j) {
    rows[j] = terms[j].logits.data() + part.begin;
    weights[j] = static_cast<T>(terms[j].weight);
    centres[j] = part.centre ? static_cast<T>(terms[j].logits[*part.centre]) : T{0};
  }
  for (std::size_t i = 0; i < part.count; ++i) {
    T low = kBegins ? static_cast<T>(rows[0][i]) : z[i];
    T sum = kBegins ? weights[0] * (low - centres[0]) : z[i];
    for (std::size_t j = kBegins ? 1 : 0; j < N; ++j) {
      const auto x = static_cast<T>(rows[j][i]);
      low = x < low ? x : low;
      sum += weights[j] * (x - centres[j]);
    }
    z[i] = low == kNothing ? kNothing : sum + (sum - sum);
  }
}

/// Up to three terms at a time, in registers.
template <bool kBegins, class T>
void add_some(std::span<const Term> terms, const Part& part, T* z) {
  if (terms.size() == 1) return add<1, kBegins>(terms.data(), part, z);
  if (terms.size() == 2) return add<2, kBegins>(terms.data(), part, z);
  add<3, kBegins>(terms.data(), part, z);
}

template <class T>
void combine(std::span<const Term> terms, const Part& part, T* z) {
  constexpr std::size_t kAtATime = 3;
  add_some<true>(terms.first(std::min(kAtATime, terms.size())), part, z);
  for (std::size_t j = kAtATime; j < terms.size(); j += kAtATime) {
    add_some<false>(terms.subspan(j, std::min(kAtATime, terms.size() - j)), part, z);
  }
}

/// -inf for what no bit allows.
template <class T>
void mask(const std::uint32_t* words, std::size_t count, T* z) {
  constexpr T kNothing = -std::numeric_limits<T>::infinity();
  constexpr std::size_t kBits = 32;
  for (std::size_t i = 0; i < count; i += kBits) {
    const std::uint32_t word = words[i / kBits];
    const std::size_t end = std::min(kBits, count - i);
    for (std::size_t bit = 0; bit < end; ++bit) {
      z[i + bit] = (word >> bit & 1U) != 0 ? z[i + bit] : kNothing;
    }
  }
}

double adjusted(double z, const Adjustment& by) {
  return (z > 0.0 ? z / by.repeat_penalty : z * by.repeat_penalty) + by.bias;
}

}  // namespace

CombinedRow::CombinedRow(std::span<const Term> terms, const Shaping& shaping, Workspace& workspace)
    : terms_(terms), allowed_(shaping.allowed) {
  auto& list = workspace.adjusted;
  list.clear();
  for (const Adjustment& a : shaping.adjustments) {  // first where each stands, to sort by token
    list.emplace_back(static_cast<double>(list.size()), a.token);
  }
  const auto by_token = [](const WeightedToken& a, const WeightedToken& b) {
    return a.second < b.second || (a.second == b.second && a.first < b.first);
  };
  if (!std::ranges::is_sorted(list, by_token)) std::ranges::sort(list, by_token);
  auto kept = list.begin();
  for (auto it = list.begin(); it != list.end(); ++kept) {
    const Token token = it->second;
    double z = at(static_cast<std::size_t>(token));
    for (; it != list.end() && it->second == token; ++it) {
      z = adjusted(z, shaping.adjustments[static_cast<std::size_t>(it->first)]);
    }
    *kept = {z, token};
  }
  list.erase(kept, list.end());
  adjusted_ = list;
}

double CombinedRow::at(std::size_t token) const {
  double z = 0.0;
  bool is_possible = true;
  for (const Term& term : terms_) {
    const auto x = static_cast<double>(term.logits[token]);
    is_possible = is_possible && x != kImpossible;
    z += term.weight * x;
  }
  return is_possible ? z : kImpossible;
}

template <class T>
void CombinedRow::read(std::size_t begin, std::size_t count, T* z) const {
  combine(terms_, {begin, count, centre_}, z);
  const auto first = static_cast<Token>(begin);
  const auto last = static_cast<Token>(begin + count);
  auto it = std::ranges::lower_bound(adjusted_, first, {}, &WeightedToken::second);
  if (it != adjusted_.end() && it->second < last) {
    const double z_of_centre = centre_ ? at(*centre_) : 0.0;
    for (; it != adjusted_.end() && it->second < last; ++it) {
      z[it->second - first] = static_cast<T>(it->first - z_of_centre);
    }
  }
  if (!allowed_.empty()) mask(allowed_.data() + begin / 32, count, z);
}

template void CombinedRow::read(std::size_t, std::size_t, float*) const;
template void CombinedRow::read(std::size_t, std::size_t, double*) const;

}  // namespace rewardshift
