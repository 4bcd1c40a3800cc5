// What llama.cpp asserts of encoders with a classification head, or takes for granted.
#pragma once

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Throws ModelLoadError that names the key or tensor if llama.cpp would abort on an encoder, or
/// misread it. The general hyper-parameters are sound already. Other architectures pass.
void require_sound_encoder(const GgufFile& file);

}  // namespace rewardshift::llama
