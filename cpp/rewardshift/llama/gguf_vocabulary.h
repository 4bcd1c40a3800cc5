// The vocabulary of a GGUF model: what llama.cpp's tokenizers abort, hang or run out of memory on.
#pragma once

#include <string_view>

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Throws ModelLoadError unless llama.cpp's tokenizer survives the vocabulary, if there is one.
void require_sound_vocabulary(const GgufFile& file);

/// Whether bytes are well-formed UTF-8.
bool is_utf8(std::string_view bytes);

}  // namespace rewardshift::llama
