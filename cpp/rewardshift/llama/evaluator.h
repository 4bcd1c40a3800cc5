// A context of llama.cpp, and the threads that evaluate its batches.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include "rewardshift/home_process.h"
#include "rewardshift/llama/model.h"
#include "rewardshift/llama/system.h"

struct llama_batch;
struct llama_context;
struct llama_context_params;

namespace rewardshift::llama {

/// How an evaluation went: llama.cpp's status, and what it says of it.
struct Evaluation {
  int status = 0;  ///< 0 is well
  std::string reason;

  /// Throws what the status means: CancelledError, or EvaluationError of the file at `path`.
  [[noreturn]] void fail(const std::string& path) const;
};

/// Not thread-safe.
class Evaluator {
 public:
  struct Threads {
    int single = 0;  ///< for single rows; 0 is all of the pool
    int batch = 0;   ///< for batches; 0 is as many as `single`
  };

  /// All evaluators may share one pool. While `interrupt` (borrowed, may be null) is true,
  /// evaluation stops with the status of a cancelled one.
  Evaluator(std::shared_ptr<const Model> model, std::shared_ptr<Threadpool> pool, Threads threads,
            const std::atomic<bool>* interrupt);

  /// Makes the context, instead of the one before; threads and interruption are filled in here.
  /// Throws OutOfMemoryError, which says what `needs` the bytes.
  void open(llama_context_params params, const std::string& needs, std::size_t bytes);

  llama_context* get() const { return context_.get(); }

  /// Throws Error in a process forked from the one that made this.
  void require_home() const { home_.require(); }

  /// One call of llama.cpp, with as many threads as are worth using.
  Evaluation run(const llama_batch& batch);

 private:
  struct Free {
    void operator()(llama_context* context) const;
    HomeProcess home;
  };

  int decode(const llama_batch& batch);
  void use_threads(int allowed);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Threadpool> pool_;
  const std::atomic<bool>* interrupt_;
  Threads threads_;
  int threads_allowed_ = 0;  ///< by the pool's governor, lately
  bool is_on_cpu_;           ///< all of the model: its threads are worth governing
  HomeProcess home_;
  std::unique_ptr<llama_context, Free> context_;
};

}  // namespace rewardshift::llama
