#include "rewardshift/llama/gguf_recurrent.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

namespace rewardshift::llama {
namespace {

using Names = std::initializer_list<std::string_view>;

bool is_one_of(std::string_view name, Names names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

class States {
 public:
  explicit States(const GgufFile& file) : file_(file), architecture_(file.architecture()) {}

  void require_sound() const {
    if (is_one_of(architecture_, {"mamba", "jamba", "plamo2"})) {
      require_scan();
    } else if (is_one_of(architecture_, {"mamba2", "falcon-h1", "granitehybrid", "nemotron_h",
                                         "nemotron_h_moe"})) {
      require_grouped_scan();
    } else if (is_one_of(architecture_, {"qwen3next", "qwen35", "qwen35moe"})) {
      require_delta_net();
    } else if (is_one_of(architecture_, {"lfm2", "lfm2moe"})) {
      require_convolution();
    } else if (is_one_of(architecture_, {"rwkv6", "rwkv7"})) {
      require_rwkv();
    } else if (architecture_ == "kimi-linear") {
      require_kimi();
    }
  }

 private:
  /// Mamba's: a state for each inner channel.
  void require_scan() const {
    require_sizes({"ssm.inner_size", "ssm.state_size", "ssm.time_step_rank"});
    require_kernel("ssm.conv_kernel");
    if (architecture_ == "jamba") require_twice_as_wide();
    if (architecture_ != "plamo2") return;
    require_divisor("ssm.time_step_rank", "ssm.inner_size");
    require(value("ssm.group_count") == 0, "ssm.group_count", "0");
  }

  /// Mamba 2's: one for each head, of which groups share what they let in and out.
  void require_grouped_scan() const {
    require_sizes({"ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count"});
    require_kernel("ssm.conv_kernel");
    require_divisor("ssm.time_step_rank", "ssm.inner_size");
    require_divisor("ssm.group_count", "ssm.inner_size");
    require_divisor("ssm.group_count", "ssm.time_step_rank");
    if (architecture_ == "granitehybrid") require_twice_as_wide();
    if (architecture_ == "nemotron_h_moe") require_experts_by_layer();
  }

  void require_delta_net() const {
    require_sizes({"ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count"});
    require_kernel("ssm.conv_kernel");
    require_divisor("ssm.group_count", "ssm.time_step_rank");
    const std::int64_t wanted = value("ssm.state_size") * value("ssm.time_step_rank");
    require(value("ssm.inner_size") == wanted, "ssm.inner_size",
            "ssm.state_size times ssm.time_step_rank (" + std::to_string(wanted) + ")");
    const std::string interval = "full_attention_interval";
    require(!has(interval) || value(interval) > 0, interval, "positive");
    require_delta_projections();
  }

  /// llama.cpp loads a layer without them, and evaluates it all the same. A file that is a part of
  /// a model may have the rest of a layer in another part.
  void require_delta_projections() const {
    constexpr std::string_view kOfEachLayer = "ssm_conv1d.weight";
    if (file_.short_natural("split.count").value_or(0) > 1) return;
    for (const GgufTensor& tensor : file_.tensors()) {
      if (!tensor.name.ends_with(kOfEachLayer)) continue;
      const std::string layer(tensor.name, 0, tensor.name.size() - kOfEachLayer.size());
      const bool is_in_one =
          architecture_ == "qwen3next" && file_.has_tensor(layer + "ssm_in.weight");
      const bool has_qkv = file_.has_tensor(layer + "attn_qkv.weight");
      if (has_qkv ? file_.has_tensor(layer + "attn_gate.weight") : is_in_one) continue;
      file_.refuse("has no " + layer + (has_qkv ? "attn_gate" : "attn_qkv") +
                   ".weight, which its state is made of");
    }
  }

  void require_convolution() const {
    require_kernel("shortconv.l_cache");
    if (architecture_ != "lfm2moe" || value("leading_dense_block_count") >= value("block_count")) {
      return;
    }
    require(value("expert_count") > 0, "expert_count", "positive");
  }

  /// ggml reads whole registers of a head's numbers, of 64 at most.
  void require_rwkv() const {
    constexpr std::int64_t kRegisters = 64;
    const std::int64_t head = value("wkv.head_size");
    require(head > 0 && head % kRegisters == 0, "wkv.head_size",
            "a multiple of " + std::to_string(kRegisters));
    require_divisor("wkv.head_size", "embedding_length");
    const std::string shifts = "token_shift_count";
    require(!has(shifts) || value(shifts) == 2, shifts, "2");
    const bool is_7 = architecture_ == "rwkv7";
    if (is_7) {
      require_sizes({"attention.decay_lora_rank", "attention.iclr_lora_rank",
                     "attention.value_residual_mix_lora_rank"});
    } else {
      require_sizes({"time_mix_extra_dim", "time_decay_extra_dim"});
    }
  }

  void require_kimi() const {
    require_sizes({"kda.head_dim", "attention.kv_lora_rank", "rope.dimension_count",
                   "attention.key_length_mla", "attention.value_length_mla"});
    require_kernel("ssm.conv_kernel");
    const std::int64_t rotated = value("rope.dimension_count");
    require(rotated < value("attention.key_length_mla"), "rope.dimension_count",
            "less than attention.key_length_mla");
    const std::int64_t key = value("attention.kv_lora_rank") + rotated;
    require(
        value("attention.key_length") == key, "attention.key_length",
        "attention.kv_lora_rank and rope.dimension_count together (" + std::to_string(key) + ")");
    const std::int64_t rank = value("attention.kv_lora_rank");
    require(value("attention.value_length") == rank, "attention.value_length",
            "attention.kv_lora_rank (" + std::to_string(rank) + ")");
  }

  /// llama.cpp divides by how many experts a layer uses, where it does not say how wide they are.
  void require_experts_by_layer() const {
    const auto used = file_.naturals(file_.key("expert_used_count"));
    const auto widths = file_.naturals(file_.key("expert_feed_forward_length"));
    const bool is_said = !widths.empty() && std::ranges::find(widths, 0) == widths.end();
    const bool is_used = !used.empty() && std::ranges::find(used, 0) == used.end();
    if (is_said || is_used) return;
    file_.refuse("says of a layer neither " + file_.key("expert_feed_forward_length") + " nor " +
                 file_.key("expert_used_count"));
  }

  void require_twice_as_wide() const {
    require(value("ssm.inner_size") == 2 * value("embedding_length"), "ssm.inner_size",
            "twice embedding_length");
  }

  void require_sizes(Names names) const {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() / 8;
    for (const std::string_view name : names) {
      require(value(name) > 0 && value(name) <= kMost, name, "a positive number below 2^28");
    }
  }

  void require_kernel(std::string_view name) const {
    require(value(name) > 1 && value(name) <= 1024, name, "between 2 and 1024");
  }

  void require_divisor(std::string_view name, std::string_view of) const {
    require(value(of) % value(name) == 0, name,
            "a divisor of " + std::string(of) + " (" + std::to_string(value(of)) + ")");
  }

  bool has(std::string_view name) const { return file_.has(file_.key(name)); }

  /// 0 where the file says nothing.
  std::int64_t value(std::string_view name) const {
    return file_.natural(file_.key(name)).value_or(0);
  }

  void require(bool right, std::string_view name, const std::string& wanted) const {
    if (right) return;
    file_.refuse("says " + file_.key(name) + " is " + std::to_string(value(name)) +
                 ", which is not " + wanted);
  }

  const GgufFile& file_;
  std::string architecture_;
};

}  // namespace

bool is_headless(std::string_view architecture) {
  return is_one_of(architecture, {"mamba", "mamba2", "rwkv6", "rwkv7"});
}

bool is_elementwise_in_states(std::string_view tensor) {
  constexpr std::array<std::string_view, 6> kParts = {
      ".ssm_conv1d", ".ssm_a", ".ssm_d", ".shortconv.conv", ".time_mix_first", ".time_mix_lerp"};
  return std::ranges::any_of(kParts, [&](std::string_view part) {
    const auto found = tensor.find(part);
    if (found == std::string_view::npos) return false;
    const std::string_view rest = tensor.substr(found + part.size());
    return rest.empty() || rest.front() == '.' || rest.front() == '_';
  });
}

void require_sound_states(const GgufFile& file) { States(file).require_sound(); }

}  // namespace rewardshift::llama
