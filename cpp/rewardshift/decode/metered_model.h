// A model that counts what it is asked and how long it takes.
#pragma once

#include <cmath>
#include <string>

#include "rewardshift/decode/params.h"
#include "rewardshift/error.h"

namespace rewardshift {

/// Seconds on a monotonic clock.
using Clock = double (*)();

/// A model with its meter. The model is borrowed.
class MeteredModel {
 public:
  MeteredModel(LanguageModel& model, Clock clock) : model_(&model), clock_(clock) {}

  std::span<const float* const> logits(std::span<const LogitsRequest> requests) {
    if (requests.empty()) return {};
    const double start = clock_();
    const auto rows = model_->logits(requests);
    seconds_ += clock_() - start;
    return rows;
  }

  void forget() { model_->forget(); }

  const LanguageModel& model() const { return *model_; }
  double seconds() const { return seconds_; }

 private:
  LanguageModel* model_;
  Clock clock_;
  double seconds_ = 0.0;
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
