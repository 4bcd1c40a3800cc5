#include "rewardshift/decode/draft_policy.h"

#include <algorithm>
#include <tuple>

namespace rewardshift {
namespace {

constexpr double kFirstGuess = 0.7;    // of the acceptance, before any was seen
constexpr double kGuessWeight = 4.0;   // in drafts
constexpr double kOthersWeight = 8.0;  // of other requests' drafts against this one's

/// How often the draft model is asked for a request.
std::size_t turns(const RoundPlan& plan) { return comes_from_table(plan.kind) ? 0 : plan.length; }

/// Seconds that a round of these lengths is expected to take. Of a tree, the draft is asked for
/// fewer rows than there are drafts, and once more wherever a walk ends at a leaf: what that makes
/// the other way round is not counted.
double round_seconds(std::span<const RoundPlan> plans, std::span<const double> survival,
                     const RoundCosts& costs) {
  std::size_t target_rows = 0;
  std::size_t reference_rows = 0;
  std::size_t unread = 0;  // rows that the goal needs of the draft, which did not draft there
  std::size_t longest = 0;
  double complete = 0.0;  // requests all of whose drafts are accepted
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const RoundPlan& plan = plans[i];
    const std::size_t rows = plan.length + 1;
    target_rows += rows;
    if (plan.is_aligned) {
      reference_rows += rows;
      if (comes_from_table(plan.kind) || plan.length == 0) unread += rows;
    }
    if (plan.length > 0 && !comes_from_table(plan.kind)) complete += survival[i];
    longest = std::max(longest, turns(plan));
  }
  double seconds = costs.target->seconds(static_cast<double>(target_rows)) +
                   costs.own_seconds * static_cast<double>(target_rows);
  for (const DraftKind kind : {DraftKind::chain, DraftKind::tree}) {  // never in one batch
    for (std::size_t turn = 1; turn <= longest; ++turn) {
      const auto rows = std::ranges::count_if(
          plans, [=](const RoundPlan& p) { return p.kind == kind && p.length >= turn; });
      seconds += costs.draft->seconds(static_cast<double>(rows));
    }
  }
  // After a complete block the draft has one more token to read: for the goal at once when
  // aligned, else in front of the next block.
  if (complete > 0.0)
    seconds += std::min(1.0, complete) * costs.draft->seconds(std::max(1.0, complete));
  if (reference_rows == 0) return seconds;
  if (costs.share_batches) {
    return seconds + costs.reference->seconds(static_cast<double>(reference_rows + unread));
  }
  return seconds + costs.reference->seconds(static_cast<double>(reference_rows)) +
         costs.draft->seconds(static_cast<double>(unread));
}

}  // namespace

void AdaptivePolicy::choose(std::span<RoundPlan> plans, const RoundCosts& costs) {
  candidates_.clear();
  survival_.assign(plans.size(), 1.0);
  double tokens = static_cast<double>(plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    RoundPlan& plan = plans[i];
    if (plan.is_free && plan.kind == DraftKind::tree &&
        best_rate_alone(plan, DraftKind::chain, costs) >
            best_rate_alone(plan, DraftKind::tree, costs)) {
      plan.kind = DraftKind::chain;
    }
    expect(plan, plan.is_free ? plan.most : plan.length);
    if (plan.is_free) plan.length = 0;
    for (std::size_t n = 0; n < expected_.size(); ++n) {
      if (plan.is_free) {
        candidates_.push_back({expected_[n], n, i});
      } else {
        tokens += expected_[n];
        survival_[i] = expected_[n];
      }
    }
  }
  const auto asks_draft = [&](const Candidate& c) { return !comes_from_table(plans[c.plan].kind); };
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
  double best_rate = tokens / round_seconds(plans, survival_, costs);
  std::size_t best = 0;
  for (std::size_t n = 0; n < list.size(); ++n) {
    plans[list[n].plan].length = list[n].number + 1;
    survival_[list[n].plan] = list[n].survival;
    tokens += list[n].survival;
    const double rate = tokens / round_seconds(plans, survival_, costs);
    if (rate > best_rate) {
      best_rate = rate;
      best_tokens = tokens;
      best = n + 1;
    }
  }
  for (std::size_t n = list.size(); n > best; --n)
    plans[list[n - 1].plan].length = list[n - 1].number;
  return best_tokens;
}

/// Leaves in expected_ the probabilities that a plan's first drafts are accepted.
void AdaptivePolicy::expect(const RoundPlan& plan, std::size_t count) {
  const Acceptance& all_chains = all_.of(DraftKind::chain);
  const Acceptance& own_chains = plan.acceptances->of(DraftKind::chain);
  const bool from_table = comes_from_table(plan.kind);
  expected_.clear();
  double survival = 1.0;
  double guess = kFirstGuess;  // in a chain, what was never reached is like the one before it
  for (std::size_t n = 0; n < count; ++n) {
    if (!from_table) guess = all_chains.at(n, guess, kGuessWeight);
    survival *= from_table ? guess : own_chains.at(n, guess, kOthersWeight);
    expected_.push_back(survival);
  }
  if (plan.kind == DraftKind::chain) return;
  double least = 1.0;  // a tree that was never drawn is like a chain, and a later draft no likelier
  for (std::size_t n = 0; n < count; ++n) {
    const double all = all_.of(plan.kind).at(n, expected_[n], kGuessWeight);
    least = std::min(least, plan.acceptances->of(plan.kind).at(n, all, kOthersWeight));
    expected_[n] = least;
  }
}

/// The most tokens a second that a request could have if no other played, with drafts of a kind.
double AdaptivePolicy::best_rate_alone(RoundPlan plan, DraftKind kind, const RoundCosts& costs) {
  plan.kind = kind;
  plan.length = 0;
  expect(plan, plan.most);
  double tokens = 1.0;
  double survival = 1.0;
  double best = tokens / round_seconds({&plan, 1}, {&survival, 1}, costs);
  for (const double next : expected_) {
    survival = next;
    tokens += survival;
    ++plan.length;
    best = std::max(best, tokens / round_seconds({&plan, 1}, {&survival, 1}, costs));
  }
  return best;
}

}  // namespace rewardshift
