#include "interrupt.h"

namespace rewardshift::bindings {

std::atomic<bool> interrupted = false;

#ifdef _WIN32

InterruptScope::InterruptScope() = default;
InterruptScope::~InterruptScope() = default;

#else

namespace {

static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler may touch it
std::atomic_flag occupied;
struct sigaction previous;

void on_sigint(int signal) {
  interrupted = true;
  previous.sa_handler(signal);
}

}  // namespace

InterruptScope::InterruptScope() {
  if (occupied.test_and_set()) return;
  interrupted = false;
  const bool readable = sigaction(SIGINT, nullptr, &previous) == 0;
  if (!readable || previous.sa_handler == SIG_IGN || previous.sa_handler == SIG_DFL ||
      (previous.sa_flags & SA_SIGINFO) != 0) {
    occupied.clear();
    return;
  }
  struct sigaction ours = previous;
  ours.sa_handler = on_sigint;
  installed_ = sigaction(SIGINT, &ours, nullptr) == 0;
  if (!installed_) occupied.clear();
}

InterruptScope::~InterruptScope() {
  if (!installed_) return;
  sigaction(SIGINT, &previous, nullptr);
  interrupted = false;
  occupied.clear();
}

#endif

}  // namespace rewardshift::bindings
