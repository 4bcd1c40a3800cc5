// Which drafts become part of the response, and what follows them.
#pragma once

#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "rewardshift/decode/judge.h"
#include "rewardshift/decode/refiner.h"
#include "rewardshift/decode/report.h"

namespace rewardshift {

/// Decides on the blocks of a round: chains jointly or one after another, trees branch by branch.
class Verifier {
 public:
  /// The panel is borrowed and must outlive the verifier.
  explicit Verifier(Panel& panel) : panel_(&panel), judge_(panel), reporter_(panel, judge_) {}
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  /// Accepts drafts, or corrects where they fail. Where all are accepted and the text goes on, the
  /// round wants a bonus.
  void verify(Request& request);

  /// Reads what the bonus needs and the block did not: who drafted reads its own last token only
  /// when all its tokens were accepted. What is rough of it is refined.
  void read_for_bonus(std::span<Request* const> requests, Refiner& refiner);

  /// Draws the token after a block that was accepted whole.
  void add_bonus(Request& request);

  const Reporter& reporter() const { return reporter_; }

 private:
  void verify_jointly(Request& request);
  std::size_t judge_chain(Request& request);
  void verify_one_by_one(Request& request);
  Decision decide_at(Request& request, std::size_t row, const Judged& judged);
  bool accept(Request& request, std::size_t i);
  void want_bonus(Request& request, std::size_t row);
  Judged& judged_at(std::size_t i);
  Rows rows_at(const Request& request, std::size_t row) const;
  void keep_bonus_rows(std::span<Request* const> requests, std::size_t model);

  Panel* panel_;
  Judge judge_;
  Reporter reporter_;
  std::deque<Judged> judged_;  ///< by draft of the block that is decided on
  std::vector<Weights> goals_;
  std::vector<Weights> proposals_;
  std::vector<Token> children_;  ///< drafted at the position being decided
  std::vector<double> accept_uniforms_;
  std::vector<double> residual_uniforms_;
  std::vector<WeightedToken> proposal_left_;
  std::vector<double> left_;
  std::vector<Question> questions_;
  std::vector<std::pair<Rows*, std::size_t>> answers_;  ///< by question: whose bonus, which part
  std::deque<std::vector<float>> kept_rows_;  ///< that the next call of their model would overwrite
};

}  // namespace rewardshift
