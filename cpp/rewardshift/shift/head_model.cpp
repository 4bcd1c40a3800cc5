#include "rewardshift/shift/head_model.h"

#include <stdexcept>

namespace rewardshift {

HeadModel::HeadModel(LanguageModel& target, std::size_t feature_size, std::size_t vocab_size)
    : target_(&target) {
  if (feature_size != target.feature_size()) {
    throw std::invalid_argument("the head is for a target with features of " +
                                std::to_string(feature_size) + " values, and this one's have " +
                                std::to_string(target.feature_size()));
  }
  if (vocab_size != static_cast<std::size_t>(target.vocab_size())) {
    throw std::invalid_argument("the head is for a target of " + std::to_string(vocab_size) +
                                " tokens, and this one has " + std::to_string(target.vocab_size()));
  }
}

}  // namespace rewardshift
