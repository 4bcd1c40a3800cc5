// One response's place in a grammar of llguidance's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/mask/llguidance/vocabulary.h"
#include "rewardshift/mask/mask.h"

namespace rewardshift::llguidance {

struct FreeMatcher {
  const Functions* call;
  void operator()(LlgMatcher* matcher) const { call->free_matcher(matcher); }
};
using Matcher = std::unique_ptr<LlgMatcher, FreeMatcher>;

/// A matcher that no text was given to, to make others from.
struct Compiled {
  std::shared_ptr<const Vocabulary> vocabulary;
  Matcher fresh;
  mutable std::mutex cloning;

  Matcher clone() const;
};

/// The error that a matcher is in, in one line.
std::string error_of(const Functions& call, LlgMatcher* matcher);

/// Keeps one matcher and moves it along the responses that are asked for.
class Walk : public MaskWalk {
 public:
  explicit Walk(std::shared_ptr<const Compiled> compiled);

  Mask allowed_after(std::span<const Token> response) override;

 private:
  static constexpr std::size_t kKept = 32;  ///< masks: more than the rows of a block
  struct Kept {
    std::optional<std::size_t> length;  ///< of the beginning of path_ that the mask is for
    std::vector<std::uint32_t> mask;
  };

  void leave_path_at(std::size_t length);
  bool follow(std::span<const Token> response);
  void move_to(std::size_t length);
  std::size_t read(std::span<const Token> tokens);
  Kept& kept(std::size_t length) { return kept_[length % kKept]; }
  Mask compute(std::size_t length);
  void mask_of_matcher(std::vector<std::uint32_t>& mask);
  [[noreturn]] void give_up();

  std::shared_ptr<const Compiled> compiled_;
  Matcher matcher_;          ///< empty after a dead end: made again when needed
  std::size_t at_ = 0;       ///< tokens of path_ that the matcher has read
  std::vector<Token> path_;  ///< begins some sentence
  std::array<Kept, kKept> kept_;
  std::vector<std::uint32_t> nothing_;
  std::string gave_up_;  ///< why, once it did
};

}  // namespace rewardshift::llguidance
