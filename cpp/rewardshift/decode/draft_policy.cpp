#include "rewardshift/decode/draft_policy.h"

#include <algorithm>
#include <utility>

namespace rewardshift {
namespace {

constexpr double kFirstGuess = 0.7;    // of the acceptance, before any was seen
constexpr double kGuessWeight = 4.0;   // in drafts
constexpr double kOthersWeight = 8.0;  // of other requests' drafts against this one's

/// Seconds that a round of these lengths is expected to take.
double round_seconds(std::span<const RoundPlan> plans, std::span<const double> survival,
                     const RoundCosts& costs) {
  std::size_t target_rows = 0;
  std::size_t reference_rows = 0;
  std::size_t undrafted = 0;  // of these the goal needs the draft's row nevertheless
  std::size_t longest = 0;
  double complete = 0.0;  // requests all of whose drafts are accepted
  for (std::size_t i = 0; i < plans.size(); ++i) {
    target_rows += plans[i].length + 1;
    if (plans[i].is_aligned) reference_rows += plans[i].length + 1;
    if (plans[i].is_aligned && plans[i].length == 0) ++undrafted;
    if (plans[i].length > 0) complete += survival[i];
    longest = std::max(longest, plans[i].length);
  }
  double seconds = costs.target->seconds(static_cast<double>(target_rows)) +
                   costs.own_seconds * static_cast<double>(target_rows);
  for (std::size_t turn = 1; turn <= longest; ++turn) {
    const auto rows =
        std::ranges::count_if(plans, [turn](const RoundPlan& p) { return p.length >= turn; });
    seconds += costs.draft->seconds(static_cast<double>(rows));
  }
  // After a complete block the draft has one more token to read: for the goal at once when
  // aligned, else in front of the next block.
  if (complete > 0.0)
    seconds += std::min(1.0, complete) * costs.draft->seconds(std::max(1.0, complete));
  if (reference_rows == 0) return seconds;
  if (costs.share_batches) {
    return seconds + costs.reference->seconds(static_cast<double>(reference_rows + undrafted));
  }
  return seconds + costs.reference->seconds(static_cast<double>(reference_rows)) +
         costs.draft->seconds(static_cast<double>(undrafted));
}

}  // namespace

void AdaptivePolicy::choose(std::span<RoundPlan> plans, const RoundCosts& costs) {
  candidates_.clear();
  survival_.assign(plans.size(), 1.0);
  double tokens = static_cast<double>(plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    RoundPlan& plan = plans[i];
    double survival = 1.0;
    double guess = kFirstGuess;  // a position that was never reached is like the one before it
    const std::size_t end = plan.is_free ? plan.most : plan.length;
    for (std::size_t position = 0; position < end; ++position) {
      guess = all_.at(position, guess, kGuessWeight);
      survival *= plan.acceptance->at(position, guess, kOthersWeight);
      if (plan.is_free) {
        candidates_.push_back({survival, position, i});
      } else {
        tokens += survival;
        survival_[i] = survival;
      }
    }
    if (plan.is_free) plan.length = 0;
  }
  std::ranges::sort(candidates_, [](const Candidate& a, const Candidate& b) {
    if (a.survival != b.survival) return a.survival > b.survival;
    return std::pair(a.position, a.plan) < std::pair(b.position, b.plan);
  });

  double best_rate = tokens / round_seconds(plans, survival_, costs);
  std::size_t best = 0;
  for (std::size_t n = 0; n < candidates_.size(); ++n) {
    const Candidate& candidate = candidates_[n];
    plans[candidate.plan].length = candidate.position + 1;
    survival_[candidate.plan] = candidate.survival;
    tokens += candidate.survival;
    const double rate = tokens / round_seconds(plans, survival_, costs);
    if (rate > best_rate) {
      best_rate = rate;
      best = n + 1;
    }
  }
  for (std::size_t n = candidates_.size(); n > best; --n) {
    plans[candidates_[n - 1].plan].length = candidates_[n - 1].position;
  }
}

}  // namespace rewardshift
