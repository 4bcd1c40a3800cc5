// A model of another vocabulary, seen as one of the target's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/language_model.h"
#include "rewardshift/vocabulary/map.h"
#include "rewardshift/vocabulary/reading.h"

namespace rewardshift {

/// A model of the vocabulary V_d, seen through a map as one of the target's, V_t.
///
/// Histories hold tokens of V_t, and of V_d as they are: vocab_size() + d is V_d's own token d. The
/// model reads them as Reading says, which depends on the text alone, and so does every row:
///
///   x has a twin d       log q(d | reading)
///   x has none           log q(its first piece | reading); refine() adds the other pieces, each
///                        after those before it
///   x is nothing there   0: it tells nothing, nor does any row after a reading without tokens
///
/// See "Other vocabularies" in docs/architecture.md.
class MappedModel final : public LanguageModel {
 public:
  /// The model is borrowed, and to outlive this. Its last `spare` sequences are kept for refine(),
  /// which then asks about as many pieces at once and leaves the others' work alone; without any,
  /// it asks about one after another, in the sequence that the history is in. Throws
  /// std::invalid_argument unless the model's vocabulary has the size of the map's foreign one, and
  /// `spare` leaves a sequence.
  MappedModel(LanguageModel& model, std::shared_ptr<const VocabularyMap> map, int spare = 0);

  int vocab_size() const override { return map_->target().size(); }
  int max_sequences() const override { return model_->max_sequences() - spare_; }

  /// The model's own, less what texts grow by when they are read in its tokens, which is taken to
  /// be VocabularyMap::expansion(): tokens of V_t that are likely, but not sure, to fit. A reading
  /// that does not fit throws ContextOverflowError, whose figures are in tokens of V_d.
  std::size_t context_size() const override { return shrunk(model_->context_size()); }
  std::size_t capacity() const override { return shrunk(model_->capacity()); }

  int history_vocab_size() const override { return end_of_tokens(); }
  bool is_end_of_generation(Token token) const override;
  std::string piece(Token token) const override;
  std::span<const float* const> logits(std::span<const LogitsRequest> requests) override;
  bool tells_log_probabilities() const override { return true; }
  std::span<const std::uint32_t> proposable() const override { return map_->twins(); }
  bool is_rough() const override { return map_->splits(); }
  std::span<const std::vector<Correction>> refine(std::span<const Refinement> requests) override;

  void put_aside(std::span<const int> sequences) override;
  bool joins_histories() const override { return model_->joins_histories(); }

  /// Those of the model, in tokens of V_d.
  std::uint64_t evaluated_tokens() const override { return model_->evaluated_tokens(); }
  std::uint64_t evaluated_batches() const override { return model_->evaluated_batches(); }
  std::size_t takes_back() const override { return model_->takes_back(); }
  void forget() override { model_->forget(); }

 private:
  /// A row that is wanted of the model: the one after the first `length` tokens of a chain.
  struct Wish {
    std::size_t length;
    std::size_t id;  ///< what for; the caller's own
  };
  /// Readings that extend one another, so that one request of the model yields all their rows.
  struct Chain {
    std::vector<Token> tokens;
    std::vector<Wish> wishes;  ///< shorter ones first
  };
  /// What is wanted of one sequence: chain after chain.
  struct Plan {
    int sequence;
    std::vector<Chain> chains;
    std::optional<std::vector<Token>> kept = std::nullopt;  ///< what is not taken back; else all

    void want(std::vector<Token> reading, std::size_t id);
  };

  int end_of_tokens() const { return vocab_size() + map_->foreign().size(); }
  std::size_t shrunk(std::size_t tokens) const;
  Reading& reading_of(int sequence) { return readings_[static_cast<std::size_t>(sequence)]; }
  void free_spare_sequences(std::vector<Plan>& plans) const;
  std::vector<Plan> over_spare_sequences(std::vector<Plan> plans) const;
  template <class Use>
  void ask(std::span<const Plan> plans, Use use);
  double log_normaliser(const float* row) const;
  void gather(const float* row, float* out);

  LanguageModel* model_;
  std::shared_ptr<const VocabularyMap> map_;
  int spare_;
  std::vector<Token> index_;        ///< by token of V_t: where scratch_ has what is said of it
  std::vector<float> scratch_;      ///< a row of V_d normalised, and 0
  std::vector<Reading> readings_;   ///< by sequence
  std::vector<float> values_;       ///< of all rows
  std::vector<const float*> rows_;  ///< where they begin
  std::vector<std::vector<Correction>> corrections_;
};

}  // namespace rewardshift
