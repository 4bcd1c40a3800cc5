// Which architectures we cannot decode with, whatever their files say.
#pragma once

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Throws ModelLoadError with the reason if an architecture is known to be of a diffusion model, no
/// decoder, or one whose memory we cannot take back. llama.cpp says so too of most
/// (Model::require_decodable), but only of a model that it could load, and it asserts much about
/// these while it loads them.
void require_decodable_architecture(const GgufFile& file);

}  // namespace rewardshift::llama
