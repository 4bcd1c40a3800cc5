// A model that counts what it is asked and how long it takes.
#pragma once

#include <cmath>
#include <string>

#include "rewardshift/decode/cost_curve.h"
#include "rewardshift/decode/params.h"
#include "rewardshift/error.h"

namespace rewardshift {

/// A model with its meter, which also knows what a batch costs it. The model is borrowed.
class MeteredModel {
 public:
  MeteredModel(LanguageModel& model, Clock clock) : model_(&model), clock_(clock) {}

  std::span<const float* const> logits(std::span<const LogitsRequest> requests) {
    if (requests.empty()) return {};
    const double start = clock_();
    const std::uint64_t before = model_->evaluated_tokens();
    const auto rows = model_->logits(requests);
    const double seconds = clock_() - start;
    seconds_ += seconds;
    // Of what was evaluated, every row was wanted: no prompt, and no gap that had to be closed.
    const std::uint64_t evaluated = model_->evaluated_tokens() - before;
    if (evaluated == rows.size()) costs_.observe(rows.size(), seconds);
    return rows;
  }

  /// Measures what batches cost; until then they count as free. The model forgets everything.
  void calibrate(const CostMeasurement& how) {
    costs_ = CostCurve(measure_costs(*model_, how, clock_));
  }

  /// Takes over what was measured through another meter of the same model.
  void calibrate_like(const MeteredModel& twin) { costs_ = twin.costs_; }

  void forget() { model_->forget(); }

  const LanguageModel& model() const { return *model_; }
  double seconds() const { return seconds_; }
  const CostCurve& costs() const { return costs_; }

 private:
  LanguageModel* model_;
  Clock clock_;
  double seconds_ = 0.0;
  CostCurve costs_;
};

/// A model's row is not a distribution: what the model remembers may be damaged too.
class BadRowError final : public EvaluationError {
 public:
  using EvaluationError::EvaluationError;
};

/// Throws BadRowError, naming the role and the position, unless the normaliser of its row is
/// finite: the row then is a distribution.
inline void require_distribution(double log_normaliser, Role role, std::size_t position) {
  if (std::isfinite(log_normaliser)) return;
  throw BadRowError(std::string("the ") + name_of(role) + "'s logits at position " +
                    std::to_string(position) + " are not a distribution (NaN, +inf, or all -inf)");
}

}  // namespace rewardshift
