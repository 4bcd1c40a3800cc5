// A head that shifts its target, seen as a model.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rewardshift/math/bottleneck.h"
#include "rewardshift/shift/head_model.h"

namespace rewardshift {

/// A shift that needs no second model: its rows are lambda(x | h), of the features h behind the
/// target's rows of the same history.
class ShiftHeadModel final : public HeadModel {
 public:
  ShiftHeadModel(LanguageModel& target, std::shared_ptr<const Bottleneck> head);

  std::span<const float* const> logits(std::span<const LogitsRequest> requests) override;

  /// A row is a ratio of each token's by itself, as of a draft's to its reference's.
  bool tells_log_probabilities() const override { return true; }
  std::uint64_t evaluated_tokens() const override { return 0; }
  std::uint64_t evaluated_batches() const override { return 0; }

 private:
  std::shared_ptr<const Bottleneck> head_;
  std::vector<float> values_;
  std::vector<const float*> rows_;
};

}  // namespace rewardshift
