// Watching and ending a long call from another thread.
#pragma once

#include <atomic>

namespace rewardshift::llama {

struct Monitor {
  std::atomic<float> progress = 0.0F;   ///< written by the call, from 0 to 1
  std::atomic<bool> cancelled = false;  ///< read by it: true ends it with a CancelledError
};

}  // namespace rewardshift::llama
