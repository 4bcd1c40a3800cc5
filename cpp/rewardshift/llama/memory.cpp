#include "rewardshift/llama/memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>

#ifndef _WIN32
#include <unistd.h>
#endif

namespace rewardshift::llama {
namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

std::optional<std::size_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::size_t number = 0;
  if (!(file >> number)) return std::nullopt;  // no such file, or "max"
  return number;
}

/// The lines "key number" or "key: number" of a file.
std::map<std::string, std::size_t> read_table(const std::string& path) {
  std::map<std::string, std::size_t> table;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    std::size_t number = 0;
    if (!(words >> key >> number)) continue;
    if (key.ends_with(':')) key.pop_back();
    table[key] = number;
  }
  return table;
}

/// MemAvailable and SwapFree; nothing where there is no /proc.
std::optional<std::size_t> system_memory(const std::string& root) {
  auto table = read_table(root + "/proc/meminfo");
  if (!table.contains("MemAvailable")) return std::nullopt;
  return (table["MemAvailable"] + table["SwapFree"]) * 1024;
}

/// Where a version of cgroups keeps its figures, and what it calls them.
struct CgroupLayout {
  const char* mount;
  const char* limit;
  const char* usage;
  const char* cached;  ///< in memory.stat: files, shared memory among them
  const char* shared;
};
constexpr CgroupLayout kVersion1{"/sys/fs/cgroup/memory", "/memory.limit_in_bytes",
                                 "/memory.usage_in_bytes", "total_cache", "total_shmem"};
constexpr CgroupLayout kVersion2{"/sys/fs/cgroup", "/memory.max", "/memory.current", "file",
                                 "shmem"};

/// What one cgroup leaves of its limit. The files it has cached give way to whoever needs memory.
std::size_t left_in(const std::string& folder, const CgroupLayout& layout) {
  const auto most = read_number(folder + layout.limit);
  const auto used = read_number(folder + layout.usage);
  if (!most || !used) return kUnlimited;
  auto table = read_table(folder + "/memory.stat");
  const std::size_t cached = table[layout.cached];
  const std::size_t files = cached - std::min(cached, table[layout.shared]);
  const std::size_t held = *used - std::min(*used, files);
  return *most - std::min(*most, held);
}

/// The least that the cgroup of `path`, or one above it, leaves. A container may show its own as
/// the root.
std::size_t left_along(const std::string& root, std::string path, const CgroupLayout& layout) {
  std::size_t left = kUnlimited;
  while (true) {
    left = std::min(left, left_in(root + layout.mount + path, layout));
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return left;
    path.resize(slash);
  }
}

/// What the limits of the process's cgroups leave; kUnlimited without any.
std::size_t cgroup_memory(const std::string& root) {
  std::size_t left = kUnlimited;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "0::/path" or "4:memory:/path"
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controller = std::string_view(line).substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controller.empty()) left = std::min(left, left_along(root, path, kVersion2));
    if (controller == "memory") left = std::min(left, left_along(root, path, kVersion1));
  }
  return left;
}

std::size_t physical_memory() {
#ifdef _SC_PHYS_PAGES
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page > 0) {
    return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
  }
#endif
  return kUnlimited;
}

}  // namespace

std::size_t available_memory(const std::string& root) {
  const auto system = system_memory(root);
  return std::min(system ? *system : physical_memory(), cgroup_memory(root));
}

bool can_allocate(std::size_t bytes) {
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  // Volatile: a compiler may drop an allocation that nothing uses, and believe it succeeded.
  void* volatile memory = std::malloc(bytes);
  const std::unique_ptr<void, Free> owner(memory);
  return owner != nullptr;
}

}  // namespace rewardshift::llama
