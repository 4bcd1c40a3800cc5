// What ggml's CUDA backend takes on, and aborts the process on when it gets there.
#pragma once

#include <optional>
#include <string>

namespace rewardshift::llama {

/// What a model has that CUDA's kernels were not compiled for, with the key that says so; nothing
/// where they compute all of it. What they decline themselves goes to the processor, and is none.
/// Throws ModelLoadError if the file is missing or damaged.
std::optional<std::string> cuda_lacks(const std::string& path);

/// Throws ModelLoadError if a device of this process would abort on that.
void require_cuda_kernels(const std::string& path);

}  // namespace rewardshift::llama
