#include "rewardshift/decode/draft_policy.h"

#include <algorithm>
#include <tuple>

namespace rewardshift {
namespace {

constexpr double kFirstGuess = 0.7;    // of the acceptance, before any was seen
constexpr double kGuessWeight = 4.0;   // in drafts
constexpr double kOthersWeight = 8.0;  // of other requests' drafts against this one's

/// Drafts are read one by one: all but the last come of other batches.
constexpr std::size_t kMoreThanOneBatchRead = LanguageModel::kAnyNumber;

/// How often readers are asked while a request's drafts are made.
std::size_t turns(const RoundPlan& plan) {
  return plan.length > 0 && asks_readers(plan.chosen().kind) ? plan.length : 0;
}

void add(std::vector<double>& rows, std::span<const std::size_t> models, double count) {
  for (const std::size_t model : models) rows[model] += count;
}

/// Seconds of one batch for each model; starts the next one.
double flush(std::vector<double>& rows, const RoundCosts& costs) {
  double seconds = 0.0;
  for (std::size_t model = 0; model < rows.size(); ++model) {
    seconds += costs.models[model]->seconds(rows[model]);
    rows[model] = 0.0;
  }
  return seconds;
}

}  // namespace

/// Seconds that a round of these lengths is expected to take. Of a tree, readers are asked for
/// fewer rows than there are drafts, and once more wherever a walk ends at a leaf: what that makes
/// the other way round is not counted.
double AdaptivePolicy::round_seconds(std::span<const RoundPlan> plans,
                                     std::span<const Prospect> prospects, const RoundCosts& costs) {
  rows_.assign(costs.models.size(), 0.0);
  std::size_t longest = 0;
  double target_rows = 0.0;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const RoundPlan& plan = plans[i];
    const double rows = static_cast<double>(plan.length) + 1.0;
    add(rows_, plan.length > 0 ? plan.chosen().scoring : plan.goal, rows);
    if (plan.length > 0) {
      add_rereading(plan.chosen().scoring, plan.length, prospects[i].reread_by_scorers, costs);
    }
    target_rows += rows;
    longest = std::max(longest, turns(plan));
  }
  double seconds = flush(rows_, costs) + costs.row_seconds * target_rows;
  for (std::size_t turn = 1; turn <= longest; ++turn) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
      if (turns(plans[i]) < turn) continue;
      add(rows_, plans[i].chosen().drafting, 1.0);
      if (turn > 1) continue;
      add_rereading(plans[i].chosen().drafting, kMoreThanOneBatchRead,
                    prospects[i].reread_by_drafters, costs);
    }
    seconds += flush(rows_, costs);
  }
  // After a complete block the readers that drafted have one more token to read: for the goal at
  // once where they shift, else in front of the next block.
  double complete = 0.0;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (turns(plans[i]) == 0) continue;
    complete += prospects[i].survival;
    add(rows_, plans[i].chosen().drafting, prospects[i].survival);
  }
  if (complete == 0.0) return seconds;
  const double batches = std::min(1.0, complete);
  for (double& rows : rows_) rows /= batches;
  return seconds + batches * flush(rows_, costs);
}

/// Adds what models read again that cannot take back so many tokens of a batch.
void AdaptivePolicy::add_rereading(std::span<const std::size_t> models, std::size_t taken_back,
                                   double tokens, const RoundCosts& costs) {
  if (costs.takes_back.empty()) return;
  for (const std::size_t model : models) {
    if (costs.takes_back[model] < taken_back) rows_[model] += tokens;
  }
}

/// Of a block of this length, whose last draft is accepted with the probability `next`. If a draft
/// is rejected, a model that scored the block reads again those accepted and the token before them.
/// One that drafted was asked for that one alone, and never read the last draft.
AdaptivePolicy::Prospect AdaptivePolicy::Prospect::with(double next, std::size_t length) const {
  return {next, reread_by_scorers + static_cast<double>(length) * (survival - next),
          reread_by_scorers - (1.0 - survival)};
}

