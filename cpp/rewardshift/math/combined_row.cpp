#include "rewardshift/math/combined_row.h"

#include <algorithm>

namespace rewardshift {
namespace {

/// The weighted sum, term by term: z and low stay in the first cache.
void combine(std::span<const Term> terms, std::size_t begin, std::size_t count,
             double* __restrict z) {
  alignas(64) double low[kBlock];
  const float* first = terms.front().logits.data() + begin;
  const double weight = terms.front().weight;
  for (std::size_t i = 0; i < count; ++i) {
    low[i] = static_cast<double>(first[i]);
    z[i] = weight * low[i];
  }
  for (const Term& term : terms.subspan(1)) {
    const float* more = term.logits.data() + begin;
    const double by = term.weight;
    for (std::size_t i = 0; i < count; ++i) {
      const auto x = static_cast<double>(more[i]);
      low[i] = x < low[i] ? x : low[i];
      z[i] += by * x;
    }
  }
  for (std::size_t i = 0; i < count; ++i) z[i] = low[i] == kImpossible ? kImpossible : z[i];
}

/// -inf for what no bit allows.
void mask(const std::uint32_t* words, std::size_t count, double* z) {
  constexpr std::size_t kBits = 32;
  for (std::size_t i = 0; i < count; i += kBits) {
    const std::uint32_t word = words[i / kBits];
    const std::size_t end = std::min(kBits, count - i);
    for (std::size_t bit = 0; bit < end; ++bit) {
      z[i + bit] = (word >> bit & 1U) != 0 ? z[i + bit] : kImpossible;
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

void CombinedRow::read(std::size_t begin, std::size_t count, double* z) const {
  combine(terms_, begin, count, z);
  const auto first = static_cast<Token>(begin);
  const auto last = static_cast<Token>(begin + count);
  for (auto it = std::ranges::lower_bound(adjusted_, first, {}, &WeightedToken::second);
       it != adjusted_.end() && it->second < last; ++it) {
    z[it->second - first] = it->first;
  }
  if (!allowed_.empty()) mask(allowed_.data() + begin / 32, count, z);
}

}  // namespace rewardshift
