// Ctrl-C while C++ runs without the GIL.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <csignal>

#include "rewardshift/error.h"

namespace rewardshift::bindings {

/// Set by Ctrl-C while an InterruptScope lives. llama.cpp polls it between operations.
extern std::atomic<bool> interrupted;

/// Notices SIGINT for a scope, and passes it on to Python's own handler, which remembers it for
/// when Python runs again. Does nothing where the process ignores SIGINT or leaves it to the
/// system, and on threads other than the one that is inside first.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  bool installed_ = false;
};

/// Runs `work` without the GIL. If Ctrl-C ended it, raises what Python's handler raises; if that
/// raises nothing, or another thread was meant, runs it again: what was cancelled can be repeated.
template <class Work>
auto run_interruptibly(Work work) {
  while (true) {
    try {
      const nanobind::gil_scoped_release released;
      const InterruptScope scope;
      return work();
    } catch (const CancelledError&) {
      if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
    }
  }
}

}  // namespace rewardshift::bindings
