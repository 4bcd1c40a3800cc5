#include "rewardshift/llama/gguf_cuda.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "rewardshift/error.h"
#include "rewardshift/llama/gguf_file.h"
#include "rewardshift/llama/system.h"

namespace rewardshift::llama {
namespace {

/// Sizes that a kind of layer is compiled for, by the key that tells the model's.
struct Compiled {
  std::string_view key;
  std::vector<std::int64_t> sizes;
  std::vector<std::string_view> architectures;  ///< all, where there are none
};

/// From ggml-cuda's gated_delta_net.cu, wkv.cu and ssm-conv.cu.
const std::vector<Compiled>& compiled() {
  static const std::vector<Compiled> all = {
      {"ssm.state_size", {16, 32, 64, 128}, {"qwen3next", "qwen35", "qwen35moe"}},
      {"kda.head_dim", {16, 32, 64, 128}, {}},
      {"wkv.head_size", {64, 128}, {}},
      {"ssm.conv_kernel", {3, 4, 5, 9, 15}, {}},
      {"shortconv.l_cache", {3, 4, 5, 9, 15}, {}},
  };
  return all;
}

template <class Values, class Value>
bool contains(const Values& values, const Value& value) {
  return std::ranges::find(values, value) != values.end();
}

/// AMD's and Moore Threads' are compiled from the same sources.
bool is_cuda(const Device& device) {
  return device.backend == "CUDA" || device.backend == "ROCm" || device.backend == "MUSA";
}

}  // namespace

std::optional<std::string> cuda_lacks(const std::string& path) {
  const GgufFile file(path);
  const std::string architecture = file.architecture();
  for (const auto& [name, sizes, architectures] : compiled()) {
    if (!architectures.empty() && !contains(architectures, architecture)) continue;
    const std::string key = file.key(name);
    const auto size = file.natural(key);
    if (!size || contains(sizes, std::int64_t{*size})) continue;
    std::string known;
    for (const std::int64_t each : sizes)
      known += (known.empty() ? "" : ", ") + std::to_string(each);
    return key + " is " + std::to_string(*size) + ", none of " + known;
  }
  return std::nullopt;
}

void require_cuda_kernels(const std::string& path) {
  if (!std::ranges::any_of(devices(), is_cuda)) return;
  const auto lacking = cuda_lacks(path);
  if (!lacking) return;
  throw ModelLoadError(path + " cannot be computed by CUDA's kernels: " + *lacking +
                       ". Leave it to the processor: n_gpu_layers=0 (-ngl 0)");
}

}  // namespace rewardshift::llama
