// A look at a GGUF file before llama.cpp takes it: what it would abort the process on is refused.
#pragma once

#include <string>

namespace rewardshift::llama {

/// Throws ModelLoadError, in plain words, unless the file (and the parts it is split into) can be
/// read as a GGUF whose tensors, hyper-parameters and vocabulary llama.cpp survives.
void require_loadable_model(const std::string& path);

/// The same for a LoRA adapter of a model with so many experts (0: it has none). Whether the base
/// has the tensors, in those shapes, is for llama.cpp to say.
void require_loadable_adapter(const std::string& path, int experts);

/// Whether the file can be read as a GGUF and ends no earlier than its tensors do.
bool is_whole_gguf(const std::string& path);

}  // namespace rewardshift::llama
