// A model that counts how long it takes, and so knows what its batches cost.
#pragma once

#include "rewardshift/language_model.h"
#include "rewardshift/shift/cost_curve.h"

namespace rewardshift {

/// A model with its meter. The model is borrowed.
class MeteredModel {
 public:
  MeteredModel(LanguageModel& model, Clock clock) : model_(&model), clock_(clock) {}

  std::span<const float* const> logits(std::span<const LogitsRequest> requests) {
    if (requests.empty()) return {};
    const double start = clock_();
    const std::uint64_t before = model_->evaluated_tokens();
    const auto rows = model_->logits(requests);
    last_seconds_ = clock_() - start;
    // Of what was evaluated, every row was wanted: no prompt, and no gap that had to be closed.
    const std::uint64_t evaluated = model_->evaluated_tokens() - before;
    if (evaluated == rows.size()) costs_.observe(rows.size(), last_seconds_);
    return rows;
  }

  std::span<const std::vector<Correction>> refine(std::span<const Refinement> requests) {
    const double start = clock_();
    const auto corrections = model_->refine(requests);
    last_seconds_ = clock_() - start;
    return corrections;
  }

  /// Measures what batches cost; until then they count as free. The model forgets everything.
  void calibrate(const CostMeasurement& how) {
    costs_ = CostCurve(measure_costs(*model_, how, clock_));
  }

  LanguageModel& model() { return *model_; }
  const LanguageModel& model() const { return *model_; }
  double last_seconds() const { return last_seconds_; }  ///< of the latest call of either
  const CostCurve& costs() const { return costs_; }

 private:
  LanguageModel* model_;
  Clock clock_;
  double last_seconds_ = 0.0;
  CostCurve costs_;
};

}  // namespace rewardshift
