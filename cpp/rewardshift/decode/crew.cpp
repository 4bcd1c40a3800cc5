#include "rewardshift/decode/crew.h"

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
  if (size_ == 1 || n < 2 || !home_.is_here()) {  // a forked child has none of the threads
    for (std::size_t i = 0; i < n; ++i) work(0, i);
    return;
  }
  start();
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    n_ = n;
    next_ = 0;
    busy_ = threads_.size();
    failure_ = nullptr;
    ++generation_;
  }
  wake_.notify_all();
  take_pieces(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return busy_ == 0; });
  work_ = nullptr;
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void Crew::start() {
  while (threads_.size() + 1 < size_) {
    threads_.emplace_back([this, worker = threads_.size() + 1] { serve(worker); });
  }
}

void Crew::serve(std::size_t worker) {
  std::size_t joined = 0;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return is_over_ || generation_ != joined; });
      if (is_over_) return;
      joined = generation_;
    }
    take_pieces(worker);
    const std::lock_guard lock(mutex_);
    if (--busy_ == 0) done_.notify_one();
  }
}

void Crew::take_pieces(std::size_t worker) {
  while (true) {
    std::size_t i = 0;
    {
      const std::lock_guard lock(mutex_);
      if (next_ == n_ || failure_ != nullptr) return;
      i = next_++;
    }
    try {
      (*work_)(worker, i);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (failure_ == nullptr) failure_ = std::current_exception();
    }
  }
}

}  // namespace rewardshift
