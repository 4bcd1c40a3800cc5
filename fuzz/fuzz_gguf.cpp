// require_loadable_model on any bytes: it returns, or throws ModelLoadError.
#include <unistd.h>

#include "input.h"
#include "rewardshift/error.h"
#include "rewardshift/llama/gguf_check.h"
#include "rewardshift/llama/system.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rewardshift::llama::initialise();
  static const int file = memfd_create("fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  rewardshift::fuzz::check(ftruncate(file, 0) == 0, "the memory file can be emptied");
  rewardshift::fuzz::check(pwrite(file, data, size, 0) == static_cast<ssize_t>(size),
                           "the memory file can be written");
  try {
    rewardshift::llama::require_loadable_model(path);
  } catch (const rewardshift::ModelLoadError&) {
  }
  return 0;
}
