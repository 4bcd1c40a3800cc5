#include "rewardshift/vocabulary/vocabulary.h"

#include <algorithm>

namespace rewardshift {

bool Vocabulary::spells(std::span<const Token> tokens, std::string_view text) const {
  for (const Token token : tokens) {
    const std::string_view piece = bytes_of(token);
    if (piece.empty() || !text.starts_with(piece)) return false;
    text.remove_prefix(piece.size());
  }
  return text.empty();
}

std::optional<Token> Vocabulary::find(TokenRole role) const {
  const auto found = std::ranges::find(roles, role);
  if (found == roles.end()) return std::nullopt;
  return static_cast<Token>(found - roles.begin());
}

}  // namespace rewardshift
