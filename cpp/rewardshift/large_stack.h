// Work that recurses deeper than a thread's usual stack allows.
#pragma once

#include <cstddef>
#include <functional>

namespace rewardshift {

/// Runs `work` on a thread of its own with a stack of so many bytes, of which only what is used
/// costs memory, and waits for it. `work` must not throw. Throws Error where no such thread can be
/// had.
void run_on_large_stack(std::size_t stack_bytes, const std::function<void()>& work);

}  // namespace rewardshift
