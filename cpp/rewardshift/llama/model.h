// A model file in memory: weights and vocabulary, shared by the contexts that use them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rewardshift/home_process.h"
#include "rewardshift/llama/monitor.h"
#include "rewardshift/llama/tokenizer.h"

struct llama_adapter_lora;
struct llama_model;

namespace rewardshift::llama {

struct ModelOptions {
  int n_gpu_layers = -1;  ///< layers kept on the GPU; -1 is all, where there is one
  /// Map the file instead of reading it; without a value where that takes no memory twice.
  std::optional<bool> use_mmap;
  bool use_mlock = false;  ///< keep the weights from being swapped out
};

/// What a model remembers of a history: keys and values of each token, a state, or both.
enum class MemoryKind { attention, recurrent, hybrid };

/// What a file says of itself.
struct ModelFacts {
  std::string description;  ///< e.g. "llama 135M Q4_1"
  std::string architecture;
  std::string vocabulary_type;
  std::uint64_t parameters;
  std::uint64_t bytes;  ///< of all tensors
  int vocab_size;
  int context_size_trained;
  int layers;
  int embedding_size;
  int heads;
  int kv_heads;
  int key_size;        ///< values of a head's key
  int value_size;      ///< values of a head's value
  int sliding_window;  ///< tokens; 0 is none
  MemoryKind memory;
  std::size_t stored_heads;  ///< that store a key and a value of each token; an encoder has none
  std::size_t state_bytes;   ///< of one history's recurrent state; 0 is none
  std::optional<Token> bos;
  std::optional<Token> eos;
  std::vector<Token> end_of_generation;
};

/// Immutable once loaded, but for the adapters it keeps. Thread-safe.
class Model {
 public:
  /// Throws ModelLoadError with the reason: no such file, not a GGUF, damaged, an architecture
  /// llama.cpp does not know; CancelledError when the monitor was cancelled. `monitor` may be null.
  static std::shared_ptr<const Model> load(const std::string& path, const ModelOptions& options,
                                           Monitor* monitor);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::string& path() const { return path_; }
  ModelFacts facts() const;

  /// Scalar metadata as text, by key.
  std::map<std::string, std::string> metadata() const;

  /// The Jinja source of the model's chat template, if it has one.
  std::optional<std::string> chat_template() const;

  /// Whether the processor does all the work: no layer is on another device.
  bool is_on_cpu() const { return is_on_cpu_; }

  MemoryKind memory() const;

  /// Whether it is an encoder with a classification head: a reward, and nothing else.
  bool is_encoder() const;

  /// Throws ModelLoadError unless the model can be decoded with.
  void require_decodable() const;

  /// Throws ModelLoadError unless the model has a classification head that tells texts apart.
  void require_classifying() const;

  /// Whether a classification head has a dense layer before its outputs.
  bool has_dense_head() const;

  /// What stands before the second of two texts besides the token that ends the first, as in
  /// RoBERTa; none elsewhere.
  std::optional<Token> second_separator() const;

  /// Outputs of the classification head, where there is one.
  int class_outputs() const;

  /// Their names, where the file has them.
  std::vector<std::string> class_labels() const;

 private:
  friend class Adapter;
  friend class Evaluator;
  struct Free {
    void operator()(llama_model* model) const;
    HomeProcess home;
  };

  Model(std::string path, llama_model* model, bool is_on_cpu);

  std::string path_;
  std::unique_ptr<llama_model, Free> model_;
  Tokenizer tokenizer_;
  bool is_on_cpu_;
};

/// A LoRA adapter for one model, which it keeps alive.
class Adapter {
 public:
  /// Throws ModelLoadError if the file is no adapter, or not one for this model.
  Adapter(std::shared_ptr<const Model> model, const std::string& path);

  const std::string& path() const { return path_; }

 private:
  friend class Context;
  struct Free {
    void operator()(llama_adapter_lora* adapter) const;
    HomeProcess home;
  };

  std::shared_ptr<const Model> model_;
  std::string path_;
  std::unique_ptr<llama_adapter_lora, Free> adapter_;
};

/// How many ids vocabularies may differ by at their end, as llama.cpp tolerates (padding).
inline constexpr int kPaddingTolerance = 128;

/// Throws VocabularyMismatchError, naming the first token that differs, unless tokens mean the same
/// in both models. The names say which roles they play.
void require_same_vocabulary(const Model& a, const std::string& name_a, const Model& b,
                             const std::string& name_b);

}  // namespace rewardshift::llama
