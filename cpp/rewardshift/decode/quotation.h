// Where the end of a text occurred before: drafts without a model or a table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// What followed an earlier occurrence of the last tokens of a text.
struct Quotation {
  std::size_t match = 0;  ///< tokens that the two places have in common; 0 where none is
  std::size_t begin = 0;  ///< where what followed begins, in the text
};

/// An index of one text that grows: prompt lookup (Saxena, 2023). Summaries, edits and answers from
/// documents quote their prompt, so what followed there is a good guess of what follows here.
class Quotations {
 public:
  static constexpr std::size_t kLeast = 2;    ///< tokens that must match
  static constexpr std::size_t kLongest = 8;  ///< beyond so many, longer matches are no better

  /// The longest match of the text's end; of equals, the latest. The text begins with what was
  /// given the last time.
  Quotation find(std::span<const Token> text);

 private:
  static std::uint64_t key(Token before, Token last);

  /// By two tokens: how many tokens of the text end with them, for all but its end.
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> ends_;
  std::size_t indexed_ = 0;  ///< tokens that can be quoted from
};

}  // namespace rewardshift
