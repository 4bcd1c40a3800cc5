#include "rewardshift/llama/context_needs.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "rewardshift/error.h"
#include "rewardshift/llama/memory.h"
#include "rewardshift/require.h"

namespace rewardshift::llama {
namespace {

/// What the CPU backend can write rows of; it aborts on others.
constexpr std::array kCacheTypes = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16,
                                    GGML_TYPE_Q8_0, GGML_TYPE_Q5_1, GGML_TYPE_Q5_0,
                                    GGML_TYPE_Q4_1, GGML_TYPE_Q4_0, GGML_TYPE_IQ4_NL};

std::size_t cache_bytes(const ModelFacts& facts, const llama_context_params& params) {
  const auto per_value = [](ggml_type type) {
    return static_cast<double>(ggml_type_size(type)) / static_cast<double>(ggml_blck_size(type));
  };
  const double per_cell =
      facts.key_size * per_value(params.type_k) + facts.value_size * per_value(params.type_v);
  return static_cast<std::size_t>(per_cell * static_cast<double>(facts.stored_heads) *
                                  static_cast<double>(params.n_ctx)) +
         facts.state_bytes * params.n_seq_max * (1 + params.n_rs_seq);
}

/// What llama.cpp computes with, of which the larger parts are estimated: the attention's mask and,
/// without flash attention, its scores (one layer at a time), and the rows of logits.
std::size_t compute_bytes(const ModelFacts& facts, const llama_context_params& params) {
  const bool scores = params.flash_attn_type == LLAMA_FLASH_ATTN_TYPE_DISABLED;
  const double per_cell = 6.0 + (scores ? 8.0 * facts.heads : 0.0);  // f32 and f16; twice f32
  const double rows = 8.0 * params.n_outputs_max * facts.vocab_size;
  return static_cast<std::size_t>(per_cell * params.n_ctx * params.n_ubatch + rows);
}

}  // namespace

std::optional<ggml_type> cache_type(const std::string& name) {
  for (const ggml_type type : kCacheTypes) {
    if (name == ggml_type_name(type)) return type;
  }
  return std::nullopt;
}

void choose_attention(std::optional<bool> wanted, bool is_on_cpu, llama_context_params& params) {
  constexpr std::uint32_t kScoredAtOnce = 128;  // as fast as more, where it was measured
  if (!wanted && is_on_cpu && !ggml_is_quantized(params.type_v)) {
    wanted = false;
    params.n_ubatch = std::min(params.n_ubatch, kScoredAtOnce);
  }
  if (!wanted) return;  // llama.cpp asks the backend
  params.flash_attn_type = *wanted ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
}

std::uint32_t cells_apart(const llama_context_params& params, const ModelFacts& facts) {
  constexpr std::uint32_t kRounding = 256;
  const bool lies_in_rows = params.flash_attn_type == LLAMA_FLASH_ATTN_TYPE_DISABLED;
  const std::uint32_t cells = (params.n_ctx + kRounding - 1) / kRounding * kRounding;
  const std::uint32_t more = cells + kRounding;
  const bool is_even = cells % (2 * kRounding) == 0;
  const bool fits = more <= static_cast<std::uint32_t>(facts.context_size_trained);
  return params.kv_unified && lies_in_rows && is_even && fits ? more : params.n_ctx;
}

void require_fitting_cache(const llama_context_params& params, const ModelFacts& facts) {
  for (const auto& [option, type, head] : {std::tuple{"type_k", params.type_k, facts.key_size},
                                           std::tuple{"type_v", params.type_v, facts.value_size}}) {
    const auto block = ggml_blck_size(type);
    require(head % block == 0, option,
            "a type whose blocks divide the model's heads of " + std::to_string(head) + " values",
            std::string(ggml_type_name(type)) + " (blocks of " + std::to_string(block) + ")");
  }
  require(
      !ggml_is_quantized(params.type_v) || params.flash_attn_type != LLAMA_FLASH_ATTN_TYPE_DISABLED,
      "type_v", "f32, f16 or bf16 without flash attention", ggml_type_name(params.type_v));
}

std::size_t needed_bytes(const ModelFacts& facts, const llama_context_params& params) {
  return cache_bytes(facts, params) + compute_bytes(facts, params);
}

void require_memory(const std::string& needs, std::size_t bytes) {
  constexpr std::size_t kSmallAllocations = std::size_t{64} << 20;
  const bool on_host = !llama_supports_gpu_offload();  // a GPU has its own memory, and its errors
  const std::size_t available = available_memory();
  if (on_host && bytes > available) {
    throw OutOfMemoryError(needs + "; " + std::to_string(available) + " are available", bytes);
  }
  if (on_host && !can_allocate(bytes + kSmallAllocations)) {
    throw OutOfMemoryError(needs + ", which this process may not allocate", bytes);
  }
}

}  // namespace rewardshift::llama
