// Work that recurses deeper than a thread's usual stack allows.
#pragma once

#include <functional>

namespace rewardshift::llguidance {

/// Runs `work` on a thread of its own with a large stack, of which only what is used costs memory,
/// and waits for it. `work` must not throw. Throws Error where no such thread can be had.
void run_on_large_stack(const std::function<void()>& work);

}  // namespace rewardshift::llguidance
