#include "rewardshift/math/block.h"

#include <algorithm>

#include "rewardshift/math/residual.h"

namespace rewardshift {
namespace {

/// P_n: the first n drafts' share of pi*, of what the proposal gave them; at most 1.
double carried(std::span<const Token> drafted, std::span<const Weights> goals,
               std::span<const Weights> proposals, std::size_t n) {
  double p = 1.0;
  for (std::size_t i = 0; i < n; ++i) {
    p = std::min(p * goals[i][drafted[i]] / proposals[i][drafted[i]], 1.0);
  }
  return p;
}

}  // namespace

BlockDecision decide_block(std::span<const Token> drafted, std::span<const Weights> goals,
                           std::span<const Weights> proposals,
                           std::span<const double> accept_uniforms,
                           std::span<const double> residual_uniforms) {
  // From the back: the longest that passes is accepted, and a residual is added up only where it
  // decides. P is computed anew for each length, from a few numbers: blocks are short.
  std::size_t length = drafted.size();
  if (length == 0 || accept_uniforms[length - 1] < carried(drafted, goals, proposals, length)) {
    return {length, -1, false};
  }
  while (true) {
    const double p = carried(drafted, goals, proposals, --length);
    if (length > 0 && accept_uniforms[length - 1] >= p) continue;  // h <= p: its sum is at most p
    const Residual residual(goals[length], proposals[length], p);
    const double h = p < 1.0 ? residual.sum() / (residual.sum() + 1.0 - p) : 1.0;
    if (length > 0 && !(accept_uniforms[length - 1] < h)) continue;
    const bool is_empty = !(residual.sum() > 0.0);
    const double u = residual_uniforms[length];
    return {length, is_empty ? sample(goals[length], u) : residual.draw(u), is_empty};
  }
}

}  // namespace rewardshift
