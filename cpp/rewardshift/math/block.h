// Block verification: a chain of drafts is decided on as a whole. Pure functions on spans.
//
// Sun et al., "Block Verification Accelerates Speculative Decoding", ICLR 2025 (arXiv 2403.10444),
// Algorithm 2, with pi* in place of the target and any g for the proposal. Of drafts x_1 .. x_K
//
//   P_0 = 1    P_i = min(P_{i-1} pi*(x_i) / g(x_i), 1)
//   R_i = sum_x (P_i pi*_i(x) - g_i(x))+             over what may follow x_1 .. x_i, for i < K
//   h_K = P_K  h_i = R_i / (R_i + 1 - P_i)
//
// the longest x_1 .. x_i whose uniform is below h_i is accepted; what is shorter than K is
// corrected by a token from (P_i pi*_i - g_i)+ normalised. That emits pi* (as decide() does with
// scale 1) and no other rule with the same drafts accepts more of them on average; for K = 1 it is
// decide() with scale 1.
#pragma once

#include <cstddef>
#include <span>

#include "rewardshift/math/distribution.h"

namespace rewardshift {

/// What became of a chain of drafts.
struct BlockDecision {
  std::size_t accepted;  ///< how many of the drafts, from the first on
  Token correction;      ///< the token after those, where not all were accepted; else -1
  bool empty_residual;   ///< rejected where the residual is zero: the correction is from pi*
};

/// Accepts the first drafts of a chain, and corrects the next.
///
/// All spans have drafted.size() elements: goals[i] and proposals[i] are pi* and g of token i,
/// given those before it; proposals[i][drafted[i]] > 0; residual_uniforms[i] corrects token i. All
/// uniforms are independent. Where all are accepted, the caller draws what follows from the goal
/// of the next row (there is none after a token that ends the response).
BlockDecision decide_block(std::span<const Token> drafted, std::span<const Weights> goals,
                           std::span<const Weights> proposals,
                           std::span<const double> accept_uniforms,
                           std::span<const double> residual_uniforms);

}  // namespace rewardshift
