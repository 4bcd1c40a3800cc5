// What implementations of LanguageModel share in handling histories.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// How many tokens two histories begin with alike.
inline std::size_t common_prefix(std::span<const Token> a, std::span<const Token> b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

/// Throws std::invalid_argument unless the requests keep the contract of LanguageModel::logits.
inline void check_requests(std::span<const LogitsRequest> requests, const LanguageModel& model) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const LogitsRequest& request = requests[i];
    if (request.sequence < 0 || request.sequence >= model.max_sequences()) {
      throw std::invalid_argument("there is no sequence " + std::to_string(request.sequence));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (requests[j].sequence == request.sequence) {
        throw std::invalid_argument("sequence " + std::to_string(request.sequence) +
                                    " is asked for twice in one call");
      }
    }
    if (request.n_rows < 0 || static_cast<std::size_t>(request.n_rows) > request.tokens.size()) {
      throw std::invalid_argument("a history of " + std::to_string(request.tokens.size()) +
                                  " tokens has no " + std::to_string(request.n_rows) + " rows");
    }
    if (request.n_drafts < 0 ||
        static_cast<std::size_t>(request.n_drafts) > request.tokens.size()) {
      throw std::invalid_argument("a history of " + std::to_string(request.tokens.size()) +
                                  " tokens has no " + std::to_string(request.n_drafts) +
                                  " drafts at its end");
    }
    for (const Token token : request.tokens) {
      if (token < 0 || token >= model.vocab_size()) {
        throw std::invalid_argument("token " + std::to_string(token) + " is not in the vocabulary");
      }
    }
  }
}

}  // namespace rewardshift
