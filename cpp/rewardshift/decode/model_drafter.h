// Drafts from the draft model.
#pragma once

#include <span>
#include <vector>

#include "rewardshift/decode/draft_tree.h"
#include "rewardshift/shift/metered_model.h"

namespace rewardshift {

/// Draws from the draft model q, shaped like the goal: tempered, adjusted and truncated alike. The
/// paper's rule assumes g = q, so for it q is only tempered.
///
/// A request with several sequences gets a tree, drawn from the most probable tokens of q. It takes
/// as many turns of the model as a chain of as many tokens, at most.
class ModelDrafter final : public Drafter {
 public:
  /// Drafts over the first `vocab_size` tokens. The model is borrowed and must outlive the drafter.
  ModelDrafter(MeteredModel& model, int vocab_size) : model_(&model), vocab_size_(vocab_size) {}

  void draft(std::span<DraftRequest> requests) override;

 private:
  struct Growing {  ///< a tree, and the node that the model is asked about
    const DraftRequest* request;
    DraftTree* tree;
    int node;
    std::vector<Token> history;
  };

  void draft_chains();
  void extend(const DraftRequest& request, std::span<const float> logits);
  bool is_complete(const DraftRequest& request) const;
  void draft_trees(std::span<DraftRequest> requests);
  bool grow(Growing& growing) const;
  void tell(Growing& growing, std::span<const float> logits);
  bool shape_proposal(const DraftRequest& request, std::span<const float> logits,
                      std::span<const Token> history, std::span<double> proposal);

  MeteredModel* model_;
  int vocab_size_;
  Workspace workspace_;
  std::vector<Adjustment> adjustments_;
  std::vector<LogitsRequest> batch_;
  std::vector<DraftRequest*> drafting_;
  std::vector<DraftTree> trees_;
  std::vector<Growing> growing_;
  std::vector<double> proposal_;  ///< of a tree's node
};

}  // namespace rewardshift
