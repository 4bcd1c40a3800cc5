// How many tokens to draft in the next round, and in which way.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "rewardshift/decode/acceptance.h"
#include "rewardshift/shift/cost_curve.h"

namespace rewardshift {

/// What a way to draft asks of the models, each named by its number: one entry for each reader.
struct WayCosts {
  DraftKind kind = DraftKind::chain;
  std::vector<std::size_t> drafting;  ///< asked for a row in each turn
  std::vector<std::size_t> scoring;   ///< asked for the whole block, in the end
  std::size_t most = std::numeric_limits<std::size_t>::max();  ///< tokens it could draft
};

/// A request that may play the next round.
struct RoundPlan {
  const Acceptances* acceptances = nullptr;  ///< of this request so far
  std::vector<std::size_t> goal;             ///< models asked where nothing is drafted
  std::vector<WayCosts> ways;                ///< how it may draft; none where it cannot
  bool is_free = false;                      ///< length and way are the policy's to choose
  std::size_t most = 0;                      ///< tokens that may be drafted
  std::size_t length = 0;                    ///< tokens to draft; <= most
  std::size_t way = 0;                       ///< in which of the ways

  const WayCosts& chosen() const { return ways[way]; }

  /// Tokens that may be drafted in the chosen way.
  std::size_t most_in_way() const { return ways.empty() ? 0 : std::min(most, chosen().most); }
};

/// What a round costs, part by part.
struct RoundCosts {
  std::vector<const CostCurve*> models;  ///< by number; 0 is the target's
  double row_seconds = 0.0;              ///< our own work and refining, for each row of the target
  std::vector<std::size_t> takes_back = {};  ///< by number: see LanguageModel; all where empty
};

/// Chooses the draft lengths that promise most tokens a second, for all requests of a round.
///
/// A request that may draft in several ways takes the one that would be best if it were alone. One
/// more draft for a request adds a row to the batches that score its block and, unless it comes
/// from a table or a quotation, a turn of those that draft, and wins the probability that it is
/// accepted: in a chain, that all up to there are. Taken by that probability, greatest first, the
/// drafts of all requests form two lists, of those that cost no turn and of the others, and some
/// beginning of each is best. A length of 0 is plain decoding. What is not tried is forgotten
/// slowly, and then tried again if it could pay.
///
/// A model that has to read again what it had read of a block, where a draft of it was rejected,
/// pays for that in its next batch.
///
/// Whatever it chooses, the law of the output stays the same.
class AdaptivePolicy {
 public:
  /// Sets length and way of every plan that is free. The costs are those of just now.
  void choose(std::span<RoundPlan> plans, const RoundCosts& costs);

  /// Notes the outcome of one request's round.
  void learn(const DraftOutcome& outcome) { all_.count(outcome); }

 private:
  /// What is to be expected of a block.
  struct Prospect {
    double survival = 1.0;            ///< the probability that its last draft is accepted
    double reread_by_scorers = 0.0;   ///< tokens, if they have to go back to where it began
    double reread_by_drafters = 0.0;  ///< the same; they know the token before the drafts

    Prospect with(double next, std::size_t length) const;
  };
  struct Candidate {  ///< one more drafted token for a request
    double survival;  ///< the probability that it is accepted; no more than of the one before it
    std::size_t number;
    std::size_t plan;
    Prospect without = {};  ///< of the block, before it is taken
  };

  void choose_way(RoundPlan& plan, const RoundCosts& costs);
  void expect(const RoundPlan& plan, std::size_t count);
  double take_best(std::span<const Candidate> list, std::span<RoundPlan> plans, double tokens,
                   const RoundCosts& costs);
  double best_rate_alone(RoundPlan& plan, std::size_t way, const RoundCosts& costs);
  double round_seconds(std::span<const RoundPlan> plans, std::span<const Prospect> prospects,
                       const RoundCosts& costs);
  void add_rereading(std::span<const std::size_t> models, std::size_t taken_back, double tokens,
                     const RoundCosts& costs);

  Acceptances all_{0.995};  ///< of all requests
  std::vector<Candidate> candidates_;
  std::vector<double> expected_;     ///< survivals of one plan's drafts
  std::vector<Prospect> prospects_;  ///< by plan
  std::vector<double> rows_;         ///< by model: of the batch whose cost is being added up
};

}  // namespace rewardshift
