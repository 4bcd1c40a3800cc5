#include "rewardshift/decode/ngram_table.h"

#include <algorithm>
#include <cstdint>

namespace rewardshift {

void NgramTable::add(std::span<const Token> history, std::span<const WeightedToken> next) {
  const std::lock_guard lock(mutex_);
  for (std::size_t n = 1; n <= std::min(kLongest, history.size()); ++n) {
    auto& [count, sums] = seen_[ending(history, n)];
    ++count;
    for (const auto& [probability, token] : next) {
      const auto known = std::ranges::find(sums, token, &WeightedToken::second);
      if (known != sums.end()) {
        known->first += probability;
      } else {
        sums.emplace_back(probability, token);
      }
    }
    std::ranges::sort(sums, [](const WeightedToken& a, const WeightedToken& b) {
      return a.first > b.first || (a.first == b.first && a.second < b.second);
    });
    if (sums.size() > kKept) sums.resize(kKept);
  }
}

std::vector<WeightedToken> NgramTable::after(std::span<const Token> history) const {
  const std::lock_guard lock(mutex_);
  const std::size_t n = longest(history);
  if (n == 0) return {};
  const Sightings& seen = seen_.at(ending(history, n));
  std::vector<WeightedToken> law = seen.sums;
  for (auto& [probability, token] : law) probability /= seen.count;
  return law;
}

std::size_t NgramTable::longest_seen(std::span<const Token> history) const {
  const std::lock_guard lock(mutex_);
  return longest(history);
}

std::size_t NgramTable::longest(std::span<const Token> history) const {
  std::size_t n = std::min(kLongest, history.size());
  while (n > 0 && !seen_.contains(ending(history, n))) --n;
  return n;
}

std::size_t NgramTable::size() const {
  const std::lock_guard lock(mutex_);
  return seen_.size();
}

NgramTable::Ngram NgramTable::ending(std::span<const Token> history, std::size_t n) {
  Ngram ngram;
  ngram.fill(-1);
  std::ranges::copy(history.last(n), ngram.end() - static_cast<std::ptrdiff_t>(n));
  return ngram;
}

/// FNV-1a over the tokens.
std::size_t NgramTable::Hash::operator()(const Ngram& ngram) const {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const Token token : ngram) {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x100000001B3;
  }
  return static_cast<std::size_t>(hash ^ (hash >> 32));
}

}  // namespace rewardshift