void AdaptivePolicy::choose(std::span<RoundPlan> plans, const RoundCosts& costs) {
  candidates_.clear();
  prospects_.assign(plans.size(), {});
  double tokens = static_cast<double>(plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    RoundPlan& plan = plans[i];
    if (plan.is_free) choose_way(plan, costs);
    expect(plan, plan.is_free ? plan.most_in_way() : plan.length);
    if (plan.is_free) plan.length = 0;
    Prospect prospect;
    for (std::size_t n = 0; n < expected_.size(); ++n) {
      if (plan.is_free) {
        candidates_.push_back({expected_[n], n, i, prospect});
      } else {
        tokens += expected_[n];
      }
      prospect = prospect.with(expected_[n], n + 1);
    }
    if (!plan.is_free) prospects_[i] = prospect;
  }
  const auto asks_draft = [&](const Candidate& c) {
    return asks_readers(plans[c.plan].chosen().kind);
  };
  std::ranges::sort(candidates_, {}, [&](const Candidate& c) {
    return std::tuple(asks_draft(c), -c.survival, c.number, c.plan);
  });
  const auto dear = std::ranges::find_if(candidates_, asks_draft);
  tokens = take_best({candidates_.begin(), dear}, plans, tokens, costs);
  take_best({dear, candidates_.end()}, plans, tokens, costs);
}

/// Drafts the beginning of the list that promises most; returns the tokens to expect.
double AdaptivePolicy::take_best(std::span<const Candidate> list, std::span<RoundPlan> plans,
                                 double tokens, const RoundCosts& costs) {
  double best_tokens = tokens;
  double best_rate = tokens / round_seconds(plans, prospects_, costs);
  std::size_t best = 0;
  for (std::size_t n = 0; n < list.size(); ++n) {
    const Candidate& next = list[n];
    plans[next.plan].length = next.number + 1;
    prospects_[next.plan] = next.without.with(next.survival, next.number + 1);
    tokens += next.survival;
    const double rate = tokens / round_seconds(plans, prospects_, costs);
    if (rate > best_rate) {
      best_rate = rate;
      best_tokens = tokens;
      best = n + 1;
    }
  }
  for (std::size_t n = list.size(); n > best; --n) {
    plans[list[n - 1].plan].length = list[n - 1].number;
    prospects_[list[n - 1].plan] = list[n - 1].without;
  }
  return best_tokens;
}

/// Settles on the way that would be best for a request if no other played; of equals, the first.
void AdaptivePolicy::choose_way(RoundPlan& plan, const RoundCosts& costs) {
  if (plan.ways.size() < 2) return;
  double best_rate = 0.0;
  std::size_t best = 0;
  for (std::size_t way = 0; way < plan.ways.size(); ++way) {
    const double rate = best_rate_alone(plan, way, costs);
    if (rate > best_rate) {
      best_rate = rate;
      best = way;
    }
  }
  plan.way = best;
}

/// Leaves in expected_ the probabilities that a plan's first drafts are accepted.
void AdaptivePolicy::expect(const RoundPlan& plan, std::size_t count) {
  expected_.clear();
  if (count == 0) return;
  const DraftKind kind = plan.chosen().kind;
  const DraftKind like = kind == DraftKind::tree           ? DraftKind::chain
                         : kind == DraftKind::shifted_tree ? DraftKind::shifted_chain
                                                           : kind;
  const bool from_table = source_of(kind) == Source::table;
  const Acceptance& all_chains = all_.of(like);
  const Acceptance& own_chains = plan.acceptances->of(like);
  double survival = 1.0;
  double guess = kFirstGuess;  // in a chain, what was never reached is like the one before it
  for (std::size_t n = 0; n < count; ++n) {
    if (!from_table) guess = all_chains.at(n, guess, kGuessWeight);
    survival *= from_table ? guess : own_chains.at(n, guess, kOthersWeight);
    expected_.push_back(survival);
  }
  if (is_chain(kind)) return;
  double least = 1.0;  // a tree that was never drawn is like a chain, and a later draft no likelier
  for (std::size_t n = 0; n < count; ++n) {
    const double all = all_.of(kind).at(n, expected_[n], kGuessWeight);
    least = std::min(least, plan.acceptances->of(kind).at(n, all, kOthersWeight));
    expected_[n] = least;
  }
}

/// The most tokens a second that a request could have if no other played, drafting in one way.
double AdaptivePolicy::best_rate_alone(RoundPlan& plan, std::size_t way, const RoundCosts& costs) {
  plan.way = way;
  plan.length = 0;
  expect(plan, plan.most_in_way());
  double tokens = 1.0;
  Prospect prospect;
  double best = tokens / round_seconds({&plan, 1}, {&prospect, 1}, costs);
  for (const double next : expected_) {
    tokens += next;
    prospect = prospect.with(next, ++plan.length);
    best = std::max(best, tokens / round_seconds({&plan, 1}, {&prospect, 1}, costs));
  }
  return best;
}

}  // namespace rewardshift
