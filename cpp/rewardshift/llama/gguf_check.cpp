#include "rewardshift/llama/gguf_check.h"

#include <ggml-cpu.h>
#include <llama.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/llama/gguf_architecture.h"
#include "rewardshift/llama/gguf_encoder.h"
#include "rewardshift/llama/gguf_file.h"
#include "rewardshift/llama/gguf_hyperparameters.h"
#include "rewardshift/llama/gguf_recurrent.h"
#include "rewardshift/llama/gguf_vocabulary.h"

namespace rewardshift::llama {
namespace {

constexpr std::uint32_t kLeastAlignment = 32;  // of what ggml's CPU backend takes for a tensor

/// Whether ggml's CPU backend has a kernel for products with a matrix of a type.
bool multiplies(ggml_type type) {
  return ggml_get_type_traits_cpu(type)->vec_dot != nullptr && type != GGML_TYPE_Q8_1;
}

std::string described(const GgufTensor& tensor) {
  return "tensor '" + tensor.name + "' of type " + ggml_type_name(tensor.type);
}

/// Vectors are added and multiplied element by element, which ggml does in F32 alone; matrices are
/// multiplied with.
void require_usable_tensors(const GgufFile& file) {
  const std::uint32_t alignment = file.natural("general.alignment").value_or(kLeastAlignment);
  if (alignment < kLeastAlignment) {
    file.refuse("says general.alignment is " + std::to_string(alignment) + ", which is less than " +
                std::to_string(kLeastAlignment));
  }
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    if (*std::min_element(tensor.shape.begin(), tensor.shape.end()) < 1) {
      file.refuse("has the empty tensor '" + tensor.name + "'");
    }
    const bool is_head = name == "cls.weight" || name == "cls.output.weight";  // of one output, too
    const bool elementwise = (tensor.is_vector() && !is_head) || name == "token_types.weight" ||
                             name.ends_with("_norm.weight") || name.ends_with(".bias") ||
                             is_elementwise_in_states(name);
    if (elementwise ? tensor.type != GGML_TYPE_F32 : !multiplies(tensor.type)) {
      file.refuse("has the " + described(tensor) +
                  (elementwise ? ", where only f32 can be computed with"
                               : ", which cannot be multiplied with"));
    }
  }
}

/// Phi-3 may hold its projections in one matrix or in three; llama.cpp takes none for an answer.
void require_projections(const GgufFile& file) {
  if (file.architecture() != "phi3") return;
  std::set<std::string> names;
  for (const GgufTensor& tensor : file.tensors()) names.insert(tensor.name);
  for (std::uint32_t i = 0; i < file.natural("phi3.block_count").value_or(0); ++i) {
    const auto has = [&](const char* part) {
      return names.contains("blk." + std::to_string(i) + "." + part + ".weight");
    };
    if (!has("attn_qkv") && !(has("attn_q") && has("attn_k") && has("attn_v"))) {
      file.refuse("has no attention projections in layer " + std::to_string(i));
    }
  }
}

/// Strings of a GGUF are UTF-8; all but tokens may be shown to the user.
void require_unicode(const GgufFile& file) {
  for (const auto& [key, text] : file.scalar_texts()) {
    if (!is_utf8(key)) file.refuse("has a key that is not UTF-8");
    if (!is_utf8(text)) file.refuse("has text under " + std::string(key) + " that is not UTF-8");
  }
}

/// The parts of a model split into several files, after the first: llama.cpp trusts their numbers.
void require_loadable_parts(const GgufFile& first) {
  const int count = first.short_natural("split.count").value_or(0);
  const int number = first.short_natural("split.no").value_or(0);
  if (count < 2 || number != 0) return;
  std::string prefix(first.path().size() + 1, '\0');
  const std::int32_t length =
      llama_split_prefix(prefix.data(), prefix.size(), first.path().c_str(), 0, count);
  if (length <= 0) {
    first.refuse("is a part of " + std::to_string(count) + ", but is not named as one");
  }
  prefix.resize(std::strlen(prefix.c_str()));
  for (int part = 1; part < count; ++part) {
    std::string path(prefix.size() + 32, '\0');
    llama_split_path(path.data(), path.size(), prefix.c_str(), part, count);
    path.resize(std::strlen(path.c_str()));
    const GgufFile file(path);
    if (file.short_natural("split.no") != part) {
      file.refuse("does not say that it is part " + std::to_string(part) + " of a model");
    }
    require_usable_tensors(file);
  }
}

struct LoraPair {
  const GgufTensor* a = nullptr;
  const GgufTensor* b = nullptr;
};

/// B·A must be a matrix, or for experts one each: llama.cpp compares the outer sizes only.
void require_multiplying_pair(const GgufFile& file, const std::string& name, const LoraPair& pair,
                              int experts) {
  const auto& a = pair.a->shape;
  const auto& b = pair.b->shape;
  const auto fail = [&](const std::string& why) {
    file.refuse("cannot be applied: the factors of '" + name + "' " + why);
  };
  const std::int64_t count = name.find("_exps") == std::string::npos ? 1 : experts;
  if (a[2] != count || b[2] != count || a[3] != 1 || b[3] != 1) {
    fail("should be " + std::to_string(count) + " matrices each");
  }
  const bool is_embedding = name.ends_with("token_embd.weight");  // there A is stored transposed
  const std::int64_t rank_of_a = is_embedding ? a[0] : a[1];
  if (rank_of_a != b[0]) {
    fail("have the ranks " + std::to_string(rank_of_a) + " and " + std::to_string(b[0]));
  }
}

void require_lora_metadata(const GgufFile& file) {
  for (const char* key : {"general.type", "general.architecture", "adapter.type"}) {
    if (!file.text(key)) {
      file.refuse("is no LoRA adapter: it has no text under " + std::string(key));
    }
  }
  if (!file.has("adapter.lora.alpha")) return;  // llama.cpp does not scale then
  const auto alpha = file.real("adapter.lora.alpha");
  if (!alpha || !std::isfinite(*alpha)) {
    file.refuse("cannot be applied: adapter.lora.alpha is no finite number of type f32");
  }
}

}  // namespace

