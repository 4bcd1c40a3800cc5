// A model with a classification head: what reward models and rerankers are.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "rewardshift/llama/context.h"
#include "rewardshift/llama/encoder.h"

namespace rewardshift::llama {

/// What the head of a model says of whole texts, by llama.cpp's rank pooling. A decoder's reads the
/// state at a text's last token, and texts that begin alike are evaluated once up to where they
/// part; an encoder's reads the state at the first token, or the mean of all. Not thread-safe.
class Classifier {
 public:
  /// As Context's and Encoder's; throws ModelLoadError too if the model has no head.
  Classifier(std::shared_ptr<const Model> model, const ContextOptions& options,
             std::shared_ptr<Threadpool> pool, const std::atomic<bool>* interrupt);

  /// Outputs of the head, at least 1.
  int outputs() const { return model_->class_outputs(); }

  /// outputs() values for each text, in as few batches as fit. Throws std::invalid_argument for an
  /// empty text or a token that is not in the vocabulary, ContextOverflowError for a text that is
  /// too long, EvaluationError, CancelledError.
  std::vector<std::vector<float>> classify(std::span<const std::vector<Token>> texts);

 private:
  std::size_t context_size() const;
  void require_fitting(const std::vector<Token>& text) const;
  std::vector<std::vector<float>> decode(std::span<const std::vector<Token>> texts);
  void decode_group(std::span<const std::vector<Token>> texts,
                    std::vector<std::vector<float>>& found);

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Encoder> encoder_;  ///< one of the two
  std::unique_ptr<Context> decoder_;
};

}  // namespace rewardshift::llama
