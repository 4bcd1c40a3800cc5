// The rules of reward-shifted speculative sampling: pure functions on spans, no models, no state.
//
//   p target, q draft (aligned), r reference (before alignment), g proposal, s strength
//   goal      pi*(x) = p(x) (q(x)/r(x))^s / Z_s          Z_s = sum_x p(x) (q(x)/r(x))^s
//
// The three rules are one: accept a drafted x with min(1, c pi*(x) / g(x)), else draw from
// (c pi* - g)+ normalised. They differ only in the goal and in the constant c ("scale"):
//
//   exact        pi* of strength s    c = 1     emits pi*, whatever the proposal
//   paper        pi* of strength s    c = Z_s   emits pi* only where Z_s = 1
//   speculative  p (strength 0)       c = 1     emits p
//
// The paper's rule is Li et al., EMNLP 2025, Eqs. 6-7: with g = q and s = 1, c pi*/q is p/r and the
// residual (q (p/r - 1))+. The speculative one is Leviathan et al., ICML 2023.
#pragma once

#include <span>

#include "rewardshift/math/distribution.h"

namespace rewardshift {

enum class Rule { exact, paper, speculative };

/// The three models' logits at one position. `draft` and `reference` may be empty where the
/// strength is 0; if they are not, they are only reported on there.
struct RoleLogits {
  std::span<const float> target;
  std::span<const float> draft;
  std::span<const float> reference;
};

/// z*(x) = z_p(x) + s (z_q(x) - z_r(x)); -inf where any role is -inf; z_p where s = 0.
void goal_logits(const RoleLogits& roles, double strength, std::span<double> out);

/// One position's goal. Natural logarithms throughout.
struct Goal {
  /// Normalisers of the roles' own logits at temperature 1: log p(x) = z_p(x) - target.
  /// Not finite exactly when that row is not a distribution. 0 for a role whose row is empty.
  struct Normalisers {
    double target = 0.0;
    double draft = 0.0;
    double reference = 0.0;
  } log_normaliser;

  /// log Z_s of the distributions at the sampling temperature (at 1 where that is 0), with the
  /// adjustments counted as part of p. Not finite when the roles have no token in common.
  double log_z = 0.0;

  /// c of the paper's rule: Z_s times the mass that truncation kept. 1 at temperature 0.
  double paper_scale = 1.0;

  /// log pi*(best token) before truncation, at the temperature (1 where that is 0).
  double best_log_probability = 0.0;
};

/// Writes the goal's probabilities: adjusted, tempered, truncated, normalised.
Goal goal(const RoleLogits& roles, double strength, const Shaping& shaping, Workspace& workspace,
          std::span<double> probs);

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
Decision decide(Token drafted, std::span<const double> goal, std::span<const double> proposal,
                double scale, double accept_uniform, double residual_uniform);

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
/// `proposal` (weights, not normalised, of all that could have been drawn) is used up; `left` is
/// workspace.
Decision decide_one_of(std::span<const Token> drafted, std::span<const double> goal,
                       std::span<WeightedToken> proposal, std::span<const double> accept_uniforms,
                       double residual_uniform, std::vector<double>& left);

/// The law of decide() over tokens drawn from `proposal`:
/// law(x) = min(g, c pi*)(x) + (1 - sum min(g, c pi*)) residual(x). `out` may not alias the inputs.
void law(std::span<const double> goal, std::span<const double> proposal, double scale,
         std::span<double> out);

/// law() at one token, and its total variation distance from the goal, without writing it out.
struct LawSummary {
  double log_probability;  ///< of the token
  double distance;         ///< in [0, 1]; 0 up to rounding for scale 1
};
LawSummary summarise_law(std::span<const double> goal, std::span<const double> proposal,
                         double scale, Token token);

}  // namespace rewardshift
