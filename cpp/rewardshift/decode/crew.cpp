#include "rewardshift/decode/crew.h"

#include <algorithm>

namespace rewardshift {

Crew::~Crew() {
  if (!home_.is_here()) {  // a forked child's copy: the threads are not there to be joined
    for (std::thread& thread : threads_) thread.detach();
    static_cast<void>(meeting_.release());
    return;
  }
  {
    const std::lock_guard lock(meeting_->mutex);
    is_over_ = true;
  }
  meeting_->wake.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Crew::share(std::size_t n, const std::function<void(std::size_t, std::size_t)>& work) {
  const std::size_t workers = home_.is_here() ? std::min(n, size_) : 1;
  const std::size_t helpers = workers - std::min<std::size_t>(workers, 1);
  if (helpers == 0) {
    for (std::size_t i = 0; i < n; ++i) work(0, i);
    return;
  }
  while (threads_.size() < helpers) {
    threads_.emplace_back([this, worker = threads_.size() + 1] { serve(worker); });
  }
  std::unique_lock lock(meeting_->mutex);
  work_ = &work;
  n_ = n;
  next_ = 0;
  failure_ = nullptr;
  for (std::size_t i = 0; i < helpers; ++i) meeting_->wake.notify_one();
  take_pieces(0, lock);
  // Who wakes too late finds nothing to take.
  meeting_->done.wait(lock, [this] { return busy_ == 0; });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void Crew::serve(std::size_t worker) {
  std::unique_lock lock(meeting_->mutex);
  while (true) {
    meeting_->wake.wait(lock, [this] { return is_over_ || next_ < n_; });
    if (is_over_) return;
    take_pieces(worker, lock);
    if (busy_ == 0) meeting_->done.notify_one();
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
