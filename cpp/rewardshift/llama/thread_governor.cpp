#include "rewardshift/llama/thread_governor.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

namespace rewardshift::llama {
namespace {

constexpr double kWindow = 0.15;    // seconds of evaluation to judge by: no short burst decides
constexpr double kUnnoticed = 0.1;  // threads' worth of time that is missing on any machine
constexpr double kTolerated = 0.3;  // threads' worth of time that may be missing
constexpr double kMostPatience = 8.0;

#if defined(CLOCK_PROCESS_CPUTIME_ID) && defined(CLOCK_THREAD_CPUTIME_ID)
constexpr bool kTimesAreKnown = true;

double read(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double process_seconds() { return read(CLOCK_PROCESS_CPUTIME_ID); }
double thread_seconds() { return read(CLOCK_THREAD_CPUTIME_ID); }
#else
constexpr bool kTimesAreKnown = false;

double process_seconds() { return 0.0; }
double thread_seconds() { return 0.0; }
#endif

}  // namespace

ProcessorTimes ProcessorTimes::now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return {std::chrono::duration<double>(since).count(), process_seconds(), thread_seconds()};
}

int ThreadGovernor::threads(double now) {
  if (threads_ < most_ && now >= next_trial_) {
    threads_ = most_;
    wall_ = missing_ = 0.0;
  }
  return threads_;
}

void ThreadGovernor::observe(int threads, const ProcessorTimes& before,
                             const ProcessorTimes& after) {
  if (most_ == 1 || !kTimesAreKnown) return;
  const double wall = after.wall - before.wall;
  const double wanted = threads * wall;
  // The whole process may include others of our threads; then this one's own share tells.
  const double got =
      std::min(after.process - before.process, threads * (after.thread - before.thread));
  wall_ += wall;
  missing_ += std::max(0.0, wanted - got);
  if (wall_ < kWindow) return;
  const double missing = missing_ / wall_;
  wall_ = missing_ = 0.0;
  if (threads < most_) {
    if (missing > kTolerated) threads_ = std::max(1, threads - 1);
    // No room even for these, so none for more. Where there is, only a trial can tell how much.
    if (missing > kUnnoticed) next_trial_ = std::max(next_trial_, after.wall + kLeastPatience);
    return;
  }
  if (missing <= kTolerated) {
    patience_ = kLeastPatience;
    return;
  }
  threads_ = std::max(1, most_ - static_cast<int>(std::ceil(missing - kTolerated)));
  next_trial_ = after.wall + patience_;
  patience_ = std::min(2.0 * patience_, kMostPatience);
}

}  // namespace rewardshift::llama
