// The features that one call of LanguageModel::logits() told, found by whose they are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/language_model.h"

namespace rewardshift {

class ToldFeatures {
 public:
  /// Those of a call: a pointer for each row of its requests, in their order.
  void tell(std::span<const LogitsRequest> requests, std::span<const float* const> features) {
    clear();
    features_.assign(features.begin(), features.end());
    std::size_t end = 0;
    for (const LogitsRequest& request : requests) {
      const auto n_rows = static_cast<std::size_t>(request.n_rows);
      end += n_rows;
      told_.push_back(
          {request.sequence, {request.tokens.begin(), request.tokens.end()}, end, n_rows});
    }
  }

  void clear() { told_.clear(); }

  /// As LanguageModel::features().
  std::span<const float* const> of(const LogitsRequest& request) const {
    const auto wanted = static_cast<std::size_t>(request.n_rows);
    for (const Told& told : told_) {
      if (told.sequence != request.sequence || told.n_rows < wanted) continue;
      if (!std::ranges::equal(told.tokens, request.tokens)) continue;
      return std::span(features_).subspan(told.end - wanted, wanted);
    }
    return {};
  }

 private:
  struct Told {
    int sequence;
    std::vector<Token> tokens;
    std::size_t end;  ///< in features_
    std::size_t n_rows;
  };

  std::vector<Told> told_;
  std::vector<const float*> features_;
};

/// The features behind the rows of these requests, one pointer each. A model whose latest call was
/// not about all of them is asked.
inline std::vector<const float*> features_of(LanguageModel& model,
                                             std::span<const LogitsRequest> requests) {
  const auto is_told = [&model](const LogitsRequest& request) {
    return request.n_rows == 0 || !model.features(request).empty();
  };
  if (!std::ranges::all_of(requests, is_told)) model.logits(requests);
  std::vector<const float*> features;
  for (const LogitsRequest& request : requests) {
    if (request.n_rows == 0) continue;
    const auto told = model.features(request);
    features.insert(features.end(), told.begin(), told.end());
  }
  return features;
}

}  // namespace rewardshift
