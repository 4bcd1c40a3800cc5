#include "rewardshift/decode/model_drafter.h"

#include <algorithm>
#include <cmath>

namespace rewardshift {

void ModelDrafter::draft(std::span<DraftRequest> requests) {
  drafting_.clear();
  for (DraftRequest& request : requests) {
    request.block->start(request.length, vocab_size_);
    if (request.length > 0 && request.sequences.size() == 1) drafting_.push_back(&request);
  }
  draft_chains();
  draft_trees(requests);
}

void ModelDrafter::draft_chains() {
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
  DraftBlock& block = *request.block;
  const std::size_t i = block.tokens.size();
  std::copy(logits.begin(), logits.end(), block.draft_logits(i).begin());
  const auto proposal = block.proposal(i);
  if (!shape_proposal(request, logits, *request.history, proposal)) {
    block.exhausted = true;
    return;
  }
  const Token token =
      sample(proposal, (*request.uniforms)(request.position + i, Purpose::proposal));
  block.add(token, i, i);
  request.history->push_back(token);
}

/// Makes g of q after a history. False where the parameters leave nothing of it.
bool ModelDrafter::shape_proposal(const DraftRequest& request, std::span<const float> logits,
                                  std::span<const Token> history, std::span<double> proposal) {
  const RequestParams& params = *request.params;
  std::copy(logits.begin(), logits.end(), proposal.begin());
  Truncation truncation;
  if (params.rule != Rule::paper) {
    truncation = {params.top_k, params.top_p, params.min_p};
    adjustments_at(params, history, adjustments_);
    adjust(proposal, adjustments_);
  }
  const Shaped shaped = shape(proposal, params.temperature, truncation, workspace_);
  if (std::isfinite(shaped.log_normaliser)) return true;
  require_distribution(log_normalisers(logits, 1.0).at_one, Role::draft, history.size());
  return false;
}

/// All trees take a turn in each batch: where one's next token goes decides what is asked for it.
void ModelDrafter::draft_trees(std::span<DraftRequest> requests) {
  trees_.resize(std::max(trees_.size(), requests.size()));
  growing_.clear();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].length == 0 || requests[i].sequences.size() == 1) continue;
    trees_[i].start();
    growing_.push_back({&requests[i], &trees_[i], 0, {}});
  }
  while (true) {
    std::erase_if(growing_, [this](Growing& growing) { return !grow(growing); });
    if (growing_.empty()) return;
    batch_.clear();
    for (Growing& growing : growing_) {
      const DraftRequest& request = *growing.request;
      growing.history = *request.history;
      growing.tree->append_path(growing.node, growing.history);
      batch_.push_back({request.sequences[growing.tree->branch(growing.node)], growing.history, 1});
    }
    const auto rows = model_->logits(batch_);
    for (std::size_t i = 0; i < growing_.size(); ++i) {
      tell(growing_[i], {rows[i], static_cast<std::size_t>(vocab_size_)});
    }
  }
}

/// Draws as far as the model need not be asked. False where the tree is complete.
bool ModelDrafter::grow(Growing& growing) const {
  const DraftRequest& request = *growing.request;
  DraftTree& tree = *growing.tree;
  if (!request.block->failure.empty()) return false;
  while (tree.size() < static_cast<std::size_t>(request.length)) {
    growing.node = tree.most_likely(request.sequences.size());
    if (growing.node < 0) break;
    if (tree.knows_law(growing.node)) {
      tree.draw(growing.node, request.uniform_in_tree(tree.size()));
    } else if (growing.node > 0 && model_->model().is_end_of_generation(tree.token(growing.node))) {
      tree.set_law(growing.node, {});
    } else {
      return true;
    }
  }
  tree.hand_over(*request.block);
  return false;
}

/// Tells a tree what follows the node it asked about.
void ModelDrafter::tell(Growing& growing, std::span<const float> logits) {
  constexpr std::size_t kCandidates = 64;
  const DraftRequest& request = *growing.request;
  proposal_.resize(logits.size());
  try {
    const bool possible = shape_proposal(request, logits, growing.history, proposal_);
    const int slot = growing.tree->next_slot();
    std::ranges::copy(logits, request.block->draft_logits(static_cast<std::size_t>(slot)).begin());
    growing.tree->set_law(growing.node,
                          possible ? most_probable(proposal_, kCandidates, workspace_)
                                   : std::span<const WeightedToken>{},
                          slot);
  } catch (const EvaluationError& error) {
    request.block->failure = error.what();
  }
}

}  // namespace rewardshift
