// llguidance's shared library, loaded when a grammar is first asked for.
#pragma once

#include <string>

#include "rewardshift/mask/llguidance/abi.h"

namespace rewardshift::llguidance {

/// What to install; named by errors.
inline constexpr const char* kRequirement = "llguidance>=1.8,<1.10";

/// The library, open for as long as it lives. Immutable; safe from several threads.
class Library {
 public:
  /// Opens a file: the extension module of the Python package llguidance also exports the C
  /// functions. Throws Error, which says what to install, where the file cannot be loaded, lacks a
  /// function, or is of a version with another interface.
  explicit Library(const std::string& path);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const Functions& call() const { return functions_; }

 private:
  void resolve(const std::string& path);

  void* handle_;
  Functions functions_{};
};

}  // namespace rewardshift::llguidance
