// What a context needs of its model's file and of the memory.
#pragma once

#include <llama.h>

#include <cstddef>
#include <optional>
#include <string>

#include "rewardshift/llama/model.h"

namespace rewardshift::llama {

/// The type of a cache by its name; none that the CPU backend cannot write rows of.
std::optional<ggml_type> cache_type(const std::string& name);

/// Whether to use flash attention: as the user wants it, or see ContextOptions. Without it, fewer
/// tokens are evaluated at once, whose scores would need much memory.
void choose_attention(std::optional<bool> wanted, bool is_on_cpu, llama_context_params& params);

/// Cells to make for n_ctx tokens. Without flash attention a channel of the values lies in a row of
/// n_ctx, and rows that are powers of two apart compete for the same few lines of the processor's
/// caches: single tokens took 3 to 4 % longer. llama.cpp makes multiples of 256; odd ones are none.
std::uint32_t cells_apart(const llama_context_params& params, const ModelFacts& facts);

/// Throws std::invalid_argument unless quantised cache types fit the model's heads.
void require_fitting_cache(const llama_context_params& params, const ModelFacts& facts);

/// Bytes of cache and buffers, of which the larger ones are estimated.
std::size_t needed_bytes(const ModelFacts& facts, const llama_context_params& params);

/// Refuses what would end the process: the kernel kills it when memory runs out, and llama.cpp
/// aborts where one of its many small allocations fails. Throws OutOfMemoryError, which says what
/// `needs` the bytes.
void require_memory(const std::string& needs, std::size_t bytes);

}  // namespace rewardshift::llama
