// What llama.cpp asserts, divides by or sizes by in layers with a recurrent state.
#pragma once

#include <string_view>

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Whether an architecture has no attention at all: what it says of heads is not read.
bool is_headless(std::string_view architecture);

/// Whether a tensor is read element by element in such a layer, although it is a matrix.
bool is_elementwise_in_states(std::string_view tensor);

/// Throws ModelLoadError that names the key if llama.cpp would abort on what the file says of the
/// state of its recurrent layers. Other architectures pass.
void require_sound_states(const GgufFile& file);

}  // namespace rewardshift::llama
