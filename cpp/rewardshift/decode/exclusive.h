// Turns a data race into an error.
#pragma once

#include <atomic>

#include "rewardshift/error.h"

namespace rewardshift {

/// Holds a flag for a scope; throws Error if another thread holds it.
class Exclusive {
 public:
  explicit Exclusive(std::atomic_flag& busy) : busy_(busy) {
    if (busy_.test_and_set(std::memory_order_acquire)) {
      throw Error(
          "this Decoder is in use by another thread; give each thread its own, or submit all "
          "requests to one and step it from one thread");
    }
  }
  ~Exclusive() { busy_.clear(std::memory_order_release); }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  std::atomic_flag& busy_;
};

}  // namespace rewardshift
