// The features that calls of LanguageModel::logits() told, found by whose they are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// What the latest call about each sequence told.
class ToldFeatures {
 public:
  /// Of sequences that are asked about anew.
  void forget(std::span<const LogitsRequest> requests) {
    std::erase_if(told_, [requests](const Told& told) {
      return std::ranges::count(requests, told.sequence, &LogitsRequest::sequence) > 0;
    });
  }

  void forget() { told_.clear(); }

  /// Copies those of a call: a pointer to `size` values for each row of its requests, in their
  /// order.
  void tell(std::span<const LogitsRequest> requests, std::span<const float* const> features,
            std::size_t size) {
    forget(requests);
    for (const LogitsRequest& request : requests) {
      const auto n_rows = static_cast<std::size_t>(request.n_rows);
      if (n_rows == 0) continue;
      Told& told = told_.emplace_back(request.sequence);
      told.tokens.assign(request.tokens.begin(), request.tokens.end());
      told.values.reserve(n_rows * size);
      for (const float* feature : features.first(n_rows)) {
        told.values.insert(told.values.end(), feature, feature + size);
      }
      for (std::size_t i = 0; i < n_rows; ++i) told.rows.push_back(told.values.data() + i * size);
      features = features.subspan(n_rows);
    }
  }

  /// As LanguageModel::features(); a branch of a history may lie in another sequence.
  std::span<const float* const> of(const LogitsRequest& request) const {
    for (const bool is_own : {true, false}) {
      for (const Told& told : told_) {
        if ((told.sequence == request.sequence) == is_own && told.knows(request)) {
          return told.rows_of(request);
        }
      }
    }
    return {};
  }

 private:
  struct Told {
    int sequence;
    std::vector<Token> tokens = {};
    std::vector<float> values = {};
    std::vector<const float*> rows = {};  ///< the last one is after all tokens

    std::size_t rowless() const { return tokens.size() - rows.size(); }

    bool knows(const LogitsRequest& request) const {
      const std::size_t size = request.tokens.size();
      return size <= tokens.size() &&
             size - static_cast<std::size_t>(request.n_rows) >= rowless() &&
             std::ranges::equal(std::span(tokens).first(size), request.tokens);
    }

    std::span<const float* const> rows_of(const LogitsRequest& request) const {
      const auto n_rows = static_cast<std::size_t>(request.n_rows);
      return std::span(rows).subspan(request.tokens.size() - n_rows - rowless(), n_rows);
    }
  };

  std::vector<Told> told_;
};

/// The features behind the rows of these requests, one pointer each. A model is asked about those
/// that it has not told lately.
inline std::vector<const float*> features_of(LanguageModel& model,
                                             std::span<const LogitsRequest> requests) {
  const auto untold = [&] {
    std::vector<LogitsRequest> found;
    for (const LogitsRequest& request : requests) {
      if (request.n_rows > 0 && model.features(request).empty()) found.push_back(request);
    }
    return found;
  };
  if (const auto missing = untold(); !missing.empty()) model.logits(missing);
  if (!untold().empty()) model.logits(requests);  // what another sequence had told was overwritten
  std::vector<const float*> features;
  for (const LogitsRequest& request : requests) {
    if (request.n_rows == 0) continue;
    const auto told = model.features(request);
    features.insert(features.end(), told.begin(), told.end());
  }
  return features;
}

}  // namespace rewardshift
