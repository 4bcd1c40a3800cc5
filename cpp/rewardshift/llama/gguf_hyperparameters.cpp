#include "rewardshift/llama/gguf_hyperparameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "rewardshift/llama/gguf_architecture.h"
#include "rewardshift/llama/gguf_recurrent.h"

namespace rewardshift::llama {
namespace {

constexpr std::uint32_t kMostLayers = 512;    // llama.cpp's LLAMA_MAX_LAYERS
constexpr std::uint32_t kMostExperts = 1024;  // llama.cpp's LLAMA_MAX_EXPERTS

/// Sizes beyond this are no model's, and products of two still fit 64 bits.
constexpr std::uint32_t kMostAnything = std::numeric_limits<std::int32_t>::max();

/// Architectures whose graphs assert that keys and values have one size and rotate whole.
constexpr std::array<std::string_view, 56> kWholeHeads = {
    "apertus",     "arcee",        "arctic",        "baichuan",      "chameleon", "codeshell",
    "cogvlm",      "cohere2moe",   "dbrx",          "deci",          "deepseek",  "dots1",
    "ernie4_5",    "ernie4_5-moe", "exaone",        "exaone-moe",    "exaone4",   "falcon",
    "granite",     "granite_swa",  "granitemoe",    "graniteswitch", "grok",      "grovemoe",
    "hunyuan-moe", "hunyuan_vl",   "hunyuan-dense", "hy_v3",         "internlm2", "jais2",
    "llama",       "llama4",       "maincoder",     "mellum",        "minicpm",   "mistral3",
    "olmo",        "olmo2",        "olmoe",         "orion",         "paddleocr", "pangu-embedded",
    "plamo",       "qwen2",        "qwen2moe",      "qwen2vl",       "qwen3",     "qwen3moe",
    "qwen3vl",     "qwen3vlmoe",   "seed_oss",      "smallthinker",  "smollm3",   "starcoder2",
    "talkie",      "xverse"};

/// Architectures whose keys and values may differ in size (latent attention and the like).
constexpr std::array<std::string_view, 17> kUnequalHeads = {
    "deepseek2", "deepseek2-ocr", "deepseek32", "dots3note", "glm-dsa",    "mimo2",
    "minicpm3",  "mistral4",      "plm",        "hy_v4",     "step35",     "gemma4",
    "gemma3n",   "openelm",       "minimax-m3", "hrm_text",  "kimi-linear"};

template <class Names>
bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

class Hyperparameters {
 public:
  explicit Hyperparameters(const GgufFile& file) : file_(file), layers_(layers()) {}

  void require_sound() const {
    require_finite();
    require_sizes();
    require_windows();
    require_scaling();
    require_experts();
    if (is_headless(file_.architecture())) return;
    const std::int64_t first = heads("attention.head_count", 0);
    if (first < 1) file_.refuse("names no positive " + file_.key("attention.head_count"));
    require_heads();
  }

 private:
  std::uint32_t layers() const {
    const std::uint32_t all = value("block_count", 1);
    require(all >= 1 && all <= kMostLayers, "block_count", all,
            "between 1 and " + std::to_string(kMostLayers));
    const std::uint32_t predicting = value("nextn_predict_layers", 0);
    require(predicting < all, "nextn_predict_layers", predicting, "less than block_count");
    return all;
  }

  void require_finite() const {
    const std::string prefix = file_.key("");
    for (const auto& [key, number] : file_.reals()) {
      if (!key.starts_with(prefix)) continue;
      const bool is_epsilon = key.ends_with("epsilon") || key.ends_with("_eps");
      if (!std::isfinite(number) || (is_epsilon && number < 0)) {
        file_.refuse("says " + std::string(key) + " is " + std::to_string(number));
      }
    }
  }

  void require_sizes() const {
    for (const char* name : {"context_length", "embedding_length", "attention.sliding_window"}) {
      const std::uint32_t size = value(name, 1);
      const std::uint32_t least = name == std::string_view("attention.sliding_window") ? 0 : 1;
      require(size >= least && size <= kMostAnything, name, size, "a positive number of 31 bits");
    }
    for (const std::int64_t width : file_.naturals(file_.key("feed_forward_length"))) {
      require(width >= 0 && width <= kMostAnything, "feed_forward_length", width,
              "a positive number of 31 bits");
    }
    if (file_.flag(file_.key("attention.causal")) == false &&
        !is_classifying_encoder(file_.architecture())) {
      file_.refuse("is no causal model: it has no next-token law");
    }
  }

  /// Where there is a window, llama.cpp asserts that some layer has it. The pattern is a flag for
  /// each layer, or the number of layers of which the last has none.
  void require_windows() const {
    constexpr std::array<std::string_view, 2> always = {"gemma2", "llama4"};
    const std::string key = file_.key("attention.sliding_window_pattern");
    if (value("attention.sliding_window", 0) == 0 && !contains(always, file_.architecture()))
      return;
    if (!file_.has(key)) return;
    const auto period = file_.natural(key);
    const auto flags = file_.naturals(key);
    const auto count = static_cast<std::ptrdiff_t>(std::min<std::size_t>(flags.size(), layers_));
    const bool some =
        std::any_of(flags.begin(), flags.begin() + count, [](std::int64_t f) { return f != 0; });
    if (period ? *period == 1 : !some) file_.refuse("gives no layer a window under " + key);
  }

