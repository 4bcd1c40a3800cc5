#include "rewardshift/vocabulary/vocabulary.h"

#include <algorithm>

namespace rewardshift {

bool Vocabulary::spells(std::span<const Token> tokens, std::string_view text) const {
  for (const Token token : tokens) {
    if (!text.starts_with(bytes_of(token))) return false;
    text.remove_prefix(bytes_of(token).size());
  }
  return text.empty();
}

std::optional<Token> Vocabulary::find(TokenRole role) const {
  const auto found = std::ranges::find(roles, role);
  if (found == roles.end()) return std::nullopt;
  return static_cast<Token>(found - roles.begin());
}

}  // namespace rewardshift
