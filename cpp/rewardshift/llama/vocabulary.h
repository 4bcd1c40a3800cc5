// A model's vocabulary as data.
#pragma once

#include <memory>

#include "rewardshift/llama/model.h"
#include "rewardshift/vocabulary/vocabulary.h"

namespace rewardshift::llama {

/// Keeps the model alive. Throws ModelLoadError for a model without a tokenizer, whose tokens have
/// no bytes.
std::shared_ptr<const Vocabulary> vocabulary_of(std::shared_ptr<const Model> model);

}  // namespace rewardshift::llama
