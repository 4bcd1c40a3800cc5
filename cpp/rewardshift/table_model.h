// A language model that is a table of logits: exact tests and experiments without a GGUF.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "rewardshift/language_model.h"
#include "rewardshift/told_features.h"

namespace rewardshift {

/// A Markov chain: the logits depend on the last `order` tokens of the history.
///
/// The table has vocab_size^order rows of vocab_size logits; the row of a history is the base-
/// vocab_size number that its last `order` tokens spell, the latest being the lowest digit. A
/// shorter history counts as if zeros stood before it.
class TableModel final : public LanguageModel {
 public:
  struct Facts {
    std::set<Token> end_of_generation;
    std::vector<std::string> pieces;  ///< by token; none means no text
    std::set<Token> fails_on;         ///< evaluating one of these throws, to rehearse failures
    int max_sequences = 16;
    std::size_t context_size = 4096;
    double batch_seconds = 0.0;        ///< that each batch takes at least, to rehearse slow models
    std::vector<float> features = {};  ///< by row of the table, equally many each; none are told
  };

  /// Throws std::invalid_argument if the table's size does not fit vocabulary and order.
  TableModel(std::vector<float> logits, int vocab_size, int order, Facts facts);

  int vocab_size() const override { return vocab_size_; }
  int max_sequences() const override { return facts_.max_sequences; }
  std::size_t context_size() const override { return facts_.context_size; }
  bool is_end_of_generation(Token token) const override {
    return facts_.end_of_generation.contains(token);
  }
  std::string piece(Token token) const override;
  std::span<const float* const> logits(std::span<const LogitsRequest> requests) override;

  std::size_t feature_size() const override { return feature_size_; }
  std::span<const float* const> features(const LogitsRequest& request) const override {
    return told_.of(request);
  }

  bool joins_histories() const override { return true; }  // it reads nothing

  /// Rows handed out: a table remembers nothing.
  std::uint64_t evaluated_tokens() const override { return evaluated_; }
  std::uint64_t evaluated_batches() const override { return batches_; }

 private:
  std::size_t state_after(std::span<const Token> history) const;

  std::vector<float> logits_;
  int vocab_size_;
  int order_;
  Facts facts_;
  std::size_t feature_size_;
  std::vector<const float*> rows_;
  ToldFeatures told_;
  std::uint64_t evaluated_ = 0;
  std::uint64_t batches_ = 0;
};

}  // namespace rewardshift
