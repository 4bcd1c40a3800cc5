// The hyper-parameters of a GGUF model: those that llama.cpp asserts, divides by or sizes by.
#pragma once

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Throws ModelLoadError that names the key if llama.cpp would abort on a hyper-parameter, or
/// on a graph built with it. A missing key is for llama.cpp to name.
void require_sound_hyperparameters(const GgufFile& file);

}  // namespace rewardshift::llama
