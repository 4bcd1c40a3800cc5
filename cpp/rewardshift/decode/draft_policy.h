// How many tokens to draft in the next round.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/decode/acceptance.h"
#include "rewardshift/shift/cost_curve.h"

namespace rewardshift {

/// A request that may play the next round.
struct RoundPlan {
  const Acceptances* acceptances = nullptr;  ///< of this request so far
  bool is_aligned = false;                   ///< all three models take part
  bool is_free = false;                      ///< length and kind are the policy's to choose
  std::size_t most = 0;                      ///< tokens that may be drafted
  std::size_t length = 0;                    ///< tokens to draft; <= most
  DraftKind kind = DraftKind::chain;  ///< a tree that is free becomes a chain where that pays more
};

/// What a round costs, part by part.
struct RoundCosts {
  const CostCurve* target = nullptr;
  const CostCurve* draft = nullptr;      ///< null without a draft
  const CostCurve* reference = nullptr;  ///< null without a reference
  bool share_batches = false;            ///< draft and reference can be evaluated in one batch
  double own_seconds = 0.0;              ///< our own work, for each row of the target
};

/// Chooses the draft lengths that promise most tokens a second, for all requests of a round.
///
/// One more draft for a request adds a row to the batches of target and reference and, unless it
/// comes from a table, a turn of the draft, and wins the probability that it is accepted: in a
/// chain, that all up to there are. Taken by that probability, greatest first, the drafts of all
/// requests form two lists, of tables and of the draft model, and some beginning of each is best. A
/// length of 0 is plain decoding. What is not tried is forgotten slowly, and then tried again if it
/// could pay.
///
/// Whatever it chooses, the law of the output stays the same.
class AdaptivePolicy {
 public:
  /// Sets length and kind of every plan that is free. The costs are those of just now.
  void choose(std::span<RoundPlan> plans, const RoundCosts& costs);

  /// Notes the outcome of one request's round.
  void learn(const DraftOutcome& outcome) { all_.count(outcome); }

 private:
  struct Candidate {  ///< one more drafted token for a request
    double survival;  ///< the probability that it is accepted; no more than of the one before it
    std::size_t number;
    std::size_t plan;
  };

  void expect(const RoundPlan& plan, std::size_t count);
  double take_best(std::span<const Candidate> list, std::span<RoundPlan> plans, double tokens,
                   const RoundCosts& costs);
  double best_rate_alone(RoundPlan plan, DraftKind kind, const RoundCosts& costs);

  Acceptances all_{0.995};  ///< of all requests
  std::vector<Candidate> candidates_;
  std::vector<double> expected_;  ///< survivals of one plan's drafts
  std::vector<double> survival_;  ///< by plan: of the last token it drafts
};

}  // namespace rewardshift
