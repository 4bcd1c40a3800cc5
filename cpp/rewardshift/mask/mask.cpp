#include "rewardshift/mask/mask.h"

#include <bit>

namespace rewardshift {

std::size_t mask_words(int vocab_size) { return (static_cast<std::size_t>(vocab_size) + 31) / 32; }

int count_allowed(Mask mask) {
  int count = 0;
  for (const std::uint32_t word : mask) count += std::popcount(word);
  return count;
}

std::optional<Token> forced_token(Mask mask) {
  std::optional<Token> only;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;
    if (only || !std::has_single_bit(mask[i])) return std::nullopt;
    only = static_cast<Token>(i * 32) + std::countr_zero(mask[i]);
  }
  return only;
}

}  // namespace rewardshift
