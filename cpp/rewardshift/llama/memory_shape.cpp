#include "rewardshift/llama/memory_shape.h"

#include <algorithm>
#include <numeric>
#include <string_view>

namespace rewardshift::llama {
namespace {

std::size_t value(const GgufFile& file, std::string_view name, std::size_t otherwise = 0) {
  return file.natural(file.key(name)).value_or(static_cast<std::uint32_t>(otherwise));
}

/// Each has a tensor by which it is known.
std::size_t recurrent_layers(const GgufFile& file) {
  const auto is_of_state = [](const GgufTensor& tensor) {
    const std::string_view name = tensor.name;
    return name.ends_with(".ssm_conv1d.weight") || name.ends_with(".ssm_conv1d_q.weight") ||
           name.ends_with(".shortconv.conv.weight") || name.ends_with(".time_mix_key.weight");
  };
  return static_cast<std::size_t>(std::ranges::count_if(file.tensors(), is_of_state));
}

/// As llama.cpp's llama_hparams::n_embd_r() and n_embd_s() have it.
std::size_t state_values_of_layer(const GgufFile& file) {
  const std::size_t width = value(file, "embedding_length");
  if (const std::size_t head = value(file, "wkv.head_size"); head > 0) {
    return width * (value(file, "token_shift_count", 2) + head);
  }
  if (const std::size_t kernel = value(file, "shortconv.l_cache"); kernel > 0) {
    return width * (kernel - 1);
  }
  const std::size_t before = value(file, "ssm.conv_kernel", 1) - 1;
  if (const std::size_t head = value(file, "kda.head_dim"); head > 0) {
    const auto heads = file.naturals(file.key("attention.head_count"));
    const std::size_t inner = head * static_cast<std::size_t>(heads.empty() ? 1 : heads.front());
    return inner * (3 * before + head);
  }
  const std::size_t inner = value(file, "ssm.inner_size");
  const std::size_t state = value(file, "ssm.state_size");
  return before * (inner + 2 * value(file, "ssm.group_count") * state) + state * inner;
}

}  // namespace

MemoryShape memory_shape(const GgufFile& file) {
  const std::size_t layers = value(file, "block_count");
  const std::size_t recurrent = recurrent_layers(file);
  const auto heads = file.naturals(file.key("attention.head_count_kv"));
  MemoryShape shape{0, recurrent * state_values_of_layer(file) * sizeof(float)};
  if (heads.size() == 1) {
    const bool does_both = file.architecture() == "falcon-h1";  // in every layer
    const std::size_t attending = does_both ? layers : layers - std::min(layers, recurrent);
    shape.kv_heads = attending * static_cast<std::size_t>(heads.front());
  } else {
    shape.kv_heads =
        static_cast<std::size_t>(std::accumulate(heads.begin(), heads.end(), std::int64_t{0}));
  }
  return shape;
}

}  // namespace rewardshift::llama
