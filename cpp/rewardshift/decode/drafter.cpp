#include "rewardshift/decode/drafter.h"

#include <algorithm>
#include <cmath>

namespace rewardshift {

void DraftBlock::clear() {
  tokens.clear();
  follows.clear();
  numbers.clear();
  laws_.clear();
  slots_.clear();
  exhausted = false;
  failure.clear();
}

void DraftBlock::add(Token token, std::size_t row, std::size_t number) {
  tokens.push_back(token);
  follows.push_back(row);
  numbers.push_back(number);
}

void DraftBlock::children_of(std::size_t row, std::vector<Token>& out) const {
  out.clear();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (follows[i] == row) out.push_back(tokens[i]);
  }
}

std::size_t DraftBlock::row_after(std::size_t row, Token child) const {
  std::size_t i = 0;
  while (follows[i] != row || tokens[i] != child) ++i;
  return i + 1;
}

std::size_t DraftBlock::branch_end(std::size_t begin) const {
  std::size_t end = std::min(begin + 1, tokens.size());
  while (end < tokens.size() && follows[end] == end) ++end;
  return end;
}

void DraftBlock::append_path(std::size_t row, std::vector<Token>& out) const {
  if (row == 0) return;
  append_path(follows[row - 1], out);
  out.push_back(tokens[row - 1]);
}

void DraftBlock::set_law(std::span<const WeightedToken> law) {
  laws_.resize(tokens.size() + 1);
  laws_.back().assign(law.begin(), law.end());
}

void DraftBlock::set_slot(std::size_t slot) {
  slots_.resize(tokens.size() + 1);
  slots_.back() = slot;
}

std::span<const float> DraftBlock::draft_logits_of(std::size_t row) const {
  if (row >= slots_.size() || !slots_[row]) return {};
  return draft_logits(*slots_[row]);
}

void DraftBlock::start(int length, int vocab_size) {
  clear();
  vocab_size_ = static_cast<std::size_t>(vocab_size);
  const std::size_t needed = static_cast<std::size_t>(length) * vocab_size_;
  if (proposals_.size() < needed) {
    proposals_.resize(needed);
    draft_logits_.resize(needed);
  }
}

}  // namespace rewardshift
