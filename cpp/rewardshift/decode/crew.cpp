#include "rewardshift/decode/crew.h"

#include <algorithm>

namespace rewardshift {

Crew::~Crew() {
  if (!home_.is_here()) {  // a forked child's copy: the threads are not there to be joined
    for (std::thread& thread : threads_) thread.detach();
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Crew::share(std::size_t n, const std::function<void(std::size_t, std::size_t)>& work) {
  const std::size_t helpers = std::min(n, size_) - std::min<std::size_t>(n, 1);
  if (helpers == 0) {
    for (std::size_t i = 0; i < n; ++i) work(0, i);
    return;
  }
  while (threads_.size() < helpers) {
    threads_.emplace_back([this, worker = threads_.size() + 1] { serve(worker); });
  }
  std::unique_lock lock(mutex_);
  work_ = &work;
  n_ = n;
  next_ = 0;
  failure_ = nullptr;
  for (std::size_t i = 0; i < helpers; ++i) wake_.notify_one();
  take_pieces(0, lock);
  done_.wait(lock, [this] { return busy_ == 0; });  // who wakes too late finds nothing to take
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void Crew::serve(std::size_t worker) {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return is_over_ || next_ < n_; });
    if (is_over_) return;
    take_pieces(worker, lock);
    if (busy_ == 0) done_.notify_one();
  }
}

/// Works until all pieces are taken; holds the lock but while it works.
void Crew::take_pieces(std::size_t worker, std::unique_lock<std::mutex>& lock) {
  while (next_ < n_) {
    const std::size_t i = next_++;
    ++busy_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      (*work_)(worker, i);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    --busy_;
    if (failure == nullptr) continue;
    next_ = n_;  // nothing more is begun
    if (failure_ == nullptr) failure_ = failure;
  }
}

}  // namespace rewardshift
