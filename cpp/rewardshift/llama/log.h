// llama.cpp's log, kept until somebody wants it. Nothing is printed, but for why llama.cpp ends the
// process, where it does.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace rewardshift::llama {

enum class LogLevel { info, warning, error };

struct LogLine {
  LogLevel level;
  std::string text;  ///< one line, without its newline
};

/// Starts collecting. llama.cpp has one log per process, so this state is the process's; calling it
/// again does nothing. Thread-safe.
void collect_log();

/// The lines since the last call, oldest first; only the latest few thousand are kept. Thread-safe.
std::vector<LogLine> drain_log();

/// Gathers what llama.cpp reports as errors on this thread while it lives: the reason to give when
/// a call fails. Scopes do not nest.
class ErrorScope {
 public:
  ErrorScope();
  ~ErrorScope();
  ErrorScope(const ErrorScope&) = delete;
  ErrorScope& operator=(const ErrorScope&) = delete;

  /// The errors so far, joined; `otherwise` if there were none.
  std::string reason(const std::string& otherwise) const;

 private:
  std::vector<std::string> errors_;
};

/// Hears each piece of text that llama.cpp logs on this thread while it lives; pieces may be parts
/// of a line. An exception that `hear` throws unwinds the llama.cpp function that was logging, so
/// it may throw only from where that function is known to stand it. Scopes do not nest.
class ListenScope {
 public:
  explicit ListenScope(std::function<void(const char* text)> hear);
  ~ListenScope();
  ListenScope(const ListenScope&) = delete;
  ListenScope& operator=(const ListenScope&) = delete;

 private:
  std::function<void(const char*)> hear_;
};

}  // namespace rewardshift::llama
