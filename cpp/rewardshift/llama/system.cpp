#include "rewardshift/llama/system.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <future>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "rewardshift/error.h"
#include "rewardshift/llama/log.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace rewardshift::llama {
namespace {

const char* kind_name(enum ggml_backend_dev_type type) {
  switch (type) {
    case GGML_BACKEND_DEVICE_TYPE_CPU:
      return "cpu";
    case GGML_BACKEND_DEVICE_TYPE_GPU:
      return "gpu";
    case GGML_BACKEND_DEVICE_TYPE_IGPU:
      return "integrated gpu";
    case GGML_BACKEND_DEVICE_TYPE_ACCEL:
      return "accelerator";
    default:
      return "other";
  }
}

/// A function of the CPU backend, which may be a library loaded at run time.
template <class Function>
Function cpu_function(const char* name) {
  ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (cpu == nullptr) throw Error("llama.cpp has no CPU backend");
  ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(cpu);
  return reinterpret_cast<Function>(ggml_backend_reg_get_proc_address(registry, name));
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
#endif
  if (cpus.empty()) {
    for (unsigned cpu = 0; cpu < std::max(1U, std::thread::hardware_concurrency()); ++cpu) {
      cpus.push_back(static_cast<int>(cpu));
    }
  }
  return cpus;
}

/// Cores' worth of time that a container may use; none where it is not limited (Linux, cgroup v2).
std::optional<int> quota_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0.0;
  double period = 0.0;
  if (!(file >> quota >> period) || quota <= 0.0 || period <= 0.0) return std::nullopt;  // "max"
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

/// Has so many threads for a moment, because ggml aborts where it cannot have one.
void require_threads(int count) {
  std::promise<void> over;
  const std::shared_future<void> wait = over.get_future().share();
  std::vector<std::thread> threads;
  std::string reason;
  try {
    while (std::ssize(threads) < count) threads.emplace_back([wait] { wait.wait(); });
  } catch (const std::system_error& error) {
    reason = error.what();
  }
  over.set_value();
  for (std::thread& thread : threads) thread.join();
  if (reason.empty()) return;
  throw OutOfMemoryError("no more than " + std::to_string(threads.size()) + " of " +
                             std::to_string(count) + " threads could be had: " + reason,
                         0);
}

}  // namespace

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    collect_log();
    llama_backend_init();
  });
}

std::vector<std::string> backends() {
  initialise();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < ggml_backend_reg_count(); ++i) {
    names.emplace_back(ggml_backend_reg_name(ggml_backend_reg_get(i)));
  }
  return names;
}

std::vector<Device> devices() {
  initialise();
  std::vector<Device> found;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t device = ggml_backend_dev_get(i);
    std::size_t free = 0;
    std::size_t total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    found.push_back({ggml_backend_dev_name(device), ggml_backend_dev_description(device),
                     kind_name(ggml_backend_dev_type(device)),
                     ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)), free, total});
  }
  return found;
}

std::vector<std::pair<std::string, std::string>> cpu_features() {
  initialise();
  std::vector<std::pair<std::string, std::string>> features;
  const auto get = cpu_function<ggml_backend_get_features_t>("ggml_backend_get_features");
  if (get == nullptr) return features;
  ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  for (auto* f = get(ggml_backend_dev_backend_reg(cpu)); f->name != nullptr; ++f) {
    features.emplace_back(f->name, f->value);
  }
  return features;
}

int usable_cores() {
  std::set<std::string> cores;  // hyper-threads of one core name the same siblings
  for (const int cpu : allowed_cpus()) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  const int count = static_cast<int>(cores.size());
  return std::min(count, quota_cores().value_or(count));
}

Threadpool::Threadpool(int n_threads, int poll) : size_(n_threads), governor_(n_threads) {
  if (n_threads < 1 || n_threads > GGML_MAX_N_THREADS) {
    throw std::invalid_argument("a pool has 1 to " + std::to_string(GGML_MAX_N_THREADS) +
                                " threads, not " + std::to_string(n_threads));
  }
  initialise();
  require_threads(n_threads);
  const auto create = cpu_function<decltype(&ggml_threadpool_new)>("ggml_threadpool_new");
  ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
  params.poll = static_cast<std::uint32_t>(poll);
  pool_.reset(create(&params));
  if (pool_ == nullptr) {
    throw OutOfMemoryError("no memory for " + std::to_string(n_threads) + " threads", 0);
  }
}

void Threadpool::Free::operator()(ggml_threadpool* pool) const {
  if (!home.is_here()) return;
  cpu_function<decltype(&ggml_threadpool_free)>("ggml_threadpool_free")(pool);
}

}  // namespace rewardshift::llama
