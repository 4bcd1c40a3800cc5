#include "rewardshift/decode/planner.h"

#include <algorithm>

namespace rewardshift {
namespace {

/// The same readers, in a tree.
Way as_tree(const Way& way) {
  return {source_of(way.kind) == Source::shifted ? DraftKind::shifted_tree : DraftKind::tree,
          way.proposal};
}

/// The first pair that shifts; where none does, the first.
std::optional<std::size_t> leading_pair(std::span<const Shift> shifts,
                                        std::span<const double> strengths) {
  for (const bool shifting : {true, false}) {
    for (std::size_t i = 0; i < shifts.size(); ++i) {
      if (!shifts[i].is_head() && (strengths[i] != 0.0 || !shifting)) return i;
    }
  }
  return std::nullopt;
}

}  // namespace

/// A base is drafted from as it is or, where anything shifts, shifted; without one, a pair's draft
/// as it is (the paper's proposal, which is the shifted reference at strength 1), or the reference,
/// shifted. Heads alone draft nothing.
std::vector<Way> Planner::ways_of(const RequestParams& params,
                                  std::span<const double> strengths) const {
  const auto shifts = panel_->shifts();
  const auto base = panel_->base();
  const auto leading = leading_pair(shifts, strengths);
  if (!base && !leading) return {};
  if (params.rule == Rule::paper && !shifts.empty()) {
    return {{DraftKind::chain, {{shifts.front().draft, 1.0}}}};
  }

  const std::size_t shifted_base = base ? *base : *shifts[*leading].reference;
  const bool shifts_nothing = std::ranges::all_of(strengths, [](double s) { return s == 0.0; });
  if (shifts_nothing) return {{DraftKind::chain, {{shifted_base, 1.0}}}};
  const bool is_pair = !base && shifts.size() == 1;
  const Way plain{DraftKind::chain, {{is_pair ? shifts.front().draft : shifted_base, 1.0}}};
  const Way shifted{DraftKind::shifted_chain, panel_->shifted(shifted_base, strengths)};
  if (plain.proposal == shifted.proposal) return {plain};
  // Measured on pairs: up to twice its strength an aligned draft is accepted as often as the
  // shifted reference, for half the work.
  constexpr double kTwice = 2.0;
  const double s = is_pair ? strengths.front() : 0.0;
  if (s > 0.0 && s <= kTwice) return {plain, shifted};
  return {shifted, plain};
}

void Planner::plan(std::span<Request* const> requests, double row_seconds) {
  RoundCosts costs;
  for (std::size_t model = 0; model < panel_->models(); ++model) {
    costs.models.push_back(&panel_->costs(model));
    costs.takes_back.push_back(panel_->model(model).takes_back());
  }
  costs.row_seconds = row_seconds;
  const bool is_calibrated = !costs.models.front()->is_empty();
  plans_.clear();
  ways_.clear();
  for (Request* request : requests) plans_.push_back(plan_for(*request, is_calibrated));
  if (is_calibrated) policy_.choose(plans_, costs);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& request = *requests[i];
    request.draft_length = plans_[i].length;
    request.way = plans_[i].ways.empty() ? Way{} : ways_[i][plans_[i].way];
  }
}

/// What the policy needs to know. Never more drafts than can be emitted, so that a request never
/// holds more than is reserved for it: the bonus or correction needs the last place.
RoundPlan Planner::plan_for(Request& request, bool is_calibrated) {
  const RequestParams& params = request.params;
  RoundPlan plan;
  plan.acceptances = &request.acceptances;
  for (const Part& part : request.goal) plan.goal.push_back(panel_->model_of(part.reader));
  plan.is_free = is_calibrated && !params.num_draft_tokens && !params.reproducible;
  const int wanted = plan.is_free ? options_.max_draft_tokens
                                  : params.num_draft_tokens.value_or(options_.num_draft_tokens);
  const std::size_t room = request.limit - request.generated - 1;
  plan.most = std::min(static_cast<std::size_t>(wanted), room);
  auto& ways = ways_.emplace_back(usual_ways(request));
  const auto quotation = quotation_of(request, plan.is_free);
  if (plan.is_free && quotation) {
    ways.push_back(*quotation);
  } else if (!plan.is_free) {
    if (ways.size() > 1) ways.resize(1);
    const std::size_t sure = quotation ? sure_length(request, quotation->kind, room) : 0;
    if (sure > 0) {
      ways = {*quotation};
      if (!params.num_draft_tokens) plan.most = sure;
    }
  }
  for (const Way& way : ways) plan.ways.push_back(costs_of(request, way));
  plan.length = plan.most_in_way();
  return plan;
}

