// A look at a GGUF file before llama.cpp takes it: what it would abort the process on is refused.
#pragma once

#include <string>

namespace rewardshift::llama {

/// Throws ModelLoadError, in plain words, unless the file can be read as a GGUF whose vocabulary
/// (if it has one) lists no token twice.
void require_gguf(const std::string& path);

/// Whether the file can be read as a GGUF and ends no earlier than its tensors do.
bool is_whole_gguf(const std::string& path);

}  // namespace rewardshift::llama
