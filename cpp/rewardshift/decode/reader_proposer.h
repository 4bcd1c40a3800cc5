// Drafts from what readers say: a base, as it is or shifted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rewardshift/decode/crew.h"
#include "rewardshift/decode/draft_tree.h"
#include "rewardshift/decode/proposer.h"
#include "rewardshift/decode/shaper.h"
#include "rewardshift/shift/panel.h"

namespace rewardshift {

/// Draws from the combination of readers that each request's way names, shaped like the goal:
/// tempered, adjusted, masked and truncated alike. The paper's rule assumes g = q, so for it q is
/// only tempered.
///
/// Readers that are about some tokens only propose these, see LanguageModel::proposable().
///
/// A request with several places gets a tree, drawn from the most probable tokens of the proposal.
/// It takes as many turns as a chain of as many tokens, at most. All requests take a turn in each
/// batch.
class ReaderProposer final : public Proposer {
 public:
  /// Both are borrowed and must outlive the proposer.
  ReaderProposer(Panel& panel, Crew& crew) : panel_(&panel), crew_(&crew), benches_(crew.size()) {}

  void draft(std::span<Request* const> requests) override;

 private:
  /// A request whose drafts are under way, and the node that its readers are asked about.
  struct Growing {
    Request* request;
    DraftTree tree;
    int node = 0;
    std::vector<Token> path;                ///< drafts up to the node
    std::vector<std::vector<Token>> asked;  ///< by part of the proposal: what the reader is shown
    Rows rows;                              ///< by part: what it says
    bool is_complete = false;
  };

  /// What one thread works with.
  struct Bench {
    Shaper shaper;
    Workspace workspace;
    std::vector<Term> terms;
    std::vector<float> weights;          ///< of a tree's node
    std::vector<std::uint32_t> allowed;  ///< what may follow and be proposed
  };

  void start(Growing& growing, Request& request);
  void next_question(Growing& growing);
  void grow_chain(Growing& growing);
  void grow_tree(Growing& growing);
  void ask();
  void hear(Growing& growing, Bench& bench);
  void extend_chain(Growing& growing, Bench& bench);
  void tell_tree(Growing& growing, Bench& bench);
  Mask proposable(const Combination& proposal, Mask allowed, std::vector<std::uint32_t>& out) const;
  Shaped shape_proposal(Growing& growing, Bench& bench, std::span<float> weights);

  Panel* panel_;
  Crew* crew_;
  std::vector<Bench> benches_;  ///< by thread
  std::vector<Growing> growing_;
  std::vector<Question> questions_;
  std::vector<std::span<const float>*> answers_;
};

}  // namespace rewardshift
