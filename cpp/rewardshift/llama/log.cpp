#include "rewardshift/llama/log.h"

#include <llama.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <mutex>
#include <utility>

namespace rewardshift::llama {
namespace {

constexpr std::size_t kLinesKept = 4096;

struct Log {
  std::mutex mutex;
  std::deque<LogLine> lines;
  std::string partial;  ///< a line still being continued (GGML_LOG_LEVEL_CONT)
  LogLevel partial_level = LogLevel::info;
};

Log& the_log() {
  static Log log;
  return log;
}

thread_local std::vector<std::string>* current_errors = nullptr;
thread_local const std::function<void(const char*)>* current_listener = nullptr;

LogLevel level_of(ggml_log_level level) {
  switch (level) {
    case GGML_LOG_LEVEL_ERROR:
      return LogLevel::error;
    case GGML_LOG_LEVEL_WARN:
      return LogLevel::warning;
    default:
      return LogLevel::info;
  }
}

void keep(Log& log, LogLine line) {
  if (line.text.empty()) return;
  if (line.level == LogLevel::error && current_errors != nullptr) {
    current_errors->push_back(line.text);
  }
  log.lines.push_back(std::move(line));
  if (log.lines.size() > kLinesKept) log.lines.pop_front();
}

void receive(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_DEBUG) return;  // hundreds of lines per context, as in llama.cpp
  if (current_listener != nullptr) (*current_listener)(text);
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  if (level != GGML_LOG_LEVEL_CONT) {
    if (level_of(level) != log.partial_level) {  // an error cuts a line of progress short
      keep(log, {log.partial_level, std::exchange(log.partial, {})});
    }
    log.partial_level = level_of(level);
  }
  log.partial += text;
  for (auto end = log.partial.find('\n'); end != std::string::npos; end = log.partial.find('\n')) {
    keep(log, {log.partial_level, log.partial.substr(0, end)});
    log.partial.erase(0, end + 1);
  }
}

/// llama.cpp gives up, and the process ends with it. Its message names a line of its sources only
/// ("CUDA error"); why is in the log, which nobody can ask for any more. Waits for no lock: whoever
/// holds it may wait for this thread.
void tell_why(const char* message) {
  std::fprintf(stderr, "llama.cpp gave up, and the process ends:\n%s\n", message);
  Log& log = the_log();
  const std::unique_lock lock(log.mutex, std::try_to_lock);
  if (!lock) return;
  const auto is_error = [](const LogLine& line) { return line.level == LogLevel::error; };
  const auto after = std::find_if_not(log.lines.rbegin(), log.lines.rend(), is_error);
  for (auto line = after.base(); line != log.lines.end(); ++line) {
    std::fprintf(stderr, "%s\n", line->text.c_str());
  }
}

}  // namespace

void collect_log() {
  llama_log_set(receive, nullptr);
  ggml_set_abort_callback(tell_why);
}

std::vector<LogLine> drain_log() {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  std::vector<LogLine> lines(std::make_move_iterator(log.lines.begin()),
                             std::make_move_iterator(log.lines.end()));
  log.lines.clear();
  return lines;
}

ErrorScope::ErrorScope() { current_errors = &errors_; }

ErrorScope::~ErrorScope() { current_errors = nullptr; }

std::string ErrorScope::reason(const std::string& otherwise) const {
  if (errors_.empty()) return otherwise;
  std::string joined;
  for (const std::string& error : errors_) joined += (joined.empty() ? "" : "; ") + error;
  return joined;
}

ListenScope::ListenScope(std::function<void(const char*)> hear) : hear_(std::move(hear)) {
  current_listener = &hear_;
}

ListenScope::~ListenScope() { current_listener = nullptr; }

}  // namespace rewardshift::llama
