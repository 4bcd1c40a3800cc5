// What all heads on a target's features have in common, seen as models.
#pragma once

#include <cstddef>
#include <string>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// A reader of a target's features. Its sequences are the target's. Where the target told the
/// features of what is asked for, nothing else is evaluated; else the target is asked, and the rows
/// it had told live no longer: ask the target first.
class HeadModel : public LanguageModel {
 public:
  int vocab_size() const override { return target_->vocab_size(); }
  int max_sequences() const override { return target_->max_sequences(); }
  std::size_t context_size() const override { return target_->context_size(); }
  std::size_t capacity() const override { return target_->capacity(); }
  bool is_end_of_generation(Token token) const override {
    return target_->is_end_of_generation(token);
  }
  std::string piece(Token token) const override { return target_->piece(token); }
  std::string spelling(Token token) const override { return target_->spelling(token); }

  /// The target does all that is shared.
  bool joins_histories() const override { return true; }

 protected:
  /// The target is borrowed, and to outlive this. Throws std::invalid_argument unless the head's
  /// sizes are the target's.
  HeadModel(LanguageModel& target, std::size_t feature_size, std::size_t vocab_size);

  LanguageModel& target() { return *target_; }

 private:
  LanguageModel* target_;
};

}  // namespace rewardshift
