// The goal at one position, from what its readers say there.
#pragma once

#include <span>
#include <vector>

#include "rewardshift/decode/request.h"
#include "rewardshift/decode/shaper.h"
#include "rewardshift/shift/panel.h"

namespace rewardshift {

/// A position whose goal is known.
struct Judged {
  Rows rows;                                ///< what the goal's readers said, by part of the goal
  std::vector<LogNormalisers> normalisers;  ///< of these rows
  Goal goal;                                ///< borrows the weights
  std::vector<float> weights;
};

/// Makes goals of rows, and errors of rows that are no distributions.
class Judge {
 public:
  /// The panel is borrowed and must outlive the judge.
  explicit Judge(const Panel& panel) : panel_(&panel) {}

  /// pi* after the response so far and some drafts, given what the goal's readers say there.
  /// Throws BadRowError for a row that is no distribution, EvaluationError where no token is
  /// possible.
  void judge(Request& request, std::span<const Token> drafts, Rows rows, Judged& out);

  /// Adds what is only told of a token: the rows' own normalisers and Z. Of drafts that were
  /// rejected nobody ever asks.
  void tell(const Request& request, Token token, Judged& judged, bool wants_z);

  /// What a head says is the ratio of two laws but for a constant: that of p exp(lambda), which it
  /// makes of the target's, and the target's. This is the constant, given both rows.
  LogNormalisers head_normalisers(std::span<const float> target, std::span<const float> head,
                                  double temperature);

  /// pi* itself, at temperature 1, of a position whose goal was greedy.
  Weights ungreedy(Request& request, std::span<const Token> drafts, const Judged& judged);

 private:
  bool normalise_heads(const Request& request, Judged& judged, double temperature);
  void set_terms(const Request& request, const Judged& judged);
  [[noreturn]] void blame(const Request& request, std::size_t drafts, const Judged& judged) const;

  const Panel* panel_;
  Shaper shaper_;
  Workspace workspace_;
  std::vector<Term> terms_;
  std::vector<float> scratch_;
};

}  // namespace rewardshift
