// A head on a target's features, seen as a model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rewardshift/language_model.h"
#include "rewardshift/math/bottleneck.h"

namespace rewardshift {

/// A shift that needs no second model: its rows are lambda(x | h), of the features h behind the
/// target's rows of the same history.
///
/// Its sequences are the target's. Where the target's latest call told the features of what is
/// asked for, nothing else is evaluated; else the target is asked, and its rows live no longer: ask
/// the target first.
class HeadModel final : public LanguageModel {
 public:
  /// The target is borrowed, and to outlive this. Throws std::invalid_argument unless the head is
  /// for its features and its vocabulary.
  HeadModel(LanguageModel& target, std::shared_ptr<const Bottleneck> head);

  int vocab_size() const override { return target_->vocab_size(); }
  int max_sequences() const override { return target_->max_sequences(); }
  std::size_t context_size() const override { return target_->context_size(); }
  std::size_t capacity() const override { return target_->capacity(); }
  bool is_end_of_generation(Token token) const override {
    return target_->is_end_of_generation(token);
  }
  std::string piece(Token token) const override { return target_->piece(token); }
  std::string spelling(Token token) const override { return target_->spelling(token); }
  std::span<const float* const> logits(std::span<const LogitsRequest> requests) override;

  /// A row is a ratio of each token's by itself, as of a draft's to its reference's.
  bool tells_log_probabilities() const override { return true; }

  /// The target does all that is shared.
  bool joins_histories() const override { return true; }
  std::uint64_t evaluated_tokens() const override { return 0; }
  std::uint64_t evaluated_batches() const override { return 0; }

 private:
  LanguageModel* target_;
  std::shared_ptr<const Bottleneck> head_;
  std::vector<float> values_;
  std::vector<const float*> rows_;
};

}  // namespace rewardshift
