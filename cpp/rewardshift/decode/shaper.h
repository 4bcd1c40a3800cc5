// How a request shapes its laws.
#pragma once

#include <span>
#include <vector>

#include "rewardshift/decode/request.h"

namespace rewardshift {

/// Makes the shaping of one position: temperature and truncation as the parameters say, the
/// penalties that its history earns, and the mask that its grammar leaves.
class Shaper {
 public:
  /// After the response so far and some drafts. Borrowed until the next call.
  /// Throws EvaluationError where the grammar's mask costs too much.
  Shaping after(Request& request, std::span<const Token> drafts);

 private:
  std::vector<Token> text_;
  std::vector<Adjustment> adjustments_;
};

}  // namespace rewardshift
