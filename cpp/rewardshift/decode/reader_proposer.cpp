#include "rewardshift/decode/reader_proposer.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace rewardshift {

void ReaderProposer::draft(std::span<Request* const> requests) {
  if (growing_.size() < requests.size()) growing_.resize(requests.size());
  for (Growing& left_by_a_failure : growing_) left_by_a_failure.is_complete = true;
  const auto all = std::span(growing_).first(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) start(all[i], *requests[i]);
  while (true) {
    bool is_asking = false;
    for (Growing& growing : all) {
      if (!growing.is_complete) next_question(growing);
      is_asking |= !growing.is_complete;
    }
    if (!is_asking) return;
    ask();
    crew_->share(all.size(), [&](std::size_t worker, std::size_t i) {
      if (!all[i].is_complete) hear(all[i], benches_[worker]);
    });
  }
}

void ReaderProposer::start(Growing& growing, Request& request) {
  const Combination& proposal = request.way.proposal;
  request.block.start(proposal, request.draft_length, panel_->vocab_size());
  growing.request = &request;
  growing.tree.start();
  growing.node = 0;
  growing.path.clear();
  growing.asked.resize(proposal.size());
  growing.rows.resize(proposal.size());
  growing.is_complete = false;
  for (std::size_t part = 0; part < proposal.size(); ++part) {
    growing.asked[part] = request.history[proposal[part].reader];
  }
}

/// Draws as far as nobody need be asked; then says what to ask next, unless all is drawn.
void ReaderProposer::next_question(Growing& growing) {
  if (growing.request->has_short_laws()) {
    grow_tree(growing);
  } else {
    grow_chain(growing);
  }
}

void ReaderProposer::grow_chain(Growing& growing) {
  const Request& request = *growing.request;
  const DraftBlock& block = request.block;
  growing.is_complete = block.exhausted || block.tokens.size() == request.draft_length ||
                        (!block.tokens.empty() && panel_->ends(block.tokens.back()));
}

void ReaderProposer::grow_tree(Growing& growing) {
  Request& request = *growing.request;
  DraftTree& tree = growing.tree;
  while (tree.size() < request.draft_length) {
    growing.node = tree.most_likely(request.places.size());
    if (growing.node < 0) break;
    if (tree.knows_law(growing.node)) {
      tree.draw(growing.node, uniform_in_tree(request, tree.size()));
    } else if (growing.node > 0 && panel_->ends(tree.token(growing.node))) {
      tree.set_law(growing.node, {});
    } else {
      growing.path.clear();
      tree.append_path(growing.node, growing.path);
      for (std::size_t part = 0; part < growing.asked.size(); ++part) {
        auto& shown = growing.asked[part];
        shown = request.history[request.way.proposal[part].reader];
        shown.insert(shown.end(), growing.path.begin(), growing.path.end());
      }
      return;
    }
  }
  tree.hand_over(request.block);
  growing.is_complete = true;
}

/// One batch for each model: everybody's question to its readers.
void ReaderProposer::ask() {
  for (std::size_t model = 0; model < panel_->models(); ++model) {
    questions_.clear();
    answers_.clear();
    for (Growing& growing : growing_) {
      if (growing.is_complete) continue;
      const Request& request = *growing.request;
      const std::size_t branch = request.has_short_laws() ? growing.tree.branch(growing.node) : 0;
      const Combination& proposal = request.way.proposal;
      for (std::size_t part = 0; part < proposal.size(); ++part) {
        if (panel_->model_of(proposal[part].reader) != model) continue;
        const std::size_t reader = proposal[part].reader;
        const auto& asked = growing.asked[part];
        const auto drafts = static_cast<int>(asked.size() - request.history[reader].size());
        questions_.push_back({reader, request.places[branch], asked, 1, drafts});
        answers_.push_back(&growing.rows[part]);
      }
    }
    const auto rows = panel_->rows(questions_);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      *answers_[i] = {rows[i], static_cast<std::size_t>(panel_->vocab_size())};
    }
  }
}

