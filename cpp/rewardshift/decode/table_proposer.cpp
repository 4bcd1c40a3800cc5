#include "rewardshift/decode/table_proposer.h"

#include <algorithm>

namespace rewardshift {

void TableProposer::draft(std::span<Request* const> requests) {
  for (Request* request : requests) {
    request->block.start({}, request->draft_length, panel_->vocab_size());
    try {
      if (source_of(request->way.kind) == Source::quote) {
        quote(*request);
      } else {
        grow_tree(*request);
      }
    } catch (const EvaluationError& error) {  // of a grammar's mask
      request->block.failure = error.what();
    }
  }
}

void TableProposer::quote(Request& request) {
  DraftBlock& block = request.block;
  const std::span<const Token> quoted = request.quoted;
  for (const Token token : quoted.first(std::min(quoted.size(), request.draft_length))) {
    if (token >= panel_->vocab_size() || !may_follow(request, block.tokens, token)) return;
    const WeightedToken certain{1.0, token};
    block.set_law({&certain, 1});
    const std::size_t row = block.tokens.size();
    block.add(token, row, row);
    if (panel_->ends(token)) return;
  }
}

void TableProposer::grow_tree(Request& request) {
  tree_.start();
  int node = 0;
  while (tree_.size() < request.draft_length &&
         (node = tree_.most_likely(request.places.size())) >= 0) {
    if (tree_.knows_law(node)) {
      tree_.draw(node, uniform_in_tree(request, tree_.size()));
    } else {
      tree_.set_law(node, law_after(request, node));
    }
  }
  tree_.hand_over(request.block);
}

/// What the table says of the token after a node, over the tokens that may be drafted.
std::vector<WeightedToken> TableProposer::law_after(Request& request, int node) {
  const auto history = request.text_so_far();
  const std::size_t looked_at = std::min(NgramTable::kLongest, history.size());
  ending_.assign(history.end() - static_cast<std::ptrdiff_t>(looked_at), history.end());
  path_.clear();
  tree_.append_path(node, path_);
  ending_.insert(ending_.end(), path_.begin(), path_.end());
  auto law = request.params.drafter->after(ending_);
  std::erase_if(law, [&](const WeightedToken& w) {
    return w.second >= panel_->vocab_size() || !may_follow(request, path_, w.second);
  });
  return law;
}

bool TableProposer::may_follow(Request& request, std::span<const Token> drafts, Token token) {
  if (request.walk == nullptr) return true;
  return is_allowed(shaper_.after(request, drafts).allowed, token);
}

}  // namespace rewardshift
