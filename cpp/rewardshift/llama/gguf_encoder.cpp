#include "rewardshift/llama/gguf_encoder.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "rewardshift/llama/gguf_architecture.h"

namespace rewardshift::llama {
namespace {

class EncoderCheck {
 public:
  explicit EncoderCheck(const GgufFile& file)
      : file_(file), architecture_(file.architecture()), layers_(value("block_count", 1)) {}

  void require_sound() const {
    require_whole_heads();
    const std::int64_t width = value("embedding_length", 1);
    require(value("embedding_length_out", width) == width, "embedding_length_out",
            "embedding_length (" + std::to_string(width) + ")");
    if (architecture_ == "modern-bert") require_both_windows();
    if (architecture_ == "modern-bert") require_gated_activation();
    if (architecture_ != "jina-bert-v2") return;
    require_one_output();
    for (std::int64_t layer = 0; layer < layers_; ++layer) require_jina_layer(layer);
  }

 private:
  /// Matrices are taken apart, or normalised, as if there were as many heads of keys as of queries.
  void require_whole_heads() const {
    const auto all = file_.naturals(file_.key("attention.head_count"));
    const auto stored = file_.naturals(file_.key("attention.head_count_kv"));
    const std::int64_t heads = all.empty() ? 1 : all.front();
    const auto is_usual = [=](std::int64_t count) { return count == heads; };
    if (!std::ranges::all_of(all, is_usual) || !std::ranges::all_of(stored, is_usual)) {
      file_.refuse("says " + file_.key("attention.head_count") +
                   " and head_count_kv are not the same number in all layers");
    }
    const std::int64_t width = value("embedding_length", 1);
    const std::int64_t size = value("attention.key_length", width / heads);
    require(size * heads == width, "attention.head_count",
            "as many as make up embedding_length (" + std::to_string(width) + ")");
  }

  /// llama.cpp fills a mask for layers with a window and one for those without, and asserts that
  /// something reads them. The pattern is a flag for each layer, or the number of layers of which
  /// the first has none.
  void require_both_windows() const {
    if (value("attention.sliding_window", 0) == 0) return;
    const std::string key = file_.key("attention.sliding_window_pattern");
    std::int64_t windowed = 0;
    if (file_.has(key) && !file_.natural(key)) {
      auto flags = file_.naturals(key);
      flags.resize(static_cast<std::size_t>(layers_), 0);
      windowed = std::ranges::count_if(flags, [](std::int64_t flag) { return flag != 0; });
    } else {
      const std::int64_t period = file_.natural(key).value_or(3);
      windowed = layers_ - (period == 0 ? 0 : (layers_ + period - 1) / period);
    }
    if (windowed > 0 && windowed < layers_) return;
    file_.refuse("gives " + std::string(windowed == 0 ? "no layer" : "every layer") +
                 " a window under " + key);
  }

  /// The matrix before it has gates and values in one.
  void require_gated_activation() const {
    const auto name = file_.text(file_.key("hidden_activation"));
    if (name != "relu") return;
    file_.refuse("says " + file_.key("hidden_activation") + " is 'relu', which has no gates");
  }

  /// Its head has no other matrix, and says one thing.
  void require_one_output() const {
    const std::size_t labels = file_.texts(file_.key("classifier.output_labels")).size();
    if (labels > 1) {
      file_.refuse("names " + std::to_string(labels) + " outputs of a head that has one");
    }
  }

  void require_jina_layer(std::int64_t layer) const {
    const auto tensor = [&](const char* part) {
      return file_.tensor("blk." + std::to_string(layer) + "." + part + ".weight");
    };
    const auto widths = file_.naturals(file_.key("feed_forward_length"));
    const std::int64_t inner = widths.empty() ? 0 : widths.front();
    const GgufTensor* up = tensor("ffn_up");
    const bool has_gate = tensor("ffn_gate") != nullptr;
    const bool is_right = up == nullptr || up->shape[1] == inner ||
                          (!has_gate && up->shape[1] == 2 * inner);  // it has the gates in it
    if (!is_right) {
      file_.refuse("has the tensor '" + up->name + "' of " + std::to_string(up->shape[1]) +
                   " rows, where " + std::to_string(inner) + " fit");
    }
    if (tensor("attn_qkv") && (tensor("attn_q_norm") || tensor("attn_k_norm"))) {
      file_.refuse("has queries and keys in one matrix in layer " + std::to_string(layer) +
                   ", where llama.cpp cannot normalise them");
    }
  }

  std::int64_t value(std::string_view name, std::int64_t otherwise) const {
    const auto found = file_.natural(file_.key(name));
    return found ? static_cast<std::int64_t>(*found) : otherwise;
  }

  void require(bool right, std::string_view name, const std::string& wanted) const {
    if (right) return;
    file_.refuse("says " + file_.key(name) + " is " + std::to_string(value(name, 0)) +
                 ", which is not " + wanted);
  }

  const GgufFile& file_;
  std::string architecture_;
  std::int64_t layers_;
};

}  // namespace

void require_sound_encoder(const GgufFile& file) {
  if (is_classifying_encoder(file.architecture())) EncoderCheck(file).require_sound();
}

}  // namespace rewardshift::llama