/// What goes wrong with one request's drafts is that request's own affair.
void ReaderProposer::hear(Growing& growing, Bench& bench) {
  DraftBlock& block = growing.request->block;
  try {
    if (growing.request->has_short_laws()) {
      tell_tree(growing, bench);
    } else {
      extend_chain(growing, bench);
    }
  } catch (const EvaluationError& error) {
    block.failure = error.what();
    block.bad_row = dynamic_cast<const BadRowError*>(&error) != nullptr;
    growing.is_complete = true;
  }
}

/// Draws one more token from what the readers say of it.
void ReaderProposer::extend_chain(Growing& growing, Bench& bench) {
  Request& request = *growing.request;
  DraftBlock& block = request.block;
  const std::size_t i = block.tokens.size();
  block.set_slot(block.keep(growing.rows));
  const Shaped shaped = shape_proposal(growing, bench, block.weights(i));
  if (!std::isfinite(shaped.log_normaliser)) {
    block.exhausted = true;
    return;
  }
  block.set_sum(shaped.sum);
  const Token token = sample(block.proposal(i), request.uniform_of_draft(i, Purpose::proposal));
  block.add(token, i, i);
  growing.path.push_back(token);
  for (auto& shown : growing.asked) shown.push_back(token);
}

/// Tells a tree what follows the node it asked about.
void ReaderProposer::tell_tree(Growing& growing, Bench& bench) {
  constexpr std::size_t kCandidates = 64;
  bench.weights.resize(static_cast<std::size_t>(panel_->vocab_size()));
  const Shaped shaped = shape_proposal(growing, bench, bench.weights);
  std::span<const WeightedToken> law;
  if (std::isfinite(shaped.log_normaliser)) {
    law = most_probable({bench.weights, shaped.sum}, kCandidates, bench.workspace);
  }
  const std::size_t slot = growing.request->block.keep(growing.rows);
  growing.tree.set_law(growing.node, law, static_cast<int>(slot));
}

/// Of the tokens that may follow, those that all readers of a proposal may propose.
Mask ReaderProposer::proposable(const Combination& proposal, Mask allowed,
                                std::vector<std::uint32_t>& out) const {
  for (const Part& part : proposal) {
    const Mask own = panel_->proposable(part.reader);
    if (own.empty() || own.data() == allowed.data()) continue;
    if (allowed.empty()) {
      allowed = own;
      continue;
    }
    const std::size_t words = mask_words(panel_->vocab_size());
    out.resize(words);
    std::ranges::transform(allowed.first(words), own.first(words), out.begin(), std::bit_and{});
    allowed = out;
  }
  return allowed;
}

/// Makes g of what the readers say. Its normaliser is not finite where the parameters leave nothing
/// of it. Throws BadRowError if it is a reader's row that is no distribution.
Shaped ReaderProposer::shape_proposal(Growing& growing, Bench& bench, std::span<float> weights) {
  Request& request = *growing.request;
  const Combination& proposal = request.way.proposal;
  bench.terms.clear();
  for (std::size_t part = 0; part < proposal.size(); ++part) {
    bench.terms.push_back({growing.rows[part], proposal[part].weight});
  }
  Shaping shaping{request.params.temperature, {}, {}, {}};
  if (request.params.rule != Rule::paper) shaping = bench.shaper.after(request, growing.path);
  shaping.allowed = proposable(proposal, shaping.allowed, bench.allowed);
  const Shaped shaped = shape(bench.terms, shaping, bench.workspace, weights);
  if (std::isfinite(shaped.log_normaliser)) return shaped;
  for (std::size_t part = 0; part < proposal.size(); ++part) {
    const std::size_t reader = proposal[part].reader;
    panel_->require_normaliser(growing.rows[part], reader, growing.asked[part].size());
  }
  return shaped;
}

}  // namespace rewardshift
