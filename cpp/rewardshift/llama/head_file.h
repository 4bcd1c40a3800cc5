// Heads as GGUF files.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "rewardshift/math/base_head.h"
#include "rewardshift/math/bottleneck.h"

namespace rewardshift::llama {

inline constexpr const char* kHeadArchitecture = "rewardshift-head";  ///< general.architecture

/// A head that shifts its target, or one that drafts for it.
using Head = std::variant<std::shared_ptr<const Bottleneck>, std::shared_ptr<const BaseHead>>;

/// What a file says of a head beside its weights.
struct HeadFile {
  Head head;
  float strength;      ///< of a shift, where a request names none
  std::string target;  ///< what it was trained for, for people; may be empty
};

/// Whether a readable GGUF file holds a head rather than a model. Throws ModelLoadError.
bool is_head_file(const std::string& path);

/// Throws ModelLoadError, which says what is wrong.
HeadFile read_head(const std::string& path);

}  // namespace rewardshift::llama
