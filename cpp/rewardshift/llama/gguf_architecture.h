// Which architectures we cannot decode with, whatever their files say.
#pragma once

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Throws ModelLoadError with the reason if an architecture is known to be recurrent, hybrid, of a
/// diffusion model or no decoder. llama.cpp says so too (Model::require_decodable), but only of a
/// model that it could load, and it asserts much about these while it loads them.
void require_decodable_architecture(const GgufFile& file);

}  // namespace rewardshift::llama
