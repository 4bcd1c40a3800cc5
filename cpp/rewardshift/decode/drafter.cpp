#include "rewardshift/decode/drafter.h"

#include <algorithm>
#include <cmath>

namespace rewardshift {

void DraftBlock::clear() {
  tokens.clear();
  follows.clear();
  laws_.clear();
  exhausted = false;
  failure.clear();
}

void DraftBlock::add(Token token, std::size_t row) {
  tokens.push_back(token);
  follows.push_back(row);
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

void DraftBlock::start(int length, int vocab_size) {
  clear();
  vocab_size_ = static_cast<std::size_t>(vocab_size);
  const std::size_t needed = static_cast<std::size_t>(length) * vocab_size_;
  if (proposals_.size() < needed) {
    proposals_.resize(needed);
    draft_logits_.resize(needed);
  }
}

void ModelDrafter::draft(std::span<DraftRequest> requests) {
  drafting_.clear();
  for (DraftRequest& request : requests) {
    request.block->start(request.length, vocab_size_);
    if (request.length > 0) drafting_.push_back(&request);
  }
  while (!drafting_.empty()) {
    batch_.clear();
    for (const DraftRequest* request : drafting_) {
      batch_.push_back({request->sequences.front(), *request->history, 1});
    }
    const auto rows = model_->logits(batch_);
    for (std::size_t i = 0; i < drafting_.size(); ++i) {
      try {
        extend(*drafting_[i], {rows[i], static_cast<std::size_t>(vocab_size_)});
      } catch (const EvaluationError& error) {
        drafting_[i]->block->failure = error.what();
      }
    }
    std::erase_if(drafting_, [this](const DraftRequest* request) { return is_complete(*request); });
  }
}

bool ModelDrafter::is_complete(const DraftRequest& request) const {
  const DraftBlock& block = *request.block;
  return !block.failure.empty() || block.exhausted ||
         block.tokens.size() == static_cast<std::size_t>(request.length) ||
         model_->model().is_end_of_generation(block.tokens.back());
}

/// Draws one more token from the shaped row.
void ModelDrafter::extend(const DraftRequest& request, std::span<const float> logits) {
  const RequestParams& params = *request.params;
  DraftBlock& block = *request.block;
  const std::size_t i = block.tokens.size();
  std::copy(logits.begin(), logits.end(), block.draft_logits(i).begin());

  const auto proposal = block.proposal(i);
  std::copy(logits.begin(), logits.end(), proposal.begin());
  Truncation truncation;
  if (params.rule != Rule::paper) {
    truncation = {params.top_k, params.top_p, params.min_p};
    adjustments_at(params, *request.history, adjustments_);
    adjust(proposal, adjustments_);
  }
  const Shaped shaped = shape(proposal, params.temperature, truncation, workspace_);
  if (!std::isfinite(shaped.log_normaliser)) {
    require_distribution(log_normalisers(logits, 1.0).at_one, Role::draft, request.history->size());
    block.exhausted = true;
    return;
  }

  const Token token =
      sample(proposal, (*request.uniforms)(request.position + i, Purpose::proposal));
  block.add(token, i);
  request.history->push_back(token);
}

}  // namespace rewardshift
