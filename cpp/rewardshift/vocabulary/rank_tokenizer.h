// A tokenizer that needs no more than the tokens themselves.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "rewardshift/vocabulary/vocabulary.h"

namespace rewardshift {

/// Byte-pair encoding whose merges are ranked by token id, without a pre-tokenizer: of all
/// neighbours that make a token together, those that make the lowest one join first, the leftmost
/// of them first. Single bytes need not be tokens. For tables and tests.
class RankTokenizer final : public TextTokenizer {
 public:
  /// `bytes` by token, empty for tokens that text never is.
  explicit RankTokenizer(const std::vector<std::string>& bytes);

  std::vector<Token> tokens_of(std::string_view text) const override;

 private:
  std::unordered_map<std::string, Token> ranks_;
};

}  // namespace rewardshift
