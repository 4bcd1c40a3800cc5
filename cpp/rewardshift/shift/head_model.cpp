#include "rewardshift/shift/head_model.h"

#include <stdexcept>
#include <utility>

#include "rewardshift/history.h"
#include "rewardshift/told_features.h"

namespace rewardshift {

HeadModel::HeadModel(LanguageModel& target, std::shared_ptr<const Bottleneck> head)
    : target_(&target), head_(std::move(head)) {
  if (head_->feature_size() != target_->feature_size()) {
    throw std::invalid_argument(
        "the head is for a target with features of " + std::to_string(head_->feature_size()) +
        " values, and this one's have " + std::to_string(target_->feature_size()));
  }
  if (head_->vocab_size() != static_cast<std::size_t>(target_->vocab_size())) {
    throw std::invalid_argument("the head is for a target of " +
                                std::to_string(head_->vocab_size()) + " tokens, and this one has " +
                                std::to_string(target_->vocab_size()));
  }
}

std::span<const float* const> HeadModel::logits(std::span<const LogitsRequest> requests) {
  check_requests(requests, *this);
  const auto features = features_of(*target_, requests);
  head_->rows(features, values_);
  rows_.clear();
  for (std::size_t i = 0; i < features.size(); ++i) {
    rows_.push_back(values_.data() + i * head_->vocab_size());
  }
  return rows_;
}

}  // namespace rewardshift