  void require_scaling() const {
    constexpr std::array<std::string_view, 4> known = {"none", "linear", "yarn", "longrope"};
    const auto type = file_.text(file_.key("rope.scaling.type"));
    if (type && !contains(known, *type)) {
      file_.refuse("says " + file_.key("rope.scaling.type") + " is '" + std::string(*type) +
                   "', which is none that llama.cpp knows");
    }
  }

  void require_experts() const {
    const std::uint32_t experts = value("expert_count", 0);
    require(experts <= kMostExperts, "expert_count", experts,
            "at most " + std::to_string(kMostExperts));
    std::int64_t most_used = 0;
    for (const std::int64_t used : file_.naturals(file_.key("expert_used_count"))) {
      require(used >= 0 && used <= experts, "expert_used_count", used,
              "at most expert_count (" + std::to_string(experts) + ")");
      most_used = std::max(most_used, used);
    }
    require(experts == 0 || most_used > 0, "expert_used_count", most_used, "positive");
    const std::uint32_t groups = value("expert_group_count", 0);
    const std::uint32_t groups_used = value("expert_group_used_count", 0);
    require(groups == 0 || groups < experts, "expert_group_count", groups,
            "less than expert_count");
    if (groups > 1) {
      require(experts % groups == 0, "expert_group_count", groups, "a divisor of expert_count");
      require(groups_used > 0 && groups_used < groups, "expert_group_used_count", groups_used,
              "between 1 and expert_group_count - 1");
    }
  }

  void require_heads() const {
    for (std::size_t layer = 0; layer < layers_; ++layer) {
      const std::int64_t all = heads("attention.head_count", layer);
      const auto stored = file_.naturals(file_.key("attention.head_count_kv"));
      const std::int64_t kv = stored.empty() ? all : heads("attention.head_count_kv", layer);
      require(all >= 0 && all <= kMostAnything, "attention.head_count", all, "a positive number");
      require(kv == 0 || (kv > 0 && kv <= all && all % kv == 0), "attention.head_count_kv", kv,
              "a divisor of attention.head_count (" + std::to_string(all) + ")");
    }
    const std::int64_t usual = value("embedding_length", 1) / heads("attention.head_count", 0);
    const auto size = static_cast<std::uint32_t>(usual);
    require_head("attention.key_length", "attention.value_length", "rope.dimension_count",
                 {value("attention.key_length", size), value("attention.value_length", size), 0});
    const std::uint32_t key = value("attention.key_length", size);
    const std::uint32_t key_swa = value("attention.key_length_swa", key);
    const std::uint32_t value_swa =
        value("attention.value_length_swa", value("attention.value_length", size));
    require_head("attention.key_length_swa", "attention.value_length_swa",
                 "rope.dimension_count_swa",
                 {key_swa, value_swa, value("rope.dimension_count", key)});
    require_sections(key);
  }

  struct Head {
    std::uint32_t key;
    std::uint32_t value;
    std::uint32_t rotated;  ///< where the file does not say; 0 is the whole key
  };

  void require_head(const char* key_name, const char* value_name, const char* rotated_name,
                    const Head& head) const {
    require(head.key >= 1 && head.key <= kMostAnything, key_name, head.key, "positive");
    require(head.value >= 1 && head.value <= kMostAnything, value_name, head.value, "positive");
    const std::string arch = file_.architecture();
    const std::uint32_t rotated = value(rotated_name, head.rotated > 0 ? head.rotated : head.key);
    require(rotated > 0 && rotated % 2 == 0 && rotated <= head.key, rotated_name, rotated,
            "positive, even and at most the size of a head (" + std::to_string(head.key) + ")");
    if (contains(kWholeHeads, arch)) {
      require(rotated == head.key, rotated_name, rotated,
              "the size of a head (" + std::to_string(head.key) + ")");
    }
    if (!contains(kUnequalHeads, arch)) {
      require(head.value == head.key, value_name, head.value,
              "the size of a key (" + std::to_string(head.key) + ")");
    }
  }

  /// llama.cpp takes a rotated position modulo the sum of the sections.
  void require_sections(std::uint32_t head) const {
    const auto sections = file_.naturals(file_.key("rope.dimension_sections"));
    if (sections.empty()) return;
    std::int64_t sum = 0;
    for (const std::int64_t section : sections) {
      require(section >= 0 && section <= head, "rope.dimension_sections", section,
              "at most the size of a head (" + std::to_string(head) + ")");
      sum += section;
    }
    require(sum > 0 && sum <= head, "rope.dimension_sections", sum,
            "positive in sum and at most the size of a head (" + std::to_string(head) + ")");
  }

  /// Of a layer: arrays have an entry for each, numbers hold for all.
  std::int64_t heads(const char* name, std::size_t layer) const {
    const auto all = file_.naturals(file_.key(name));
    if (all.empty()) return 0;
    return all.size() == 1 ? all[0] : all[std::min(layer, all.size() - 1)];
  }

  std::uint32_t value(const char* name, std::uint32_t otherwise) const {
    return file_.natural(file_.key(name)).value_or(otherwise);
  }

  void require(bool right, const char* name, std::int64_t got, const std::string& wanted) const {
    if (right) return;
    file_.refuse("says " + file_.key(name) + " is " + std::to_string(got) + ", which is not " +
                 wanted);
  }

  const GgufFile& file_;
  std::uint32_t layers_;
};

}  // namespace

void require_sound_hyperparameters(const GgufFile& file) { Hyperparameters(file).require_sound(); }

}  // namespace rewardshift::llama
