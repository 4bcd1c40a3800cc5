// A few threads for our own work on many rows.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "rewardshift/home_process.h"

namespace rewardshift {

/// Divides independent pieces of work among threads, of which the caller's is one. The others are
/// started with the first work that is worth it, and sleep between works.
///
/// Not thread-safe: one caller at a time. A forked child's copy works alone.
class Crew {
 public:
  /// Works with `size` threads, at least one.
  explicit Crew(std::size_t size) : size_(size) {}
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  std::size_t size() const { return size_; }

  /// Calls work(worker, i) once for each i below n, in any order, with worker below size() naming
  /// the thread. Returns when all are done; rethrows the first exception.
  void share(std::size_t n, const std::function<void(std::size_t worker, std::size_t i)>& work);

 private:
  /// Where threads wait for each other. A forked child leaves it to the end of the process, like
  /// the threads: destroying what somebody waits at waits for them.
  struct Meeting {
    std::mutex mutex;
    std::condition_variable wake;
    std::condition_variable done;
  };

  void serve(std::size_t worker);
  void take_pieces(std::size_t worker, std::unique_lock<std::mutex>& lock);

  std::size_t size_;
  HomeProcess home_;
  std::vector<std::thread> threads_;
  std::unique_ptr<Meeting> meeting_ = std::make_unique<Meeting>();
  const std::function<void(std::size_t, std::size_t)>* work_ = nullptr;
  std::size_t n_ = 0;     ///< pieces of the present work
  std::size_t next_ = 0;  ///< the first that nobody has taken
  std::size_t busy_ = 0;  ///< pieces that are being worked on
  bool is_over_ = false;
  std::exception_ptr failure_;
};

}  // namespace rewardshift
