#include "rewardshift/llama/model.h"

#include <llama.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <new>
#include <system_error>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/llama/gguf_architecture.h"
#include "rewardshift/llama/gguf_check.h"
#include "rewardshift/llama/gguf_cuda.h"
#include "rewardshift/llama/gguf_file.h"
#include "rewardshift/llama/log.h"
#include "rewardshift/llama/memory_shape.h"
#include "rewardshift/llama/rearranged.h"
#include "rewardshift/llama/system.h"

namespace rewardshift::llama {
namespace {

/// Calls a llama.cpp function of the form f(..., buffer, size) that returns the length.
template <class Function>
std::string read_string(Function function) {
  std::array<char, 256> small;
  const std::int32_t length = function(small.data(), small.size());
  if (length < 0) return {};
  if (static_cast<std::size_t>(length) < small.size()) return small.data();
  std::string large(static_cast<std::size_t>(length) + 1, '\0');
  function(large.data(), large.size());
  large.pop_back();
  return large;
}

bool report_progress(float progress, void* data) {
  auto* monitor = static_cast<Monitor*>(data);
  monitor->progress = progress;
  return !monitor->cancelled;
}

bool stays_on_cpu(const ModelOptions& options) {
  return options.n_gpu_layers == 0 || !llama_supports_gpu_offload();
}

llama_load_mode load_mode(const std::string& path, const ModelOptions& options) {
  const bool use_mmap = options.use_mmap
                            ? *options.use_mmap
                            : !(stays_on_cpu(options) && is_mostly_rearranged(GgufFile(path)));
  if (use_mmap) {
    return options.use_mlock ? LLAMA_LOAD_MODE_MMAP_MLOCK : LLAMA_LOAD_MODE_MMAP;
  }
  return options.use_mlock ? LLAMA_LOAD_MODE_MLOCK : LLAMA_LOAD_MODE_NONE;
}

const char* vocabulary_name(enum llama_vocab_type type) {
  switch (type) {
    case LLAMA_VOCAB_TYPE_NONE:
      return "none";
    case LLAMA_VOCAB_TYPE_SPM:
      return "SentencePiece";
    case LLAMA_VOCAB_TYPE_BPE:
      return "byte-level BPE";
    case LLAMA_VOCAB_TYPE_WPM:
      return "WordPiece";
    case LLAMA_VOCAB_TYPE_UGM:
      return "Unigram";
    case LLAMA_VOCAB_TYPE_RWKV:
      return "RWKV";
    default:
      return "other";
  }
}

std::optional<Token> token_or_none(llama_token token) {
  return token == LLAMA_TOKEN_NULL ? std::nullopt : std::optional<Token>(token);
}

/// A positive number as the metadata gives it, where it is not the usual one.
int number(const llama_model* model, const std::string& key, int usual) {
  const std::string text = read_string([&](char* buffer, std::size_t size) {
    return llama_model_meta_val_str(model, key.c_str(), buffer, size);
  });
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc{} && value > 0 ? value : usual;
}

std::string architecture(const llama_model* model) {
  return read_string([&](char* buffer, std::size_t size) {
    return llama_model_meta_val_str(model, "general.architecture", buffer, size);
  });
}

/// llama.cpp aborts when it tokenizes if it is to add a token that there is not.
void require_special_tokens(const std::string& path, const llama_vocab* vocab) {
  const bool pairs = llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_WPM;  // it adds both, always
  const auto require_token = [&](bool added, llama_token token, const std::string& what) {
    if (added && token == LLAMA_TOKEN_NULL) {
      throw ModelLoadError(path + " wants a token for the " + what + " of a text and names none");
    }
  };
  require_token(pairs || llama_vocab_get_add_bos(vocab), llama_vocab_bos(vocab), "beginning");
  require_token(llama_vocab_get_add_eos(vocab), llama_vocab_eos(vocab), "end");
  require_token(pairs, llama_vocab_sep(vocab), "end");
}

int experts(const llama_model* model) {
  return number(model, architecture(model) + ".expert_count", 0);
}

}  // namespace

Model::Model(std::string path, llama_model* model, bool is_on_cpu)
    : path_(std::move(path)),
      model_(model),
      tokenizer_(llama_model_get_vocab(model)),
      is_on_cpu_(is_on_cpu) {}

void Model::Free::operator()(llama_model* model) const {
  if (home.is_here()) llama_model_free(model);
}

std::shared_ptr<const Model> Model::load(const std::string& path, const ModelOptions& options,
                                         Monitor* monitor) {
  initialise();
  require_loadable_model(path);
  if (!stays_on_cpu(options)) require_cuda_kernels(path);
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = options.n_gpu_layers;
  params.load_mode = load_mode(path, options);
  if (monitor != nullptr) {
    params.progress_callback = report_progress;
    params.progress_callback_user_data = monitor;
  }
  const ErrorScope errors;
  llama_model* model = nullptr;
  try {
    model = llama_model_load_from_file(path.c_str(), params);
  } catch (const std::bad_alloc&) {
    std::error_code unknown;
    throw OutOfMemoryError("no memory to load " + path, std::filesystem::file_size(path, unknown));
  } catch (const std::exception& error) {
    throw ModelLoadError(path + " cannot be loaded: " + error.what());
  }
  if (model == nullptr && monitor != nullptr && monitor->cancelled) {
    throw CancelledError("loading " + path + " was cancelled");
  }
  if (model == nullptr) {
    throw ModelLoadError(path + " cannot be loaded: " + errors.reason("llama.cpp gave no reason"));
  }
  std::shared_ptr<const Model> loaded(new Model(path, model, stays_on_cpu(options)));
  require_special_tokens(path, llama_model_get_vocab(model));
  return loaded;
}

ModelFacts Model::facts() const {
  const llama_model* m = model_.get();
  const llama_vocab* vocab = llama_model_get_vocab(m);
  ModelFacts facts;
  facts.description = read_string(
      [m](char* buffer, std::size_t size) { return llama_model_desc(m, buffer, size); });
  facts.architecture = architecture(m);
  facts.vocabulary_type = vocabulary_name(llama_vocab_type(vocab));
  facts.parameters = llama_model_n_params(m);
  facts.bytes = llama_model_size(m);
  facts.vocab_size = tokenizer_.size();
  facts.context_size_trained = llama_model_n_ctx_train(m);
  facts.layers = llama_model_n_layer(m);
  facts.embedding_size = llama_model_n_embd(m);
  facts.heads = llama_model_n_head(m);
  facts.kv_heads = llama_model_n_head_kv(m);
  const int quotient = facts.embedding_size / std::max(facts.heads, 1);
  facts.key_size = number(m, facts.architecture + ".attention.key_length", quotient);
  facts.value_size = number(m, facts.architecture + ".attention.value_length", quotient);
  facts.sliding_window = llama_model_n_swa(m);
  facts.memory = memory();
  const bool is_usual = facts.memory == MemoryKind::attention;
  const std::size_t usual = is_encoder() ? 0
                                         : static_cast<std::size_t>(facts.kv_heads) *
                                               static_cast<std::size_t>(facts.layers);
  const MemoryShape shape = is_usual ? MemoryShape{usual, 0} : memory_shape(GgufFile(path_));
  facts.stored_heads = shape.kv_heads;
  facts.state_bytes = shape.state_bytes;
  facts.bos = token_or_none(llama_vocab_bos(vocab));
  facts.eos = token_or_none(llama_vocab_eos(vocab));
  for (Token token = 0; token < facts.vocab_size; ++token) {
    if (tokenizer_.is_end_of_generation(token)) facts.end_of_generation.push_back(token);
  }
  return facts;
}

std::map<std::string, std::string> Model::metadata() const {
  const llama_model* m = model_.get();
  std::map<std::string, std::string> all;
  for (std::int32_t i = 0; i < llama_model_meta_count(m); ++i) {
    const auto key = read_string([m, i](char* buffer, std::size_t size) {
      return llama_model_meta_key_by_index(m, i, buffer, size);
    });
    all[key] = read_string([m, i](char* buffer, std::size_t size) {
      return llama_model_meta_val_str_by_index(m, i, buffer, size);
    });
  }
  return all;
}

std::optional<std::string> Model::chat_template() const {
  const char* text = llama_model_chat_template(model_.get(), nullptr);
  return text == nullptr ? std::nullopt : std::optional<std::string>(text);
}

MemoryKind Model::memory() const {
  const llama_model* m = model_.get();
  if (llama_model_is_recurrent(m)) return MemoryKind::recurrent;
  return llama_model_is_hybrid(m) ? MemoryKind::hybrid : MemoryKind::attention;
}

bool Model::is_encoder() const { return is_classifying_encoder(architecture(model_.get())); }

void Model::require_decodable() const {
  const llama_model* m = model_.get();
  const auto refuse = [this](const char* why) { throw ModelLoadError(path_ + " " + why); };
  if (is_encoder()) {
    refuse(
        "is an encoder with a classification head, which has no next-token law: it is a reward "
        "(classifier:FILE on the command line, GGUFRewardModel in Python), no target and no draft");
  }
  if (llama_model_is_diffusion(m)) refuse("is a diffusion model: it has no next-token law");
  if (llama_model_has_encoder(m) || !llama_model_has_decoder(m)) {
    refuse("is not a decoder-only language model");
  }
}

void Model::require_classifying() const {
  const std::string_view head = head_tensor(architecture(model_.get()));
  if (!GgufFile(path_).has_tensor(head)) {
    throw ModelLoadError(path_ + " has no classification head (" + std::string(head) + ")");
  }
  const bool is_softmax = architecture(model_.get()).starts_with("qwen3");  // llama.cpp adds it
  if (is_softmax && class_outputs() == 1) {
    throw ModelLoadError(path_ +
                         " has a classification head of one output, after which llama.cpp puts a "
                         "softmax for this architecture: it would say 1 of every text");
  }
}

bool Model::has_dense_head() const { return GgufFile(path_).has_tensor("cls.weight"); }

std::optional<Token> Model::second_separator() const {
  const llama_vocab* vocab = llama_model_get_vocab(model_.get());
  // llama.cpp's converter says of ModernBERT what is so of RoBERTa only.
  const bool is_one = llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_WPM ||
                      architecture(model_.get()) == "modern-bert";
  if (is_one || !llama_vocab_get_add_sep(vocab)) return std::nullopt;
  return token_or_none(llama_vocab_sep(vocab));
}

int Model::class_outputs() const { return static_cast<int>(llama_model_n_cls_out(model_.get())); }

std::vector<std::string> Model::class_labels() const {
  std::vector<std::string> labels;
  for (int i = 0; i < class_outputs(); ++i) {
    const char* label = llama_model_cls_label(model_.get(), static_cast<std::uint32_t>(i));
    if (label == nullptr) return {};
    labels.emplace_back(label);
  }
  return labels;
}

Adapter::Adapter(std::shared_ptr<const Model> model, const std::string& path)
    : model_(std::move(model)), path_(path) {
  require_loadable_adapter(path, experts(model_->model_.get()));
  const ErrorScope errors;
  std::string reason;
  try {
    adapter_.reset(llama_adapter_lora_init(model_->model_.get(), path.c_str()));
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (adapter_ == nullptr) {
    throw ModelLoadError(path + " is no LoRA adapter for " + model_->path() + ": " +
                         (reason.empty() ? errors.reason("llama.cpp gave no reason") : reason));
  }
}

void Adapter::Free::operator()(llama_adapter_lora* adapter) const {
  if (home.is_here()) llama_adapter_lora_free(adapter);
}

void require_same_vocabulary(const Model& a, const std::string& name_a, const Model& b,
                             const std::string& name_b) {
  const int size_a = a.tokenizer().size();
  const int size_b = b.tokenizer().size();
  const auto fail = [&](const std::string& what) {
    throw VocabularyMismatchError("the " + name_a + " (" + a.path() + ") and the " + name_b + " (" +
                                  b.path() + ") have different vocabularies: " + what);
  };
  const int common = std::min(size_a, size_b);
  for (Token token = 0; token < common; ++token) {
    const std::string piece_a = a.tokenizer().piece(token, true);
    const std::string piece_b = b.tokenizer().piece(token, true);
    if (piece_a != piece_b) {
      fail("token " + std::to_string(token) + " is '" + piece_a + "' in the " + name_a + " and '" +
           piece_b + "' in the " + name_b);
    }
  }
  if (std::max(size_a, size_b) - common > kPaddingTolerance) {
    fail("they have " + std::to_string(size_a) + " and " + std::to_string(size_b) +
         " tokens, and may differ by " + std::to_string(kPaddingTolerance) + " at most");
  }
}

}  // namespace rewardshift::llama
