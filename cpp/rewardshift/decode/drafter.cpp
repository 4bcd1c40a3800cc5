#include "rewardshift/decode/drafter.h"

#include <algorithm>
#include <cmath>

namespace rewardshift {

void DraftBlock::start(int length, int vocab_size) {
  tokens.clear();
  exhausted = false;
  failure.clear();
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
      batch_.push_back({request->sequence, *request->history, 1});
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
  block.tokens.push_back(token);
  request.history->push_back(token);
}

}  // namespace rewardshift
