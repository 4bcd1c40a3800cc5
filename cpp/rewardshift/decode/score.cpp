// Scoring a given continuation: the same goal, with the tokens forced.
#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

#include "rewardshift/decode/decoder.h"
#include "rewardshift/decode/exclusive.h"

namespace rewardshift {

Scores Decoder::score(const Prompt& given, std::span<const Token> continuation,
                      RequestParams params) {
  const Exclusive exclusive(busy_);
  validate(params, vocab_size_);
  if (is_greedy(params.temperature)) {  // a point mass says nothing: pi* itself, as for its tokens
    params.temperature = 1.0;
    params.top_k = 0;
    params.top_p = 1.0;
    params.min_p = 0.0;
  }
  Prompt prompt = given;
  complete(prompt);
  check_tokens(continuation, vocab_size_, "continuation");
  const double strength = resolve_strength(params);
  Request request(-1, std::move(prompt), std::move(params), strength);
  for (auto& history : request.history) {
    history.insert(history.end(), continuation.begin(), continuation.end());
    if (history.size() > context_size_) {
      std::ostringstream message;
      message << "prompt and continuation have " << history.size() << " tokens; the context holds "
              << context_size_ << " (raise n_ctx)";
      throw ContextOverflowError(message.str(), history.size(), context_size_);
    }
  }
  request.sequences = {static_cast<int>(last_history_.size())};

  try {
    return score_continuation(request, continuation);
  } catch (const BadRowError&) {
    forget_histories();  // the NaN may be another's, who left it in a cache: ask once more
  }
  try {
    return score_continuation(request, continuation);
  } catch (const BadRowError&) {
    forget_histories();
    throw;
  }
}

Scores Decoder::score_continuation(Request& request, std::span<const Token> continuation) {
  Scores scores;
  constexpr std::size_t kRowsAtOnce = 64;
  for (std::size_t begin = 0; begin < continuation.size(); begin += kRowsAtOnce) {
    const std::size_t rows = std::min(kRowsAtOnce, continuation.size() - begin);
    score_rows(request, continuation.subspan(begin, rows), begin, scores);
  }
  return scores;
}

/// Scores the `tokens` that follow `begin` tokens of the continuation.
void Decoder::score_rows(Request& request, std::span<const Token> tokens, std::size_t begin,
                         Scores& scores) {
  request.generated = begin;
  std::array<std::span<const float* const>, kRoles> rows;
  const auto wanted = [&](Role role) {
    const auto history = std::span<const Token>(request.tokens_of(role))
                             .first(request.prompt_of(role) + begin + tokens.size() - 1);
    return LogitsRequest{sequence_of(request, role), history, static_cast<int>(tokens.size())};
  };
  for (const Role role : {Role::target, Role::draft, Role::reference}) {
    if (model(role) == nullptr) continue;
    auto& own = rows[static_cast<std::size_t>(role)];
    if (role == Role::draft && shares_batches_) {  // one batch, or the second would end the first
      const std::array both = {wanted(Role::draft), wanted(Role::reference)};
      const auto all = model_of(role).logits(both);
      own = all.first(tokens.size());
      rows[static_cast<std::size_t>(Role::reference)] = all.last(tokens.size());
      break;
    }
    const LogitsRequest alone = wanted(role);
    own = model_of(role).logits({&alone, 1});
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::array<std::span<const float>, kRoles> row;
    for (std::size_t k = 0; k < rows.size(); ++k) {
      if (!rows[k].empty()) row[k] = {rows[k][i], goal_.size()};
    }
    score_token(request, tokens[i], i, {row[0], row[1], row[2]}, scores);
  }
}

void Decoder::score_token(Request& request, Token token, std::size_t i, const RoleLogits& rows,
                          Scores& scores) {
  const Goal goal = goal_at(request, i, rows);
  const auto add_own = [token](std::vector<double>& to, std::span<const float> row,
                               double log_normaliser) {
    if (!row.empty()) to.push_back(log_probability(row, token, log_normaliser));
  };
  add_own(scores.target, rows.target, goal.log_normaliser.target);
  add_own(scores.draft, rows.draft, goal.log_normaliser.draft);
  add_own(scores.reference, rows.reference, goal.log_normaliser.reference);
  scores.goal.push_back(std::log(goal_[static_cast<std::size_t>(token)]));
  scores.log_z.push_back(goal.log_z);
}

}  // namespace rewardshift