void require_loadable_model(const std::string& path) {
  const GgufFile file(path);
  if (file.text("general.type") == "adapter") {
    file.refuse("cannot be loaded: it is an adapter, not a model");
  }
  require_usable_architecture(file);
  require_unicode(file);
  require_usable_tensors(file);
  require_loadable_parts(file);
  require_sound_hyperparameters(file);
  require_sound_states(file);
  require_sound_encoder(file);
  require_projections(file);
  require_sound_vocabulary(file);
}

void require_loadable_adapter(const std::string& path, int experts) {
  const GgufFile file(path);
  require_unicode(file);
  require_lora_metadata(file);
  std::map<std::string, LoraPair> pairs;
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    const bool is_a = name.ends_with(".lora_a");
    if (!is_a && !name.ends_with(".lora_b")) continue;
    if (*std::min_element(tensor.shape.begin(), tensor.shape.end()) < 1) {
      file.refuse("has the empty tensor '" + tensor.name + "'");
    }
    if (!multiplies(tensor.type)) {
      file.refuse("has the " + described(tensor) + ", which cannot be multiplied with");
    }
    LoraPair& pair = pairs[std::string(name.substr(0, name.size() - 7))];
    (is_a ? pair.a : pair.b) = &tensor;
  }
  for (const auto& [name, pair] : pairs) {
    if (pair.a != nullptr && pair.b != nullptr) {
      require_multiplying_pair(file, name, pair, experts);
    }
  }
}

bool is_whole_gguf(const std::string& path) {
  try {
    std::error_code unknown;
    const auto size = std::filesystem::file_size(path, unknown);
    return !unknown && size >= GgufFile(path).end_of_tensors();
  } catch (const ModelLoadError&) {
    return false;
  }
}

}  // namespace rewardshift::llama
