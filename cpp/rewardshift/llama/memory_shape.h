// How much a model remembers of a history.
#pragma once

#include <cstddef>

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

struct MemoryShape {
  std::size_t kv_heads;     ///< that store a key and a value of each token, in all layers
  std::size_t state_bytes;  ///< of one sequence's recurrent state
};

/// Of a recurrent or hybrid model, by its hyper-parameters and the tensors it has (of a model in
/// several files, those in the first).
MemoryShape memory_shape(const GgufFile& file);

}  // namespace rewardshift::llama
