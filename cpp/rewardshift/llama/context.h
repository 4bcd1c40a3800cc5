// A LanguageModel over llama.cpp: one context, one key-value cache, many sequences.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rewardshift/language_model.h"
#include "rewardshift/llama/evaluator.h"
#include "rewardshift/llama/history_cache.h"
#include "rewardshift/llama/model.h"
#include "rewardshift/llama/system.h"
#include "rewardshift/told_features.h"

namespace rewardshift::llama {

struct ContextOptions {
  /// Tokens that the sequences of a model hold together; 0 is what it was trained for, 4096 at
  /// most.
  int n_ctx = 0;
  int n_batch = 512;        ///< most tokens evaluated by one call of llama.cpp
  int n_ubatch = 512;       ///< most tokens in one of its compute graphs
  int n_seq_max = 16;       ///< requests decoded at the same time
  bool kv_unified = true;   ///< one cache for all sequences; else each has its own share
  int n_histories = 1;      ///< of each request: 2 where draft and reference share a context
  bool classifies = false;  ///< rows are what a classification head says, not logits
  bool features = false;    ///< whether features are told, too
  int n_threads = 0;        ///< for single rows; 0 is one per physical core
  int n_threads_batch = 0;  ///< for batches; 0 is as n_threads
  int poll = kPoll;         ///< of the pool's threads
  int cache_ram = 1024;     ///< most MiB of histories put aside
  /// Unset is wherever a GPU supports it. On the processor it is slow, the more so the longer the
  /// history, and adds up by thread; there it is used for quantised values only, which need it.
  std::optional<bool> flash_attn;
  std::string type_k = "f16";  ///< of cached keys: f32, f16, bf16, q8_0, q4_0, ...
  std::string type_v = "f16";  ///< of cached values; quantised ones need flash attention
};

/// Throws std::invalid_argument, naming the option and the value given.
void validate(const ContextOptions& options);

/// Its memory holds each sequence's latest history. logits() keeps as much of it as the new history
/// begins with and the kind of memory allows (HistoryCache), or takes over more from a sequence
/// that has more in common, and evaluates only the rest. When cells run out, sequences that were
/// not asked for give way, the longest idle first; asking for them again evaluates them again.
///
/// With attention, what histories of one call have in common is evaluated once, but for positions a
/// row is wanted of. Every row attends over all cells of its cache, whosever they are. Where many
/// sequences have little in common, a cache for each (kv_unified = false) spares that; what is
/// borrowed is then copied, and none gives way. A model with a recurrent state always has one.
class Context final : public LanguageModel {
 public:
  /// All contexts may share one pool. While `interrupt` (borrowed, may be null) is true, evaluation
  /// stops with CancelledError. Throws OutOfMemoryError, ModelLoadError, std::invalid_argument.
  Context(std::shared_ptr<const Model> model, const ContextOptions& options,
          std::shared_ptr<Threadpool> pool, const std::atomic<bool>* interrupt);
  ~Context() override;

  /// Decodes with an adapter from now on; forgets all histories. The scale is finite.
  void apply(std::shared_ptr<const Adapter> adapter, float scale);

  int vocab_size() const override { return model_->tokenizer().size(); }

  /// Values of a row: vocab_size(), or the outputs of the head of a context that classifies, whose
  /// rows are asked for at the last token of a history only.
  int row_size() const { return classifies_ ? model_->class_outputs() : vocab_size(); }

  int max_sequences() const override { return static_cast<int>(sequences_); }
  std::size_t context_size() const override { return cells_each_; }
  std::size_t capacity() const override { return cells_; }
  bool is_end_of_generation(Token token) const override {
    return model_->tokenizer().is_end_of_generation(token);
  }
  std::string piece(Token token) const override { return model_->tokenizer().piece(token, false); }
  std::string spelling(Token token) const override {
    return model_->tokenizer().piece(token, true);
  }
  std::span<const float* const> logits(std::span<const LogitsRequest> requests) override;
  std::size_t feature_size() const override { return feature_size_; }
  std::span<const float* const> features(const LogitsRequest& request) const override {
    return told_.of(request);
  }
  bool joins_histories() const override { return cache_->shares_new_tokens(); }
  std::uint64_t evaluated_tokens() const override { return evaluated_; }
  std::uint64_t evaluated_batches() const override { return batches_; }
  std::size_t takes_back() const override { return cache_->takes_back(); }
  void put_aside(std::span<const int> sequences) override;
  void forget() override {
    cache_->clear();
    told_.forget();
  }

  /// Drops everything but what sequence 0 holds of the beginning `tokens`; returns how many tokens
  /// of it that is. Nothing else being left, they lie in the cache's first cells, in order, as they
  /// would if they had been evaluated in an empty one.
  std::size_t keep(std::span<const Token> tokens);

 private:
  struct Pending {  ///< a token to evaluate
    std::size_t request;
    std::size_t position;
    std::optional<std::size_t> row;         ///< among those asked for
    std::vector<std::size_t> sharers = {};  ///< other requests that have it in common
  };
  struct Batch;

  std::unique_ptr<HistoryCache> make_cache();
  void answer(std::span<const LogitsRequest> requests);
  bool has_nan() const;
  const float* row_of(int sequence, std::size_t i) const;
  void list_pending(std::span<const LogitsRequest> requests);
  std::size_t share_pending(std::span<const LogitsRequest> requests, std::size_t i);
  std::span<const Token> sharable(const LogitsRequest& request) const;
  std::size_t held(const LogitsRequest& request) const { return cache_->held(request.sequence); }
  void evaluate_all(std::span<const LogitsRequest> requests, std::span<Pending> rest);
  void evaluate_in_batches(std::span<const LogitsRequest> requests, std::span<const Pending> rest);
  void keep_rows(std::span<const Pending> tokens);
  void evaluate(std::span<const LogitsRequest> requests, std::span<const Pending> tokens);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Adapter> adapter_;
  Evaluator evaluator_;
  bool is_unified_;
  bool classifies_;
  bool is_one_at_a_time_;     ///< no batch has tokens of two sequences
  std::size_t cells_;         ///< of all sequences together
  std::size_t cells_each_;    ///< that one sequence can have
  std::size_t sequences_;     ///< that can be asked for
  std::size_t window_;        ///< of sliding attention; 0 is none
  std::size_t feature_size_;  ///< 0 where none are told
  std::size_t shelf_;         ///< bytes of histories put aside
  std::size_t batch_tokens_;
  std::size_t batch_rows_;
  std::unique_ptr<Batch> batch_;
  std::unique_ptr<HistoryCache> cache_;  ///< of the context's memory
  std::vector<Pending> pending_;
  std::vector<std::vector<std::size_t>> places_;  ///< in pending_, by request and new position
  std::vector<const float*> rows_;
  std::vector<const float*> features_;  ///< by row, where they are told
  ToldFeatures told_;
  std::vector<std::vector<float>> copied_;  ///< of calls before the last, which reuses memory
  std::uint64_t evaluated_ = 0;
  std::uint64_t batches_ = 0;
};

}  // namespace rewardshift::llama
