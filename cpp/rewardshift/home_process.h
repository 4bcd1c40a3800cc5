// What lives in the process that made it.
#pragma once

#include "rewardshift/error.h"

#ifndef _WIN32
#include <unistd.h>
#endif

namespace rewardshift {

/// Remembers the process it was made in. A forked child inherits the memory of llama.cpp, but
/// neither its worker threads nor its devices: evaluating there waits for ever, and freeing joins
/// threads that are not there, which POSIX leaves undefined (glibc happens to return). What was
/// loaded before a fork is therefore refused in the child, and left to the end of the process
/// instead of being freed.
class HomeProcess {
 public:
#ifdef _WIN32
  bool is_here() const { return true; }
#else
  bool is_here() const { return pid_ == getpid(); }
#endif

  /// Throws Error in a forked child.
  void require() const {
    if (!is_here()) {
      throw Error(
          "this model was loaded before fork(), which takes no threads along: load it in "
          "the child, or start the child by 'spawn'");
    }
  }

#ifndef _WIN32
 private:
  pid_t pid_ = getpid();
#endif
};

}  // namespace rewardshift
