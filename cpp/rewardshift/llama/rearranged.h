// Weights that llama.cpp's CPU backend copies into an order of its own, away from the file.
#pragma once

#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {

/// Whether the CPU backend would copy most of the file's weights. Their pages of a mapped file are
/// read once and then lie in memory for nothing.
bool is_mostly_rearranged(const GgufFile& file);

}  // namespace rewardshift::llama
