// What is told of an emitted token beside its id.
#include <cmath>
#include <limits>

#include "rewardshift/decode/decoder.h"

namespace rewardshift {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

double log_probability_or_nothing(std::span<const float> logits, Token token,
                                  double log_normaliser) {
  return logits.empty() ? kNothing : log_probability(logits, token, log_normaliser);
}

}  // namespace

/// Greedy decoding samples from a point mass; what is worth knowing there is pi* itself.
double Decoder::goal_log_probability(const Request& request, Token token, const Goal& goal) const {
  if (is_greedy(request.params.temperature)) return goal.best_log_probability;
  return std::log(goal_[static_cast<std::size_t>(token)]);
}

EmittedToken Decoder::describe(Request& request, Token token, Origin origin, const RoleLogits& rows,
                               const Goal& goal) {
  EmittedToken emitted{
      token,
      origin,
      goal_log_probability(request, token, goal),
      log_probability_or_nothing(rows.target, token, goal.log_normaliser.target),
      log_probability_or_nothing(rows.draft, token, goal.log_normaliser.draft),
      log_probability_or_nothing(rows.reference, token, goal.log_normaliser.reference),
      request.is_aligned() ? goal.log_z : kNothing,
      kNothing,
      request.params.entropy ? entropy(rows.target, goal.log_normaliser.target) : kNothing,
      {}};
  if (origin != Origin::bonus && request.is_aligned() && !request.drafts_trees()) {
    const LawSummary paper = paper_law(request, goal, token);
    emitted.paper_distance = paper.distance;
    if (request.params.rule == Rule::paper && !is_greedy(request.params.temperature)) {
      emitted.logprob = paper.log_probability;
    }
  }
  if (request.params.top_logprobs > 0) add_top_logprobs(emitted, request, rows);
  if (request.drafts_from_table()) {
    const auto best = most_probable(goal_, NgramTable::kKept, workspace_);
    request.round.sightings.emplace_back(best.begin(), best.end());
  }
  return emitted;
}

/// The most probable tokens of the goal; of pi* at temperature 1 where decoding is greedy.
void Decoder::add_top_logprobs(EmittedToken& emitted, const Request& request,
                               const RoleLogits& rows) {
  std::span<const double> probs = goal_;
  if (is_greedy(request.params.temperature)) {
    scratch_.resize(goal_.size());
    rewardshift::goal(rows, request.strength, {1.0, {}, adjustments_}, workspace_, scratch_);
    probs = scratch_;
  }
  const auto n = static_cast<std::size_t>(request.params.top_logprobs);
  for (const auto& [probability, token] : most_probable(probs, n, workspace_)) {
    emitted.top_logprobs.emplace_back(token, std::log(probability));
  }
}

/// What the paper's rule would do at the position being decided, whichever rule decides. The paper
/// proposes from q itself; where truncation or adjustments made g another one, q is computed anew.
LawSummary Decoder::paper_law(const Request& request, const Goal& goal, Token token) {
  const RequestParams& params = request.params;
  const std::size_t i = request.round.emitted.size();
  const Truncation truncation{params.top_k, params.top_p, params.min_p};
  const DraftBlock& block = request.block;
  if (params.rule == Rule::paper || (truncation.is_off() && adjustments_.empty())) {
    return summarise_law(goal_, block.proposal(i), goal.paper_scale, token);
  }
  const auto logits = block.draft_logits(i);
  scratch_.assign(logits.begin(), logits.end());
  shape(scratch_, params.temperature, {}, workspace_);
  return summarise_law(goal_, scratch_, goal.paper_scale, token);
}

}  // namespace rewardshift
