// A head that drafts for its target, seen as a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "rewardshift/math/base_head.h"
#include "rewardshift/shift/head_model.h"

namespace rewardshift {

/// A base that needs no second model. What follows a history is guessed from the feature behind
/// its last token but the drafts, and from the tokens since; it is a function of the history and
/// of how many of its tokens are drafts.
class BaseHeadModel final : public HeadModel {
 public:
  BaseHeadModel(LanguageModel& target, std::shared_ptr<const BaseHead> head);

  /// Tokens that the head does not know have no probability: -inf.
  std::span<const float* const> logits(std::span<const LogitsRequest> requests) override;

  /// Rows handed out, and tokens that the target had to read for them: the head remembers nothing.
  std::uint64_t evaluated_tokens() const override { return evaluated_; }
  std::uint64_t evaluated_batches() const override { return batches_; }

  /// The target remembers what it was asked on the head's behalf.
  void forget() override { target().forget(); }

 private:
  /// From a feature over some tokens, after all of which but the first few a row is wanted.
  struct Walk {
    const float* feature;  ///< null where there is no token before
    std::span<const Token> tokens;
    std::size_t silent;     ///< tokens after which no row is wanted
    std::size_t first_row;  ///< of all requests' rows
  };

  std::size_t list_walks(std::span<const LogitsRequest> requests);
  void walk();

  std::shared_ptr<const BaseHead> head_;
  std::vector<Walk> walks_;
  std::vector<float> states_;      ///< by walk
  std::vector<float> row_states_;  ///< by row
  std::vector<float> guesses_;     ///< logits of the head's tokens, by row
  std::vector<float> values_;      ///< those of all tokens
  std::vector<const float*> rows_;
  std::uint64_t evaluated_ = 0;
  std::uint64_t batches_ = 0;
};

}  // namespace rewardshift
