#include "rewardshift/mask/llguidance/library.h"

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include "rewardshift/error.h"

namespace rewardshift::llguidance {
namespace {

#ifdef _WIN32
void* open(const std::string& path) { return LoadLibraryA(path.c_str()); }
void* find(void* handle, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle), name));
}
void close(void* handle) { FreeLibrary(static_cast<HMODULE>(handle)); }
std::string why_not() { return "error " + std::to_string(GetLastError()); }
#else
void* open(const std::string& path) {
  // Never unloaded: what Rust keeps for each thread is freed when the thread ends.
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}
void* find(void* handle, const char* name) { return dlsym(handle, name); }
void close(void* handle) { dlclose(handle); }
std::string why_not() {
  const char* reason = dlerror();
  return reason == nullptr ? "unknown error" : reason;
}
#endif

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Error("grammars need " + std::string(kRequirement) + " (pip install '" + kRequirement +
              "'): " + path + ": " + reason);
}

/// "llguidance@1.9.1 …": the versions whose header was compared with abi.h.
bool is_known(std::string_view version) {
  constexpr std::string_view name = "llguidance@1.";
  if (!version.starts_with(name)) return false;
  version.remove_prefix(name.size());
  int minor = -1;
  const auto read = std::from_chars(version.data(), version.data() + version.size(), minor);
  return read.ec == std::errc() && minor >= 8 && minor < 10;
}

/// Whether the defaults appear where abi.h says that they are.
bool has_our_layout(const Functions& call) {
  struct {  // another version may write more
    LlgConstraintInit init;
    std::array<unsigned char, 512> room;
  } probe;
  std::memset(static_cast<void*>(&probe), 0xa5, sizeof(probe));
  call.constraint_init_set_defaults(&probe.init, nullptr);
  const LlgConstraintInit& read = probe.init;
  const LlgParserLimits& limits = read.limits;
  std::array<unsigned char, 6> flags{};  // a bool that is neither 0 nor 1 may not be read as one
  std::memcpy(flags.data(), &read.ff_tokens_ok, 1);
  std::memcpy(&flags[1], &read.backtrack_ok, 1);
  std::memcpy(&flags[2], &limits.precompute_large_lexemes, 1);
  std::memcpy(&flags[3], &limits.verbose_errors, 1);
  return read.tokenizer == nullptr && read.log_buffer_level == 0 && read.log_stderr_level == 1 &&
         flags == std::array<unsigned char, 6>{0, 0, 1, 1, 0, 0} &&
         limits.max_items_in_row == 2000 && limits.initial_lexer_fuel == 1'000'000 &&
         limits.step_lexer_fuel == 200'000 && limits.step_max_items == 50'000 &&
         limits.max_lexer_states == 250'000 && limits.max_grammar_size == 500'000 &&
         probe.room.front() == 0xa5;
}

}  // namespace

Library::Library(const std::string& path) : handle_(open(path)) {
  if (handle_ == nullptr) refuse(path, why_not());
  try {
    resolve(path);
  } catch (...) {
    close(handle_);
    throw;
  }
}

Library::~Library() { close(handle_); }

void Library::resolve(const std::string& path) {
  const auto bind = [&](auto& function, const char* name) {
    void* found = find(handle_, name);
    if (found == nullptr) refuse(path, std::string("it has no ") + name);
    std::memcpy(&function, &found, sizeof(found));
  };
  bind(functions_.get_version, "llg_get_version");
  const std::string version = functions_.get_version();
  if (!is_known(version)) refuse(path, "it is " + version);
  bind(functions_.constraint_init_set_defaults, "llg_constraint_init_set_defaults");
  bind(functions_.new_tokenizer_v2, "llg_new_tokenizer_v2");
  bind(functions_.free_tokenizer, "llg_free_tokenizer");
  bind(functions_.new_matcher, "llg_new_matcher");
  bind(functions_.clone_matcher, "llg_clone_matcher");
  bind(functions_.free_matcher, "llg_free_matcher");
  bind(functions_.matcher_get_error, "llg_matcher_get_error");
  bind(functions_.matcher_is_error, "llg_matcher_is_error");
  bind(functions_.matcher_is_stopped, "llg_matcher_is_stopped");
  bind(functions_.matcher_is_accepting, "llg_matcher_is_accepting");
  bind(functions_.matcher_compute_mask_into, "llg_matcher_compute_mask_into");
  bind(functions_.matcher_validate_tokens, "llg_matcher_validate_tokens");
  bind(functions_.matcher_consume_tokens, "llg_matcher_consume_tokens");
  bind(functions_.matcher_rollback, "llg_matcher_rollback");
  if (!has_our_layout(functions_)) refuse(path, "its interface is not what its version says");
}

}  // namespace rewardshift::llguidance
