#include "rewardshift/llama/shelf.h"

#include <utility>

#include "rewardshift/history.h"

namespace rewardshift::llama {

void Shelf::put(Shelved history) {
  for (auto it = histories_.begin(); it != histories_.end();) {
    const auto old = it++;
    if (common_prefix(old->tokens, history.tokens) == old->tokens.size()) drop(old);
  }
  used_ += history.state.size();
  histories_.push_back(std::move(history));
  while (used_ > room_) drop(histories_.begin());
}

std::optional<Shelved> Shelf::take(std::span<const Token> tokens, std::size_t least) {
  auto best = histories_.end();
  std::size_t most = least;
  for (auto it = histories_.begin(); it != histories_.end(); ++it) {
    const std::size_t common = common_prefix(it->tokens, tokens);
    if (common <= most || (common < tokens.size() && 2 * common < it->tokens.size())) continue;
    most = common;
    best = it;
  }
  if (best == histories_.end()) return std::nullopt;
  std::optional<Shelved> taken = std::move(*best);
  used_ -= taken->state.size();
  histories_.erase(best);
  return taken;
}

void Shelf::drop(std::list<Shelved>::iterator history) {
  used_ -= history->state.size();
  histories_.erase(history);
}

void Shelf::clear() {
  histories_.clear();
  used_ = 0;
}

}  // namespace rewardshift::llama
