// Which architectures we can use, and for what, whatever their files say.
#pragma once

#include <string_view>

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Whether an architecture is an encoder that llama.cpp reads a classification head of.
bool is_classifying_encoder(std::string_view architecture);

/// The name of the tensor without which a model of an architecture has no classification head.
std::string_view head_tensor(std::string_view architecture);

/// Throws ModelLoadError with the reason if an architecture is known to be of a diffusion model,
/// one whose memory we cannot take back, or no decoder; an encoder with a classification head
/// passes. llama.cpp says so too of most (Model::require_decodable), but only of a model that it
/// could load, and it asserts much about these while it loads them.
void require_usable_architecture(const GgufFile& file);

}  // namespace rewardshift::llama
