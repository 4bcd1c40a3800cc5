// How many threads are worth using while other programs want the cores too.
#pragma once

namespace rewardshift::llama {

/// Seconds of wall time, and of processor time of the whole process and of this thread.
struct ProcessorTimes {
  double wall = 0.0;
  double process = 0.0;
  double thread = 0.0;

  static ProcessorTimes now();
};

/// Chooses the number of threads for evaluations whose threads wait for one another by spinning.
///
/// Such threads use all the processor time there is: n of them get n seconds a second, unless other
/// programs have the cores. What is missing is what those took, and the threads that got it wait
/// for those that did not: a model that needs 5 ms on two free cores was seen to need 300 with two
/// busy programs beside it, and 15 with one thread. So when time is missing, that many threads
/// less are used, and now and then, ever more rarely, all of them are tried again. Where the system
/// does not tell processor times (Windows), all are used always.
///
/// Not thread-safe.
class ThreadGovernor {
 public:
  explicit ThreadGovernor(int most) : most_(most), threads_(most) {}

  /// To use in an evaluation that begins at `now`, in seconds of wall time.
  int threads(double now);

  /// Notes what an evaluation with that many threads took.
  void observe(int threads, const ProcessorTimes& before, const ProcessorTimes& after);

 private:
  int most_;
  int threads_;
  double patience_ = kLeastPatience;  ///< seconds until all threads are tried again
  double next_trial_ = 0.0;
  double wall_ = 0.0;  ///< of the evaluations since the last judgement
  double missing_ = 0.0;

  static constexpr double kLeastPatience = 0.25;
};

}  // namespace rewardshift::llama
