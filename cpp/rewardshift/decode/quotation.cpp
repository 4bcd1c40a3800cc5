#include "rewardshift/decode/quotation.h"

#include <algorithm>

namespace rewardshift {

std::uint64_t Quotations::key(Token before, Token last) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(before)) << 32) |
         static_cast<std::uint32_t>(last);
}

Quotation Quotations::find(std::span<const Token> text) {
  constexpr std::size_t kLookedAt = 32;  // of a pair's places, the latest
  if (text.size() < kLeast) return {};
  for (std::size_t end = std::max(indexed_ + 1, kLeast); end < text.size(); ++end) {
    ends_[key(text[end - 2], text[end - 1])].push_back(static_cast<std::uint32_t>(end));
  }
  indexed_ = text.size() - 1;
  const auto known = ends_.find(key(text[text.size() - 2], text[text.size() - 1]));
  if (known == ends_.end()) return {};
  Quotation best;
  const auto& ends = known->second;
  for (std::size_t i = 0; i < std::min(kLookedAt, ends.size()); ++i) {
    const std::size_t end = ends[ends.size() - 1 - i];
    std::size_t match = kLeast;
    while (match < std::min(kLongest, end) &&
           text[end - 1 - match] == text[text.size() - 1 - match]) {
      ++match;
    }
    if (match > best.match) best = {match, end};
    if (match == kLongest) break;
  }
  return best;
}

}  // namespace rewardshift
