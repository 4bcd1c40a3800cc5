// Scoring a given continuation: the same goal, with the tokens forced.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "rewardshift/decode/judge.h"
#include "rewardshift/decode/refiner.h"

namespace rewardshift {

/// Log-probabilities of a given continuation, position by position. Natural logarithms.
struct Scores {
  std::vector<std::vector<double>> readers;  ///< each reader's own, at temperature 1
  std::vector<double> goal;  ///< of pi*, shaped as the parameters say; at temperature 0 as at 1
  std::vector<double> log_z;
  /// The goal's most probable tokens, most probable first, as many as asked for.
  std::vector<std::vector<std::pair<Token, double>>> top;
};

/// Scores continuations at a place of its own.
class Scorer {
 public:
  /// The panel is borrowed and must outlive the scorer.
  Scorer(Panel& panel, const DecoderOptions& options)
      : panel_(&panel), judge_(panel), refiner_(panel, options) {}

  /// Scores `continuation` after the request's prompts, by all readers.
  Scores score(Request& request, std::span<const Token> continuation);

 private:
  Scores score_once(Request& request, std::span<const Token> continuation);
  void score_chunk(Request& request, std::span<const Token> tokens, std::size_t begin,
                   Scores& scores);
  void add_top(const Request& request, Scores& scores);
  void ask(const Request& request, std::size_t n);
  void refine(const Request& request, std::size_t n);
  double normaliser_of(const Request& request, std::size_t reader, std::span<const float> row,
                       std::size_t i);

  Panel* panel_;
  Judge judge_;
  Refiner refiner_;
  Judged judged_;
  Workspace workspace_;
  std::vector<Question> questions_;
  std::vector<Rows> rows_;  ///< by reader
};

}  // namespace rewardshift
