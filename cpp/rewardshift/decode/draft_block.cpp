#include "rewardshift/decode/draft_block.h"

#include <algorithm>

namespace rewardshift {

void DraftBlock::start(const Combination& proposal, std::size_t length, int vocab_size) {
  tokens.clear();
  follows.clear();
  numbers.clear();
  exhausted = false;
  failure.clear();
  bad_row = false;
  proposal_ = proposal;
  vocab_size_ = static_cast<std::size_t>(vocab_size);
  sums_.clear();
  laws_.clear();
  slots_.clear();
  kept_slots_ = 0;
  if (proposal.empty()) return;
  const auto grow = [needed = length * vocab_size_](std::vector<float>& rows) {
    if (rows.size() < needed) rows.resize(needed);
  };
  grow(weights_);
  kept_.resize(std::max(kept_.size(), proposal.size()));
  for (std::size_t part = 0; part < proposal.size(); ++part) grow(kept_[part]);
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

std::size_t DraftBlock::keep(std::span<const std::span<const float>> rows) {
  for (std::size_t part = 0; part < rows.size(); ++part) {
    std::ranges::copy(rows[part], slot_of(kept_[part], kept_slots_).begin());
  }
  return kept_slots_++;
}

void DraftBlock::set_slot(std::size_t slot) {
  slots_.resize(tokens.size() + 1);
  slots_.back() = slot;
}

std::span<const float> DraftBlock::read(std::size_t reader, std::size_t row) const {
  if (row >= slots_.size() || !slots_[row]) return {};
  const auto part = std::ranges::find(proposal_, reader, &Part::reader);
  if (part == proposal_.end()) return {};
  return slot_of(kept_[static_cast<std::size_t>(part - proposal_.begin())], *slots_[row]);
}

void DraftBlock::set_law(std::span<const WeightedToken> law) {
  laws_.resize(tokens.size() + 1);
  laws_.back().assign(law.begin(), law.end());
}

}  // namespace rewardshift
