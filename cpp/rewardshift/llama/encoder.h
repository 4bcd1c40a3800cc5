// An encoder with a classification head, over llama.cpp: it reads a text whole, and keeps nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "rewardshift/llama/context.h"
#include "rewardshift/llama/evaluator.h"

namespace rewardshift::llama {

class SegmentEmbeddings;

/// Every token sees all others, so that a text is one batch, and one graph. Texts are evaluated one
/// by one: what is said of one does not depend on others, to the last bit. Not thread-safe.
class Encoder {
 public:
  /// As Context's; of the options, those of a cache and of batches mean nothing here. Throws
  /// ModelLoadError too if the model has no head.
  Encoder(std::shared_ptr<const Model> model, const ContextOptions& options,
          std::shared_ptr<Threadpool> pool, const std::atomic<bool>* interrupt);

  ~Encoder();

  /// Tokens that a text has at most: n_ctx, or all that the model was trained for. Memory is taken
  /// as texts need it.
  std::size_t context_size() const { return most_; }

  /// The outputs of the head for a text of at least one token and at most context_size(). Throws
  /// std::invalid_argument, OutOfMemoryError, EvaluationError, CancelledError.
  std::vector<float> classify(std::span<const Token> text);

 private:
  void make_room(std::size_t tokens);

  std::shared_ptr<const Model> model_;
  ModelFacts facts_;
  std::optional<bool> flash_attn_;
  std::size_t most_;
  std::size_t room_ = 0;  ///< tokens of the longest text that the context was made for
  Evaluator evaluator_;
  std::unique_ptr<SegmentEmbeddings> segments_;  ///< of a model that tells them apart
};

}  // namespace rewardshift::llama
