// What llama.cpp asserts of encoders with a classification head, or reads beyond the end of.
#pragma once

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Throws ModelLoadError that names the key or tensor if llama.cpp would abort on an encoder. The
/// general hyper-parameters are sound already. Other architectures pass.
void require_sound_encoder(const GgufFile& file);

}  // namespace rewardshift::llama
