// A model of another vocabulary, seen as one of the target's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/language_model.h"
#include "rewardshift/vocabulary/map.h"

namespace rewardshift {

/// What rows say of tokens that have no twin.
enum class Unmatched : std::uint8_t {
  first_piece,  ///< what the model says of their first piece; refine() says it of all their pieces
  impossible,   ///< -inf: for a model that proposes, whose rows are then not rough
};

/// A model of the vocabulary V_d seen through a map as one of the target's, V_t.
///
/// Histories hold tokens of V_t, and of V_d as they are: vocab_size() + d is V_d's own token d.
/// Rows are log-probabilities. What it says depends on the text alone.
class MappedModel final : public LanguageModel {
 public:
  /// The model is borrowed, and to outlive this. Throws std::invalid_argument unless its vocabulary
  /// has the size of the map's foreign one.
  MappedModel(LanguageModel& model, std::shared_ptr<const VocabularyMap> map,
              Unmatched unmatched = Unmatched::first_piece);

  int vocab_size() const override;
  int max_sequences() const override;
  std::size_t context_size() const override;
  std::size_t capacity() const override;
  bool is_end_of_generation(Token token) const override;
  std::string piece(Token token) const override;
  std::span<const float* const> logits(std::span<const LogitsRequest> requests) override;
  bool tells_log_probabilities() const override { return true; }
  bool is_rough() const override { return unmatched_ == Unmatched::first_piece; }
  std::span<const std::vector<Correction>> refine(std::span<const Refinement> requests) override;
  std::uint64_t evaluated_tokens() const override;
  std::uint64_t evaluated_batches() const override;
  void forget() override;

 private:
  LanguageModel* model_;
  std::shared_ptr<const VocabularyMap> map_;
  Unmatched unmatched_;
};

}  // namespace rewardshift
