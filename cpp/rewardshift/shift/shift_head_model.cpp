#include "rewardshift/shift/shift_head_model.h"

#include <utility>

#include "rewardshift/history.h"
#include "rewardshift/told_features.h"

namespace rewardshift {

ShiftHeadModel::ShiftHeadModel(LanguageModel& target, std::shared_ptr<const Bottleneck> head)
    : HeadModel(target, head->feature_size(), head->vocab_size()), head_(std::move(head)) {}

std::span<const float* const> ShiftHeadModel::logits(std::span<const LogitsRequest> requests) {
  check_requests(requests, *this);
  const auto features = features_of(target(), requests);
  head_->rows(features, values_);
  rows_.clear();
  for (std::size_t i = 0; i < features.size(); ++i) {
    rows_.push_back(values_.data() + i * head_->vocab_size());
  }
  return rows_;
}

}  // namespace rewardshift
