#include "rewardshift/decode/judge.h"

#include <array>
#include <cmath>
#include <utility>

namespace rewardshift {

void Judge::judge(Request& request, std::span<const Token> drafts, Rows rows, Judged& out) {
  out.rows = std::move(rows);
  out.normalisers.clear();
  out.weights.resize(static_cast<std::size_t>(panel_->vocab_size()));
  set_terms(request, out);
  const Shaping shaping = shaper_.after(request, drafts);
  if (request.params.rule == Rule::paper || request.params.paper_distance) {  // Z decides, or would
    out.normalisers.resize(terms_.size());
    out.goal = goal(terms_, shaping, workspace_, out.weights, out.normalisers);
    if (normalise_heads(request, out, shaping.temperature)) {
      out.goal.log_z = log_z(out.goal.log_normaliser, terms_, out.normalisers);
    }
  } else {
    const Shaped shaped = shape(terms_, shaping, workspace_, out.weights);
    out.goal.weights = {out.weights, shaped.sum};
    out.goal.log_best = shaped.log_best;
    out.goal.log_normaliser = shaped.log_normaliser;
  }
  const bool decides_by_z = request.params.rule == Rule::paper;
  if (!std::isfinite(out.goal.log_normaliser) || (decides_by_z && !std::isfinite(out.goal.log_z))) {
    blame(request, drafts.size(), out);
  }
}

void Judge::tell(const Request& request, Token token, Judged& judged, bool wants_z) {
  if (!judged.normalisers.empty()) return;
  set_terms(request, judged);
  for (const Term& term : terms_) {
    judged.normalisers.push_back(
        normalisers_of(term, wants_z ? request.params.temperature : 1.0, token));
  }
  normalise_heads(request, judged, wants_z ? request.params.temperature : 1.0);
  if (!wants_z) return;
  judged.goal.log_z = log_z(judged.goal.log_normaliser, terms_, judged.normalisers);
}

/// Whether there are any.
bool Judge::normalise_heads(const Request& request, Judged& judged, double temperature) {
  bool has_heads = false;
  for (std::size_t part = 0; part < request.goal.size(); ++part) {
    if (!panel_->shifts_by_head(request.goal[part].reader)) continue;
    judged.normalisers[part] =
        head_normalisers(judged.rows.front(), judged.rows[part], temperature);
    has_heads = true;
  }
  return has_heads;
}

LogNormalisers Judge::head_normalisers(std::span<const float> target, std::span<const float> head,
                                       double temperature) {
  const std::array<Term, 2> both{Term{target, 1.0}, Term{head, 1.0}};
  scratch_.resize(target.size());
  const auto at = [&](double t) {
    return shape(both, {t, {}, {}, {}}, workspace_, scratch_).log_normaliser;
  };
  const LogNormalisers alone = log_normalisers(target, temperature);
  const double at_one = at(1.0);
  const bool is_at_one = temperature == 1.0 || is_greedy(temperature);
  return {at_one - alone.at_one, (is_at_one ? at_one : at(temperature)) - alone.tempered};
}

/// Says which reader's row is no distribution, or that together they leave no token.
void Judge::blame(const Request& request, std::size_t drafts, const Judged& judged) const {
  const std::size_t response = request.generated + drafts;
  for (std::size_t part = 0; part < request.goal.size(); ++part) {
    const std::size_t reader = request.goal[part].reader;
    panel_->require_normaliser(judged.rows[part], reader, request.prompt_size[reader] + response);
  }
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
    const auto& [reader, weight] = request.goal[part];
    terms_.push_back(panel_->term(reader, judged.rows[part], weight));
  }
}

}  // namespace rewardshift
