// The machine as llama.cpp and we see it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rewardshift/home_process.h"
#include "rewardshift/llama/thread_governor.h"

struct ggml_threadpool;

namespace rewardshift::llama {

/// Makes llama.cpp's backends usable; the first call does the work. Thread-safe.
void initialise();

struct Device {
  std::string name;
  std::string description;
  std::string kind;  ///< "cpu", "gpu", "integrated gpu", "accelerator" or "other"
  std::string backend;
  std::size_t free_memory;   ///< bytes
  std::size_t total_memory;  ///< bytes
};

/// Backends compiled in, e.g. "CPU", "CUDA".
std::vector<std::string> backends();

/// Devices that can be used now.
std::vector<Device> devices();

/// The CPU backend's features, e.g. {"AVX512", "1"}.
std::vector<std::pair<std::string, std::string>> cpu_features();

/// Physical cores this process may run on, or fewer where a container limits its time.
int usable_cores();

/// llama.cpp's own: threads that are done look out for more work for a third of a second or so.
constexpr int kPoll = 50;

/// Worker threads that any number of contexts take turns in using, fewer of them while other
/// programs keep the cores busy.
class Threadpool {
 public:
  /// Threads that are done look out for more work until they sleep: as long as `poll` says, from 0,
  /// not at all, to 100. Meanwhile they take the processor from everybody else.
  /// Throws std::invalid_argument for a silly number of them, OutOfMemoryError if it cannot be had.
  explicit Threadpool(int n_threads, int poll = kPoll);

  ggml_threadpool* get() const { return pool_.get(); }
  int size() const { return size_; }

  /// How many threads to use now, and what using them showed.
  ThreadGovernor& governor() { return governor_; }

 private:
  struct Free {
    void operator()(ggml_threadpool* pool) const;
    HomeProcess home;
  };
  std::unique_ptr<ggml_threadpool, Free> pool_;
  int size_;
  ThreadGovernor governor_;
};

}  // namespace rewardshift::llama
