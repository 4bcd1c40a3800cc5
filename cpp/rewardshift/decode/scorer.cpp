#include "rewardshift/decode/scorer.h"

#include <algorithm>
#include <cmath>

namespace rewardshift {

Scores Scorer::score(Request& request, std::span<const Token> continuation) {
  request.places = {static_cast<int>(panel_->places())};
  try {
    return score_once(request, continuation);
  } catch (const BadRowError&) {
    panel_->forget();  // the NaN may be another's, who left it in a cache: ask once more
  }
  try {
    return score_once(request, continuation);
  } catch (const BadRowError&) {
    panel_->forget();
    throw;
  }
}

Scores Scorer::score_once(Request& request, std::span<const Token> continuation) {
  constexpr std::size_t kRowsAtOnce = 64;
  request.generated = 0;
  request.forget_drafts();
  Scores scores;
  scores.readers.resize(panel_->size());
  for (std::size_t begin = 0; begin < continuation.size(); begin += kRowsAtOnce) {
    const std::size_t rows = std::min(kRowsAtOnce, continuation.size() - begin);
    score_chunk(request, continuation.subspan(begin, rows), begin, scores);
  }
  return scores;
}

/// Scores the `tokens` that follow `begin` tokens of the continuation.
void Scorer::score_chunk(Request& request, std::span<const Token> tokens, std::size_t begin,
                         Scores& scores) {
  for (auto& history : request.history) {
    history.insert(history.end(), tokens.begin(), tokens.end());
  }
  ask(request, tokens.size());
  refine(request, tokens.size());
  request.generated = begin;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Rows at;
    for (const Part& part : request.goal) at.push_back(rows_[part.reader][i]);
    judge_.judge(request, tokens.first(i), std::move(at), judged_);
    judge_.tell(request, tokens[i], judged_, true);
    scores.goal.push_back(std::log(judged_.goal.weights[tokens[i]]));
    scores.log_z.push_back(judged_.goal.log_z);
    if (request.params.top_logprobs > 0) add_top(request, scores);
    for (std::size_t reader = 0; reader < panel_->size(); ++reader) {
      const std::span<const float> row = rows_[reader][i];
      const double normaliser = normaliser_of(request, reader, row, i);
      scores.readers[reader].push_back(log_probability(row, tokens[i], normaliser));
    }
  }
}

/// The goal's most probable tokens at the position that was judged last.
void Scorer::add_top(const Request& request, Scores& scores) {
  const auto n = static_cast<std::size_t>(request.params.top_logprobs);
  auto& top = scores.top.emplace_back();
  for (const auto& [probability, token] : most_probable(judged_.goal.weights, n, workspace_)) {
    top.emplace_back(token, std::log(probability));
  }
}

/// Rows of the last `n` tokens of the histories, for all readers: also for those that have no say
/// in the goal.
void Scorer::ask(const Request& request, std::size_t n) {
  rows_.resize(panel_->size());
  for (std::size_t model = 0; model < panel_->models(); ++model) {
    questions_.clear();
    for (std::size_t reader = 0; reader < panel_->size(); ++reader) {
      if (panel_->model_of(reader) != model) continue;
      const std::span<const Token> history = request.history[reader];
      questions_.push_back(
          {reader, request.places.front(), history.first(history.size() - 1), static_cast<int>(n)});
    }
    auto all = panel_->rows(questions_);
    for (const Question& question : questions_) {
      Rows& rows = rows_[question.reader];
      rows.clear();
      for (const float* row : all.first(n)) {
        rows.emplace_back(row, static_cast<std::size_t>(panel_->vocab_size()));
      }
      all = all.subspan(n);
    }
  }
}

/// Row i of the last `n` follows all but n - i tokens of a history.
void Scorer::refine(const Request& request, std::size_t n) {
  refiner_.start();
  for (std::size_t reader = 0; reader < panel_->size(); ++reader) {
    if (!panel_->is_rough(reader)) continue;
    const std::span<const Token> history = request.history[reader];
    for (std::size_t i = 0; i < n; ++i) {
      refiner_.note(reader, request.places.front(), history.first(history.size() - n + i),
                    rows_[Panel::kTarget][i], rows_[reader][i]);
    }
  }
  refiner_.refine_noted();
}

/// Of a reader's i-th row, which is known already where it has a say in the goal.
/// Throws BadRowError for a row that is no distribution.
double Scorer::normaliser_of(const Request& request, std::size_t reader, std::span<const float> row,
                             std::size_t i) {
  for (std::size_t part = 0; part < request.goal.size(); ++part) {
    if (request.goal[part].reader == reader) return judged_.normalisers[part].at_one;
  }
  if (panel_->shifts_by_head(reader)) {
    return judge_.head_normalisers(rows_[Panel::kTarget][i], row, 1.0).at_one;
  }
  return panel_->require_normaliser(row, reader,
                                    request.prompt_size[reader] + request.generated + i);
}

}  // namespace rewardshift
