#include "rewardshift/decode/judge.h"

#include <cmath>
#include <utility>

namespace rewardshift {

void Judge::judge(Request& request, std::span<const Token> drafts, Rows rows, Judged& out) {
  out.rows = std::move(rows);
  out.normalisers.resize(out.rows.size());
  out.weights.resize(static_cast<std::size_t>(panel_->vocab_size()));
  set_terms(request, out);
  out.goal = goal(terms_, shaper_.after(request, drafts), workspace_, out.weights, out.normalisers);
  const std::size_t response = request.generated + drafts.size();
  for (std::size_t part = 0; part < request.goal.size(); ++part) {
    const std::size_t reader = request.goal[part].reader;
    panel_->require_distribution(out.normalisers[part].at_one, reader,
                                 request.prompt_size[reader] + response);
  }
  if (std::isfinite(out.goal.log_z)) return;
  throw EvaluationError("no token is possible at position " +
                        std::to_string(request.prompt_size.front() + response) +
                        ": the models, the grammar and logit_bias leave none");
}

Weights Judge::ungreedy(Request& request, std::span<const Token> drafts, const Judged& judged) {
  set_terms(request, judged);
  Shaping shaping = shaper_.after(request, drafts);
  shaping.temperature = 1.0;
  shaping.truncation = {};
  scratch_.resize(judged.weights.size());
  return {scratch_, shape(terms_, shaping, workspace_, scratch_).sum};
}

void Judge::set_terms(const Request& request, const Judged& judged) {
  terms_.clear();
  for (std::size_t part = 0; part < request.goal.size(); ++part) {
    terms_.push_back({judged.rows[part], request.goal[part].weight});
  }
}

}  // namespace rewardshift
