// A model with a classification head: what reward models and rerankers are.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/llama/context.h"

namespace rewardshift::llama {

/// What the head of a model says of whole texts, by llama.cpp's rank pooling: it reads the state at
/// a text's last token. Texts that begin alike are evaluated once up to where they part. Not
/// thread-safe.
class Classifier {
 public:
  /// As Context's; throws ModelLoadError too if the model has no head.
  Classifier(std::shared_ptr<const Model> model, const ContextOptions& options,
             std::shared_ptr<Threadpool> pool, const std::atomic<bool>* interrupt);

  /// Outputs of the head, at least 1.
  int outputs() const { return context_.row_size(); }

  /// Their names; empty where the file has none.
  std::vector<std::string> labels() const;

  /// outputs() values for each text, in as few batches as fit. Throws std::invalid_argument for an
  /// empty text or a token that is not in the vocabulary, ContextOverflowError for a text that is
  /// too long, EvaluationError, CancelledError.
  std::vector<std::vector<float>> classify(std::span<const std::vector<Token>> texts);

 private:
  void classify_group(std::span<const std::vector<Token>> texts,
                      std::vector<std::vector<float>>& found);

  std::shared_ptr<const Model> model_;
  Context context_;
};

}  // namespace rewardshift::llama
