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

/// Throws std::invalid_argument unless all tokens are known, which are those below `end`.
inline void check_tokens(std::span<const Token> tokens, int end) {
  for (const Token token : tokens) {
    if (token < 0 || token >= end) {
      throw std::invalid_argument("token " + std::to_string(token) + " is not in the vocabulary");
    }
  }
}

/// Throws std::invalid_argument unless a sequence and a history of `tokens` can be asked about.
/// Tokens are known below `end`.
inline void check_history(int sequence, std::span<const Token> tokens, const LanguageModel& model,
                          int end) {
  if (sequence < 0 || sequence >= model.max_sequences()) {
    throw std::invalid_argument("there is no sequence " + std::to_string(sequence));
  }
  check_tokens(tokens, end);
}

/// Throws std::invalid_argument unless the requests keep the contract of LanguageModel::logits.
inline void check_requests(std::span<const LogitsRequest> requests, const LanguageModel& model,
                           int end) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const LogitsRequest& request = requests[i];
    check_history(request.sequence, request.tokens, model, end);
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
  }
}

/// Likewise where tokens are those of the model's vocabulary.
inline void check_requests(std::span<const LogitsRequest> requests, const LanguageModel& model) {
  check_requests(requests, model, model.vocab_size());
}

}  // namespace rewardshift
