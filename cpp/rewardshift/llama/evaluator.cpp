#include "rewardshift/llama/evaluator.h"

#include <llama.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/llama/context_needs.h"
#include "rewardshift/llama/log.h"

namespace rewardshift::llama {
namespace {

constexpr int kCancelled = 2;  // llama.cpp's
constexpr int kThrown = -4;    // it has none of these

bool should_abort(void* interrupt) {
  return static_cast<const std::atomic<bool>*>(interrupt)->load(std::memory_order_relaxed);
}

}  // namespace

void Evaluation::fail(const std::string& path) const {
  if (status == kCancelled) throw CancelledError("the evaluation was interrupted");
  const std::string what = status == 1 ? "its context is full" : "llama.cpp could not evaluate it";
  throw EvaluationError(path + ": " + what + " (status " + std::to_string(status) +
                        (reason.empty() ? "" : ": " + reason) + ")");
}

Evaluator::Evaluator(std::shared_ptr<const Model> model, std::shared_ptr<Threadpool> pool,
                     Threads threads, const std::atomic<bool>* interrupt)
    : model_(std::move(model)),
      pool_(std::move(pool)),
      interrupt_(interrupt),
      threads_(threads),
      is_on_cpu_(model_->is_on_cpu()) {
  if (threads_.single == 0) threads_.single = pool_->size();
  if (threads_.batch == 0) threads_.batch = threads_.single;
}

void Evaluator::Free::operator()(llama_context* context) const {
  if (home.is_here()) llama_free(context);
}

void Evaluator::open(llama_context_params params, const std::string& needs, std::size_t bytes) {
  params.n_threads = threads_.single;
  params.n_threads_batch = threads_.batch;
  if (interrupt_ != nullptr) {
    params.abort_callback = should_abort;
    params.abort_callback_data = const_cast<std::atomic<bool>*>(interrupt_);
  }
  context_.reset();
  require_memory(needs, bytes);
  const ErrorScope errors;
  try {
    context_.reset(llama_init_from_model(model_->model_.get(), params));
  } catch (const std::bad_alloc&) {
  }
  if (context_ == nullptr) {
    throw OutOfMemoryError(
        needs + ", and the context could not be made: " + errors.reason("llama.cpp gave no reason"),
        bytes);
  }
  llama_attach_threadpool(context_.get(), pool_->get(), pool_->get());
  threads_allowed_ = 0;
}

Evaluation Evaluator::run(const llama_batch& batch) {
  const ErrorScope errors;
  Evaluation done;
  try {
    done.status = interrupt_ != nullptr && *interrupt_ ? kCancelled : decode(batch);
  } catch (const std::exception& error) {
    done = {kThrown, error.what()};
  }
  if (done.status != 0) done.reason = errors.reason(done.reason);
  return done;
}

int Evaluator::decode(const llama_batch& batch) {
  if (!is_on_cpu_) return llama_decode(context_.get(), batch);
  ThreadGovernor& governor = pool_->governor();
  const ProcessorTimes before = ProcessorTimes::now();
  const int allowed = governor.threads(before.wall);
  if (allowed != threads_allowed_) use_threads(allowed);
  const int status = llama_decode(context_.get(), batch);
  const int used = std::min(allowed, batch.n_tokens > 1 ? threads_.batch : threads_.single);
  governor.observe(used, before, ProcessorTimes::now());
  return status;
}

/// A pool wakes its idle threads too, for each graph; one thread alone had better have no pool.
void Evaluator::use_threads(int allowed) {
  if (allowed == 1) {
    llama_detach_threadpool(context_.get());
  } else {
    llama_attach_threadpool(context_.get(), pool_->get(), pool_->get());
  }
  llama_set_n_threads(context_.get(), std::min(allowed, threads_.single),
                      std::min(allowed, threads_.batch));
  threads_allowed_ = allowed;
}

}  // namespace rewardshift::llama
