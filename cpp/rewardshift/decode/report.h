// What is told of an emitted token beside its id.
#pragma once

#include <span>
#include <vector>

#include "rewardshift/decode/judge.h"

namespace rewardshift {

/// Describes tokens: what nobody asked for is not computed.
class Reporter {
 public:
  /// Both are borrowed and must outlive the reporter.
  Reporter(const Panel& panel, Judge& judge) : panel_(&panel), judge_(&judge) {}

  /// Adds a token to the round's emitted ones: decided on after the round's path, where the goal
  /// was judged so.
  void emit(Request& request, Token token, Origin origin, Judged& judged);

  /// Of a token that a grammar forced: nobody was asked.
  EmittedToken forced(Token token) const;

 private:
  EmittedToken describe(const Request& request, Token token, Origin origin,
                        const Judged& judged) const;
  void add_twins(const Request& request, const Judged& judged, EmittedToken& emitted) const;
  void add_lossless_draft(const Request& request, EmittedToken& emitted);
  void add_paper_law(const Request& request, const Judged& judged, EmittedToken& emitted);
  void add_top_logprobs(Request& request, const Judged& judged, EmittedToken& emitted);

  const Panel* panel_;
  Judge* judge_;
  Workspace workspace_;
  std::vector<float> scratch_;
};

}  // namespace rewardshift