/// The ways that do not hang on what the text repeats, the one to take unasked first.
std::vector<Way> Planner::usual_ways(const Request& request) const {
  const RequestParams& params = request.params;
  if (params.drafter == nullptr) {
    if (params.tree_width == 1) return request.ways;
    std::vector<Way> ways;  // a tree where it pays more than a chain
    for (const Way& way : request.ways) ways.push_back(as_tree(way));
    ways.insert(ways.end(), request.ways.begin(), request.ways.end());
    return ways;
  }
  const std::size_t seen = params.drafter->longest_seen(request.text_so_far());
  static_assert(after_last(NgramTable::kLongest) == DraftKind::after_4);
  if (seen == 0) return {};
  return {{after_last(seen), {}}};
}

/// A quotation, where the text may be quoted and its end occurred before. Unasked it may wherever
/// nobody counts the drafts; where nobody weighs it against other ways, only after a long match.
std::optional<Way> Planner::quotation_of(Request& request, bool is_weighed) const {
  const RequestParams& params = request.params;
  const bool is_unasked_for = !params.prompt_lookup;
  if (params.rule == Rule::paper || !params.prompt_lookup.value_or(true)) return std::nullopt;
  if (is_unasked_for &&
      (params.num_draft_tokens || params.drafter != nullptr || params.tree_width > 1)) {
    return std::nullopt;
  }
  constexpr std::size_t kLong = 4;
  constexpr std::size_t kMostQuoted = 64;  // no request may draft more
  const auto text = request.text_so_far();
  const Quotation found = request.quotations.find(text);
  if (found.match == 0) return std::nullopt;
  const bool is_long = found.match >= kLong;
  if (is_unasked_for && !is_weighed && !is_long) return std::nullopt;
  const auto rest = text.subspan(found.begin);
  const auto quoted = rest.first(std::min(rest.size(), kMostQuoted));
  request.quoted.assign(quoted.begin(), quoted.end());
  return Way{is_long ? DraftKind::quote_long : DraftKind::quote_short, {}};
}

/// Tokens of a quotation that are each more likely accepted than not, as far as this request alone
/// has shown: what others did must not change a text whose seed is given.
std::size_t Planner::sure_length(const Request& request, DraftKind kind, std::size_t most) const {
  constexpr double kGuess = 0.75;
  constexpr double kGuessWeight = 2.0;
  double guess = kGuess;
  double survival = 1.0;
  std::size_t length = 0;
  while (length < most) {
    guess = request.acceptances.of(kind).at(length, guess, kGuessWeight);
    survival *= guess;
    if (survival < 0.5) break;
    ++length;
  }
  return length;
}

WayCosts Planner::costs_of(const Request& request, const Way& way) const {
  WayCosts costs;
  costs.kind = way.kind;
  for (const Part& part : way.proposal) costs.drafting.push_back(panel_->model_of(part.reader));
  for (const Part& part : request.goal) {
    if (!asks(way.proposal, part.reader)) costs.scoring.push_back(panel_->model_of(part.reader));
  }
  if (source_of(way.kind) == Source::quote) costs.most = request.quoted.size();
  return costs;
}

void Planner::learn(Request& request) {
  if (source_of(request.way.kind) == Source::table && request.block.tokens.empty()) return;
  const Round& round = request.round;
  const DraftOutcome outcome{request.way.kind, request.block.tokens.size(), round.accepted,
                             round.rejected > 0};
  request.acceptances.count(outcome);
  policy_.learn(outcome);
}

}  // namespace rewardshift
