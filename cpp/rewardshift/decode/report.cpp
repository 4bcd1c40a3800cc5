#include "rewardshift/decode/report.h"

#include <cmath>
#include <limits>

namespace rewardshift {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void Reporter::emit(Request& request, Token token, Origin origin, Judged& judged) {
  judge_->tell(request, token, judged, request.is_aligned());
  EmittedToken emitted = describe(request, token, origin, judged);
  if (origin != Origin::bonus && request.is_aligned() && !request.has_short_laws()) {
    add_paper_law(request, judged, emitted);
  }
  if (origin != Origin::bonus) add_lossless_draft(request, emitted);
  if (request.params.top_logprobs > 0) add_top_logprobs(request, judged, emitted);
  if (request.learns_table()) {
    const auto best = most_probable(judged.goal.weights, NgramTable::kKept, workspace_);
    request.round.sightings.emplace_back(best.begin(), best.end());
  }
  request.round.emitted.push_back(std::move(emitted));
}

EmittedToken Reporter::forced(Token token) const {
  return {token,
          Origin::forced,
          0.0,
          std::vector<double>(panel_->size(), kNothing),
          std::vector<double>(panel_->shifts().size(), kNothing),
          kNothing,
          kNothing,
          kNothing,
          {}};
}

/// Greedy decoding samples from a point mass; what is worth knowing there is pi* itself.
EmittedToken Reporter::describe(const Request& request, Token token, Origin origin,
                                const Judged& judged) const {
  EmittedToken emitted = forced(token);
  emitted.origin = origin;
  const bool is_greedy_goal = is_greedy(request.params.temperature);
  emitted.logprob = is_greedy_goal ? judged.goal.log_best : std::log(judged.goal.weights[token]);
  for (std::size_t part = 0; part < request.goal.size(); ++part) {
    emitted.reader_logprobs[request.goal[part].reader] =
        log_probability(judged.rows[part], token, judged.normalisers[part].at_one);
  }
  if (request.is_aligned()) emitted.log_z = judged.goal.log_z;
  add_twins(request, judged, emitted);
  if (request.params.entropy) {
    emitted.target_entropy = entropy(judged.rows.front(), judged.normalisers.front().at_one);
  }
  return emitted;
}

/// The target's mass on the tokens that a shift's vocabulary has, of shifts of other vocabularies
/// that took part. Shifts of one vocabulary have one mask.
void Reporter::add_twins(const Request& request, const Judged& judged,
                         EmittedToken& emitted) const {
  const auto shifts = panel_->shifts();
  const std::uint32_t* known = nullptr;
  double mass = kNothing;
  for (std::size_t i = 0; i < shifts.size(); ++i) {
    const auto twins = panel_->proposable(shifts[i].draft);
    if (twins.empty() || !asks(request.goal, shifts[i].draft)) continue;
    if (twins.data() != known) {
      mass = mass_of(judged.rows.front(), judged.normalisers.front().at_one, twins);
      known = twins.data();
    }
    emitted.twins[i] = mass;
  }
}

/// What a draft said that has no say in the goal, as nothing shifts: where it drafted a chain.
void Reporter::add_lossless_draft(const Request& request, EmittedToken& emitted) {
  if (!panel_->shifts().empty() || !request.drafts_by_readers() || request.has_short_laws()) return;
  const std::size_t draft = request.way.proposal.front().reader;
  const std::span<const float> row = request.block.read(draft, request.round.path.size());
  if (row.empty()) return;
  emitted.reader_logprobs[draft] = log_probability(
      row, emitted.id, normalisers_of(panel_->term(draft, row, 1.0), 1.0, emitted.id).at_one);
}

/// What the paper's rule would do here, whichever rule decides: it proposes from the only shift's
/// draft, tempered and no more.
void Reporter::add_paper_law(const Request& request, const Judged& judged, EmittedToken& emitted) {
  const bool is_papers = request.params.rule == Rule::paper;
  if (!is_papers && !request.params.paper_distance) return;
  if (panel_->shifts().size() != 1) return;
  const std::size_t draft = panel_->shifts().front().draft;
  if (panel_->tells_log_probabilities(draft)) return;  // no distribution that it could propose from
  scratch_.resize(judged.weights.size());
  for (std::size_t part = 0; part < request.goal.size(); ++part) {
    if (request.goal[part].reader != draft) continue;
    const Term alone{judged.rows[part], 1.0};
    const Shaped shaped =
        shape({&alone, 1}, {request.params.temperature, {}, {}, {}}, workspace_, scratch_);
    const LawSummary paper = summarise_law(judged.goal.weights, {scratch_, shaped.sum},
                                           judged.goal.paper_scale, emitted.id);
    if (request.params.paper_distance) emitted.paper_distance = paper.distance;
    if (is_papers && !is_greedy(request.params.temperature)) {
      emitted.logprob = paper.log_probability;
    }
  }
}

/// The most probable tokens of the goal; of pi* at temperature 1 where decoding is greedy.
void Reporter::add_top_logprobs(Request& request, const Judged& judged, EmittedToken& emitted) {
  const bool is_greedy_goal = is_greedy(request.params.temperature);
  const Weights weights =
      is_greedy_goal ? judge_->ungreedy(request, request.round.path, judged) : judged.goal.weights;
  const auto n = static_cast<std::size_t>(request.params.top_logprobs);
  for (const auto& [probability, token] : most_probable(weights, n, workspace_)) {
    emitted.top_logprobs.emplace_back(token, std::log(probability));
  }
}

}  // namespace rewardshift
