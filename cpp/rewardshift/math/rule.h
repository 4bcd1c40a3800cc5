// The rules of reward-shifted speculative sampling: pure functions on spans, no models, no state.
//
//   p target, q draft (aligned) and r reference (before alignment) of each shift, s its strength,
//   g proposal
//   goal      pi*(x) = p(x) prod_i (q_i(x)/r_i(x))^s_i / Z     Z = sum_x p(x) prod_i (...)^s_i
//
// Of logits that is a weighted sum: z*(x) = sum_j w_j z_j(x), with w = 1 for the target, s_i for
// drafts, and less the sum of their shifts' s_i for references.
//
// The three rules are one: accept a drafted x with min(1, c pi*(x) / g(x)), else draw from
// (c pi* - g)+ normalised. They differ only in the goal and in the constant c ("scale"):
//
//   exact        pi* of the strengths    c = 1    emits pi*, whatever the proposal
//   paper        pi* of the strengths    c = Z    emits pi* only where Z = 1
//   speculative  p (strength 0)          c = 1    emits p
//
// The paper's rule is Li et al., EMNLP 2025, Eqs. 6-7: with g = q and s = 1, c pi*/q is p/r and the
// residual (q (p/r - 1))+. The speculative one is Leviathan et al., ICML 2023.
//
// Distributions are Weights: ratios and residuals are formed in double, of weight over sum.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rewardshift/math/distribution.h"

namespace rewardshift {

enum class Rule { exact, paper, speculative };

/// One position's goal. Natural logarithms throughout.
struct Goal {
  Weights weights;  ///< pi*, adjusted, masked, tempered and truncated; borrows what goal() wrote to

  /// log Z of the distributions at the sampling temperature (at 1 where that is 0), with the
  /// adjustments and the mask counted as part of p: Z is of what may follow. Not finite when the
  /// terms have no such token in common. Terms of weight 0 have no part in it, and those that are
  /// normalised as they are go in as they are: of shifts by such terms it is
  /// log sum_x p_T(x) exp(s lambda(x) / T), with p_T the target's law at the temperature.
  double log_z = 0.0;

  /// c of the paper's rule: Z times the mass that truncation kept. 1 at temperature 0.
  double paper_scale = 1.0;

  /// log pi*(best token) before truncation, at the temperature (1 where that is 0).
  double log_best = 0.0;

  /// log sum exp(z* / temperature) (1 where that is 0), of the adjusted and masked logits.
  double log_normaliser = 0.0;
};

/// Writes the goal's weights as shape() does, and tells of it.
///
/// `normalisers` gets those of each term, see normalisers_of(). Where one is not finite, or log_z
/// is not, the weights are unspecified.
Goal goal(std::span<const Term> terms, const Shaping& shaping, Workspace& workspace,
          std::span<float> weights, std::span<LogNormalisers> normalisers);

/// Those of a term's own logits, not finite exactly when the row is not a distribution; 0 of one
/// that is normalised as it is.
LogNormalisers normalisers_of(const Term& term, double temperature,
                              std::optional<Token> near = std::nullopt);

/// log Z of terms whose weighted sum has the given normaliser at the temperature that the terms'
/// own are tempered to. For goals that were made by shape() alone, where nobody asked for Z yet.
double log_z(double log_normaliser, std::span<const Term> terms,
             std::span<const LogNormalisers> normalisers);

/// c of a rule at a position.
double scale_of(Rule rule, const Goal& goal);

/// min(1, c pi*(x) / g(x)) for a token with g(x) > 0.
double accept_probability(double goal_x, double proposal_x, double scale);

/// What became of a drafted token.
struct Decision {
  Token token;  ///< the drafted one if accepted, else its correction
  bool accepted;
  bool empty_residual;  ///< rejected where (c pi* - g)+ is zero: the correction is from pi*
};

/// Accepts or corrects one drafted token with two independent uniforms.
Decision decide(Token drafted, const Weights& goal, const Weights& proposal, double scale,
                double accept_uniform, double residual_uniform);

/// Accepts one of the tokens that a tree drafts after one history, or corrects them all, with
/// independent uniforms: one for each, and one for the correction. Emits pi*, however many were
/// drafted.
///
/// They were drawn from `proposal` one after another without replacement, in this order: each from
/// g_i, what the proposal leaves without those before it. Recursive rejection (Chen et al.,
/// "Sequoia", NeurIPS 2024, Algorithm 2) accepts the i-th with min(1, pi*_i(x_i) / g_i(x_i)), else
/// goes on with pi*_{i+1} = (pi*_i - g_i)+ normalised; a correction is drawn from what is left of
/// pi* in the end. For one token it is decide() with scale 1.
///
/// `proposal` (weights, not normalised, of all that could have been drawn, each token once) is used
/// up; `left` is workspace.
Decision decide_one_of(std::span<const Token> drafted, const Weights& goal,
                       std::span<WeightedToken> proposal, std::span<const double> accept_uniforms,
                       double residual_uniform, std::vector<double>& left);

/// The law of decide() over tokens drawn from `proposal`, as probabilities:
/// law(x) = min(g, c pi*)(x) + (1 - sum min(g, c pi*)) residual(x).
void law(const Weights& goal, const Weights& proposal, double scale, std::span<double> out);

/// law() at one token, and its total variation distance from the goal, without writing it out.
struct LawSummary {
  double log_probability;  ///< of the token
  double distance;         ///< in [0, 1]; 0 up to rounding for scale 1
};
LawSummary summarise_law(const Weights& goal, const Weights& proposal, double scale, Token token);

}  // namespace rewardshift
