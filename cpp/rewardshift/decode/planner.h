// How each request drafts in the coming round.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rewardshift/decode/draft_policy.h"
#include "rewardshift/decode/request.h"

namespace rewardshift {

/// Settles which way to draft, and how many tokens: as asked for, or as the policy chooses.
class Planner {
 public:
  /// The panel is borrowed and must outlive the planner.
  Planner(const Panel& panel, const DecoderOptions& options) : panel_(&panel), options_(options) {}

  /// The ways in which readers could draft for a request of these strengths; the first is taken
  /// where nothing is measured.
  std::vector<Way> ways_of(const RequestParams& params, std::span<const double> strengths) const;

  /// Sets way and length of each request. `row_seconds` is our own work and refining, for each row
  /// of the target.
  void plan(std::span<Request* const> requests, double row_seconds);

  /// Notes how a request's round went, for the choice of the next ones.
  void learn(Request& request);

 private:
  RoundPlan plan_for(Request& request, bool is_calibrated);
  std::vector<Way> usual_ways(const Request& request) const;
  std::optional<Way> quotation_of(Request& request, bool is_weighed) const;
  std::size_t sure_length(const Request& request, DraftKind kind, std::size_t most) const;
  WayCosts costs_of(const Request& request, const Way& way) const;

  const Panel* panel_;
  DecoderOptions options_;
  AdaptivePolicy policy_;
  std::vector<RoundPlan> plans_;
  std::vector<std::vector<Way>> ways_;  ///< by request: those of its plan
};

}  // namespace rewardshift
