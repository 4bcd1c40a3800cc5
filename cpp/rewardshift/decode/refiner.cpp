#include "rewardshift/decode/refiner.h"

#include <algorithm>
#include <cmath>

namespace rewardshift {

void Refiner::start() {
  used_ = 0;
  forget_notes();
}

void Refiner::forget_notes() {
  noted_.clear();
  targets_.clear();
  likelies_.clear();
  histories_.clear();
}

void Refiner::refine_blocks(std::span<Request* const> requests) {
  if (!panel_->has_rough_readers()) return;
  for (Request* request : requests) {
    for (const Part& part : request->goal) {
      if (panel_->is_rough(part.reader)) note_block(*request, part.reader);
    }
  }
  refine_noted();
}

/// Notes a reader's rows of a block, branch by branch: row 0 follows the history, row i + 1 the
/// block's i-th token.
void Refiner::note_block(Request& request, std::size_t reader) {
  const DraftBlock& block = request.block;
  Rows& rows = request.round.read[reader];
  const auto before = std::span<const Token>(request.history[reader])
                          .first(request.prompt_size[reader] + request.generated);
  std::size_t branch = 0;
  for (std::size_t begin = 0; begin == 0 || begin < block.tokens.size(); ++branch) {
    const std::size_t end = block.branch_end(begin);
    auto& history = histories_.emplace_back(before.begin(), before.end());
    block.append_path(end, history);
    for (std::size_t row = begin == 0 ? 0 : begin + 1; row <= end; ++row) {
      if (rows[row].empty()) continue;  // not asked yet
      note(reader, request.places[branch], std::span(history).first(history.size() - (end - row)),
           request.round.read[Panel::kTarget][row], rows[row]);
    }
    begin = std::max<std::size_t>(end, 1);
  }
}

void Refiner::note(std::size_t reader, int place, std::span<const Token> history,
                   std::span<const float> target, std::span<const float>& row) {
  noted_.push_back({reader, place, history, likely_of(target), &row});
}

/// Several readers are asked about the same tokens.
std::size_t Refiner::likely_of(std::span<const float> target) {
  const auto known = std::ranges::find(targets_, target.data());
  const auto number = static_cast<std::size_t>(known - targets_.begin());
  if (known == targets_.end()) {
    targets_.push_back(target.data());
    list_likely(target, likelies_.emplace_back());
  }
  return number;
}

/// Nothing, where the row is no distribution.
void Refiner::list_likely(std::span<const float> target, std::vector<Token>& out) {
  largest(target, most_likely_, workspace_, out);
  if (out.empty()) return;
  const double normaliser = log_normalisers(target, 1.0, out.front()).at_one;
  const double least = std::log(least_share_);
  const auto is_likely = [&](Token token) {
    return log_probability(target, token, normaliser) >= least;
  };
  out.erase(std::ranges::find_if_not(out, is_likely), out.end());
}

void Refiner::refine_noted() {
  for (std::size_t model = 0; model < panel_->models(); ++model) {
    doubts_.clear();
    for (const Noted& noted : noted_) {
      if (panel_->model_of(noted.reader) != model) continue;
      doubts_.push_back({noted.reader, noted.place, noted.history, likelies_[noted.likely]});
    }
    const auto corrections = panel_->refine(doubts_);
    std::size_t next = 0;
    for (const Noted& noted : noted_) {
      if (panel_->model_of(noted.reader) != model) continue;
      *noted.row = corrected(*noted.row, corrections[next++]);
    }
  }
  forget_notes();
}

std::span<const float> Refiner::corrected(std::span<const float> row,
                                          std::span<const Correction> corrections) {
  if (corrections.empty()) return row;
  if (used_ == copies_.size()) copies_.emplace_back();
  auto& copy = copies_[used_++];
  copy.assign(row.begin(), row.end());
  for (const auto& [token, more] : corrections) copy[static_cast<std::size_t>(token)] += more;
  return copy;
}

}  // namespace rewardshift
