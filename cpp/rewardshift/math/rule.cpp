#include "rewardshift/math/rule.h"

#include <algorithm>
#include <cmath>

#include "rewardshift/math/residual.h"
#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

/// The law of one decision, token by token, once its two sums are known.
class DecisionLaw {
 public:
  DecisionLaw(const Weights& goal, const Weights& proposal, double scale)
      : residual_(goal, proposal, scale), goal_(goal.of.data()) {
    const double mass = residual_.sum();
    const double rejected = residual_.rejected();
    // Under rule exact the two are equal. Under rule paper a residual may be empty but for the
    // rounding of float weights, which must not decide what is emitted.
    constexpr double kRounding = 1e-6;
    empty_ = mass <= kRounding * rejected || mass == 0.0;
    per_residual_ = empty_ ? 0.0 : rejected / mass;
    per_goal_ = empty_ ? rejected / goal.sum : 0.0;
  }

  /// Whether corrections come from the goal itself, for want of a residual.
  bool has_empty_residual() const { return empty_; }

  Token draw_from_residual(double u) const { return residual_.draw(u); }

  double operator()(std::size_t i) const {
    return residual_.kept(i) + per_residual_ * residual_(i) +
           per_goal_ * static_cast<double>(goal_[i]);
  }

 private:
  Residual residual_;
  const float* goal_;
  bool empty_;
  double per_residual_;
  double per_goal_;
};

/// Writes pi* out as probabilities; returns the mass of the tokens that are not in the proposal,
/// added up without the others: of a sharp goal no difference would be exact.
double write_out(const Weights& goal, std::span<const WeightedToken> proposal,
                 std::vector<double>& probs) {
  probs.resize(goal.of.size());
  const float* w = goal.of.data();
  double* p = probs.data();
  const double per_weight = 1.0 / goal.sum;
  for (std::size_t i = 0; i < probs.size(); ++i) p[i] = static_cast<double>(w[i]) * per_weight;
  for (const auto& [weight, token] : proposal) p[token] = 0.0;
  const double others = vector_sum(probs.size(), [p](std::size_t i) { return p[i]; });
  for (const auto& [weight, token] : proposal) p[token] = goal[token];
  return others;
}

}  // namespace

Goal goal(std::span<const Term> terms, const Shaping& shaping, Workspace& workspace,
          std::span<float> weights, std::span<LogNormalisers> normalisers) {
  const Shaped shaped = shape(terms, shaping, workspace, weights);
  Goal goal;
  goal.weights = {weights, shaped.sum};
  goal.log_best = shaped.log_best;
  goal.log_normaliser = shaped.log_normaliser;
  for (std::size_t j = 0; j < terms.size(); ++j) {
    normalisers[j] = normalisers_of(terms[j], shaping.temperature);
  }
  goal.log_z = log_z(shaped.log_normaliser, terms, normalisers);
  constexpr double kMost = 1e300;  // infinity times the zeros of pi* would not be a number
  if (!is_greedy(shaping.temperature)) {
    goal.paper_scale = std::min(std::exp(goal.log_z) * shaped.kept, kMost);
  }
  return goal;
}

LogNormalisers normalisers_of(const Term& term, double temperature, std::optional<Token> near) {
  if (term.is_normalised) return {0.0, 0.0};
  return log_normalisers(term.logits, temperature, near);
}

double log_z(double log_normaliser, std::span<const Term> terms,
             std::span<const LogNormalisers> normalisers) {
  double log_z = log_normaliser;
  for (std::size_t j = 0; j < terms.size(); ++j) {
    if (terms[j].weight != 0.0) log_z -= terms[j].weight * normalisers[j].tempered;
  }
  return log_z;
}

double scale_of(Rule rule, const Goal& goal) {
  return rule == Rule::paper ? goal.paper_scale : 1.0;
}

double accept_probability(double goal_x, double proposal_x, double scale) {
  return std::min(1.0, scale * goal_x / proposal_x);
}

Decision decide(Token drafted, const Weights& goal, const Weights& proposal, double scale,
                double accept_uniform, double residual_uniform) {
  if (accept_uniform < accept_probability(goal[drafted], proposal[drafted], scale)) {
    return {drafted, true, false};
  }
  const DecisionLaw law(goal, proposal, scale);
  if (law.has_empty_residual()) return {sample(goal, residual_uniform), false, true};
  return {law.draw_from_residual(residual_uniform), false, false};
}

Decision decide_one_of(std::span<const Token> drafted, const Weights& goal,
                       std::span<WeightedToken> proposal, std::span<const double> accept_uniforms,
                       double residual_uniform, std::vector<double>& left) {
  if (drafted.empty()) return {sample(goal, residual_uniform), false, false};
  double others = 0.0;  // the mass of what cannot be drafted, and is never taken from
  double mass = 1.0;
  for (std::size_t i = 0; i < drafted.size(); ++i) {
    const auto x = static_cast<std::size_t>(drafted[i]);
    double proposal_mass = 0.0;
    for (const auto& [weight, token] : proposal) proposal_mass += weight;
    const auto drawn = std::ranges::find(proposal, drafted[i], &WeightedToken::second);
    const double goal_x = (i == 0 ? goal[drafted[i]] : left[x]) / mass;
    if (accept_uniforms[i] < accept_probability(goal_x, drawn->first / proposal_mass, 1.0)) {
      return {drafted[i], true, false};
    }
    if (i == 0) others = write_out(goal, proposal, left);
    const double scale = mass / proposal_mass;
    mass = others;
    for (const auto& [weight, token] : proposal) {
      double& of_token = left[static_cast<std::size_t>(token)];
      of_token = std::max(of_token - scale * weight, 0.0);
      mass += of_token;
    }
    if (mass == 0.0) {  // the two are equal: nothing but rounding rejected
      if (goal[drafted[i]] > 0.0) return {drafted[i], true, false};
      return {sample(goal, residual_uniform), false, true};
    }
    drawn->first = 0.0;
  }
  const double* p = left.data();
  const std::size_t corrected =
      find_cumulative(left.size(), residual_uniform, [p](std::size_t i) { return p[i]; });
  return {static_cast<Token>(corrected), false, false};
}

void law(const Weights& goal, const Weights& proposal, double scale, std::span<double> out) {
  const DecisionLaw emitted(goal, proposal, scale);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = emitted(i);
}

LawSummary summarise_law(const Weights& goal, const Weights& proposal, double scale, Token token) {
  const DecisionLaw emitted(goal, proposal, scale);
  const float* g = goal.of.data();
  const double per_weight = 1.0 / goal.sum;
  const double distance = vector_sum(goal.of.size(), [&emitted, g, per_weight](std::size_t i) {
    return std::abs(emitted(i) - static_cast<double>(g[i]) * per_weight);
  });
  return {std::log(emitted(static_cast<std::size_t>(token))), 0.5 * distance};
}

}  // namespace rewardshift
