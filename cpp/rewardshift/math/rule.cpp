#include "rewardshift/math/rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

/// The law of one decision, token by token, once its two sums are known.
class DecisionLaw {
 public:
  DecisionLaw(std::span<const double> goal, std::span<const double> proposal, double scale)
      : goal_(goal.data()), proposal_(proposal.data()), scale_(scale) {
    const double kept = vector_sum(goal.size(), [this](std::size_t i) { return accepted(i); });
    const double mass = vector_sum(goal.size(), [this](std::size_t i) { return residual(i); });
    const double rejected = std::max(1.0 - kept, 0.0);
    // Under rule exact the two are equal. Under rule paper a residual may be empty but for the
    // rounding of float logits, which must not decide what is emitted.
    constexpr double kRounding = 1e-6;
    empty_ = mass <= kRounding * rejected || mass == 0.0;
    per_residual_ = empty_ ? 0.0 : rejected / mass;
    per_goal_ = empty_ ? rejected : 0.0;
  }

  /// Whether corrections come from the goal itself, for want of a residual.
  bool has_empty_residual() const { return empty_; }

  /// (c pi* - g)+, not normalised.
  double residual(std::size_t i) const { return std::max(scale_ * goal_[i] - proposal_[i], 0.0); }

  double operator()(std::size_t i) const {
    return accepted(i) + per_residual_ * residual(i) + per_goal_ * goal_[i];
  }

 private:
  double accepted(std::size_t i) const { return std::min(proposal_[i], scale_ * goal_[i]); }

  const double* goal_;
  const double* proposal_;
  double scale_;
  bool empty_;
  double per_residual_;
  double per_goal_;
};

}  // namespace

void goal_logits(const RoleLogits& roles, double strength, std::span<double> out) {
  const float* p = roles.target.data();
  const std::size_t n = out.size();
  if (strength == 0.0) {
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<double>(p[i]);
    return;
  }
  const float* q = roles.draft.data();
  const float* r = roles.reference.data();
  double* z = out.data();
  constexpr float kImpossible = -std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < n; ++i) {
    const double shifted = static_cast<double>(p[i]) +
                           strength * (static_cast<double>(q[i]) - static_cast<double>(r[i]));
    const bool impossible = (p[i] == kImpossible) | (q[i] == kImpossible) | (r[i] == kImpossible);
    z[i] = impossible ? static_cast<double>(kImpossible) : shifted;
  }
}

Goal goal(const RoleLogits& roles, double strength, const Shaping& shaping, Workspace& workspace,
          std::span<double> probs) {
  goal_logits(roles, strength, probs);
  adjust(probs, shaping.adjustments);
  const Shaped shaped = shape(probs, shaping.temperature, shaping.truncation, workspace);

  // Z at the temperature that is sampled at; greedy decoding shows that of 1.
  const bool greedy = is_greedy(shaping.temperature);
  const double t = greedy ? 1.0 : shaping.temperature;
  Goal result;
  const auto target = log_normalisers(roles.target, t);
  result.log_normaliser.target = target.at_one;
  result.log_z = shaped.log_normaliser - target.tempered;
  const auto add = [&](std::span<const float> row, double& at_one, double weight) {
    if (row.empty()) return;
    const auto normalisers = log_normalisers(row, t);
    at_one = normalisers.at_one;
    if (weight != 0.0) result.log_z -= weight * normalisers.tempered;
  };
  add(roles.draft, result.log_normaliser.draft, strength);
  add(roles.reference, result.log_normaliser.reference, -strength);
  result.best_log_probability = shaped.log_best;
  constexpr double kMost = 1e300;  // infinity times the zeros of pi* would not be a number
  if (!greedy) result.paper_scale = std::min(std::exp(result.log_z) * shaped.kept, kMost);
  return result;
}

double scale_of(Rule rule, const Goal& goal) {
  return rule == Rule::paper ? goal.paper_scale : 1.0;
}

double accept_probability(double goal_x, double proposal_x, double scale) {
  return std::min(1.0, scale * goal_x / proposal_x);
}

Decision decide(Token drafted, std::span<const double> goal, std::span<const double> proposal,
                double scale, double accept_uniform, double residual_uniform) {
  const auto x = static_cast<std::size_t>(drafted);
  if (accept_uniform < accept_probability(goal[x], proposal[x], scale)) {
    return {drafted, true, false};
  }
  const DecisionLaw law(goal, proposal, scale);
  if (law.has_empty_residual()) return {sample(goal, residual_uniform), false, true};
  const std::size_t corrected = find_cumulative(goal.size(), residual_uniform,
                                                [&law](std::size_t i) { return law.residual(i); });
  return {static_cast<Token>(corrected), false, false};
}

Decision decide_one_of(std::span<const Token> drafted, std::span<const double> goal,
                       std::span<WeightedToken> proposal, std::span<const double> accept_uniforms,
                       double residual_uniform, std::vector<double>& left) {
  left.assign(goal.begin(), goal.end());
  double mass = 1.0;
  for (std::size_t i = 0; i < drafted.size(); ++i) {
    double proposal_mass = 0.0;
    for (const auto& [weight, token] : proposal) proposal_mass += weight;
    const auto drawn = std::ranges::find(proposal, drafted[i], &WeightedToken::second);
    const double goal_x = left[static_cast<std::size_t>(drafted[i])] / mass;
    if (accept_uniforms[i] < accept_probability(goal_x, drawn->first / proposal_mass, 1.0)) {
      return {drafted[i], true, false};
    }
    const double scale = mass / proposal_mass;
    for (const auto& [weight, token] : proposal) {
      double& of_token = left[static_cast<std::size_t>(token)];
      of_token = std::max(of_token - scale * weight, 0.0);
    }
    const double* values = left.data();
    mass = vector_sum(left.size(), [values](std::size_t k) { return values[k]; });
    if (mass == 0.0) {  // the two are equal: nothing but rounding rejected
      const bool is_possible = goal[static_cast<std::size_t>(drafted[i])] > 0.0;
      if (is_possible) return {drafted[i], true, false};
      return {sample(goal, residual_uniform), false, true};
    }
    drawn->first = 0.0;
  }
  return {sample(left, residual_uniform), false, false};
}

void law(std::span<const double> goal, std::span<const double> proposal, double scale,
         std::span<double> out) {
  const DecisionLaw emitted(goal, proposal, scale);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = emitted(i);
}

LawSummary summarise_law(std::span<const double> goal, std::span<const double> proposal,
                         double scale, Token token) {
  const DecisionLaw emitted(goal, proposal, scale);
  const double* g = goal.data();
  const double distance =
      vector_sum(goal.size(), [&emitted, g](std::size_t i) { return std::abs(emitted(i) - g[i]); });
  return {std::log(emitted(static_cast<std::size_t>(token))), 0.5 * distance};
}

}  // namespace rewardshift
