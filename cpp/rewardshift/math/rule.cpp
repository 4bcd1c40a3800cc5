#include "rewardshift/math/rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

double residual_weight(double goal_x, double proposal_x, double scale) {
  return std::max(scale * goal_x - proposal_x, 0.0);
}

double residual_mass(std::span<const double> goal, std::span<const double> proposal, double scale) {
  return vector_sum(goal.size(), [g = goal.data(), q = proposal.data(), scale](std::size_t i) {
    return residual_weight(g[i], q[i], scale);
  });
}

/// The law of one decision, token by token, once its two sums are known.
class DecisionLaw {
 public:
  DecisionLaw(std::span<const double> goal, std::span<const double> proposal, double scale)
      : goal_(goal.data()), proposal_(proposal.data()), scale_(scale) {
    const double kept = vector_sum(goal.size(), [&](std::size_t i) { return accepted(i); });
    const double mass = residual_mass(goal, proposal, scale);
    const double rejected = std::max(1.0 - kept, 0.0);
    // Where the residual is empty the correction comes from the goal itself.
    per_residual_ = mass > 0.0 ? rejected / mass : 0.0;
    per_goal_ = mass > 0.0 ? 0.0 : rejected;
  }

  double operator()(std::size_t i) const {
    return accepted(i) + per_residual_ * residual_weight(goal_[i], proposal_[i], scale_) +
           per_goal_ * goal_[i];
  }

 private:
  double accepted(std::size_t i) const { return std::min(proposal_[i], scale_ * goal_[i]); }

  const double* goal_;
  const double* proposal_;
  double scale_;
  double per_residual_ = 0.0;
  double per_goal_ = 0.0;
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
  const double t = shaping.temperature == 0.0 ? 1.0 : shaping.temperature;
  Goal result;
  const auto target = log_normalisers(roles.target, t);
  result.log_normaliser.target = target.at_one;
  result.log_z = shaped.log_normaliser - target.tempered;
  if (strength != 0.0) {
    const auto draft = log_normalisers(roles.draft, t);
    const auto reference = log_normalisers(roles.reference, t);
    result.log_normaliser.draft = draft.at_one;
    result.log_normaliser.reference = reference.at_one;
    result.log_z -= strength * (draft.tempered - reference.tempered);
  }
  result.best_log_probability = shaped.log_best;
  if (shaping.temperature != 0.0) result.paper_scale = std::exp(result.log_z) * shaped.kept;
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
  if (residual_mass(goal, proposal, scale) > 0.0) {
    const auto weight = [g = goal.data(), q = proposal.data(), scale](std::size_t i) {
      return residual_weight(g[i], q[i], scale);
    };
    return {static_cast<Token>(find_cumulative(goal.size(), residual_uniform, weight)), false,
            false};
  }
  return {sample(goal, residual_uniform), false, true};
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
