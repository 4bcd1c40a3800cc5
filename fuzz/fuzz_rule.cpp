// The rule on any logits, temperatures, truncations and adjustments that validate() lets through.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "input.h"
#include "rewardshift/decode/params.h"
#include "rewardshift/math/block.h"
#include "rewardshift/math/rule.h"

namespace rewardshift::fuzz {
namespace {

RequestParams any_params(Input& input, int vocab_size) {
  RequestParams params;
  params.temperature = input.take<double>();
  params.top_k = input.take<std::int8_t>();
  params.top_p = input.take<double>();
  params.min_p = input.take<double>();
  params.repeat_penalty = input.take<double>();
  params.frequency_penalty = input.take<double>();
  params.presence_penalty = input.take<double>();
  params.penalty_last_n = input.take<std::int8_t>();
  params.rule = static_cast<Rule>(input.at_most(1));
  if (input.at_most(3) == 0) {
    params.logit_bias.emplace_back(static_cast<Token>(input.at_most(40)), input.take<double>());
  }
  // Most doubles of random bits are refused; plain values get deeper.
  if (input.at_most(1) == 0) params.temperature = static_cast<double>(input.at_most(40)) / 10;
  if (input.at_most(1) == 0) params.top_p = static_cast<double>(1 + input.at_most(99)) / 100;
  if (input.at_most(1) == 0) params.min_p = static_cast<double>(input.at_most(100)) / 100;
  if (input.at_most(1) == 0) params.repeat_penalty = 1.0;
  if (input.at_most(1) == 0) params.frequency_penalty = 0.0;
  if (input.at_most(1) == 0) params.presence_penalty = 0.0;
  validate(params, vocab_size);
  return params;
}

std::vector<float> any_logits(Input& input, std::size_t n) {
  if (input.at_most(1) == 0) return input.values<float>(n);
  std::vector<float> logits;
  for (const std::int8_t z : input.values<std::int8_t>(n)) {
    logits.push_back(z == -128 ? -INFINITY : static_cast<float>(z) / 4);
  }
  return logits;
}

/// Strengths that validate() lets through; most doubles of random bits are none.
double any_strength(Input& input) {
  const double any = input.take<double>();
  const double plain = static_cast<double>(input.at_most(80)) / 10 - 4;
  return std::abs(any) <= 100.0 ? any : plain;
}

/// A grammar's, or none.
std::vector<std::uint32_t> any_mask(Input& input, std::size_t n) {
  if (input.at_most(1) == 0) return {};
  return input.values<std::uint32_t>((n + 31) / 32);
}

void check_distribution(std::span<const double> probs, const char* what) {
  for (const double p : probs) check(p >= 0.0 && p <= 1.0 + 1e-9, what);  // no NaN passes
  check(std::abs(std::accumulate(probs.begin(), probs.end(), 0.0) - 1.0) < 1e-6, what);
}

void check_distribution(const Weights& weights, const char* what) {
  for (const float w : weights.of) check(w >= 0.0F && std::isfinite(w), what);
  const double sum = std::accumulate(weights.of.begin(), weights.of.end(), 0.0);
  check(sum > 0.0 && std::abs(sum - weights.sum) <= 1e-12 * sum, what);
}

bool is_distribution(const Goal& goal, std::span<const LogNormalisers> normalisers) {
  return std::isfinite(goal.log_z) && std::ranges::all_of(normalisers, [](const auto& each) {
           return std::isfinite(each.at_one) && std::isfinite(each.tempered);
         });
}

double uniform(Input& input) { return static_cast<double>(input.take<std::uint32_t>()) * 0x1p-32; }

/// Several drafts of one proposal, drawn without replacement.
void check_one_of(Input& input, const Weights& goal, const Weights& proposal) {
  std::vector<WeightedToken> law;
  for (std::size_t i = 0; i < proposal.of.size(); ++i) {
    const double weight = proposal[static_cast<Token>(i)];
    if (weight > 0.0) law.emplace_back(weight, static_cast<Token>(i));
  }
  std::vector<Token> drafted;
  std::vector<double> accept_uniforms;
  auto left = law;
  for (std::size_t n = std::min(1 + input.at_most(4), law.size()); n > 0; --n) {
    WeightedToken& drawn = left[sample(left, uniform(input))];
    check(drawn.first > 0.0, "a draft of several is possible");
    drafted.push_back(drawn.second);
    accept_uniforms.push_back(uniform(input));
    drawn.first = 0.0;
  }
  std::vector<double> workspace;
  const Decision decision =
      decide_one_of(drafted, goal, law, accept_uniforms, uniform(input), workspace);
  check(decision.token >= 0 && static_cast<std::size_t>(decision.token) < goal.of.size(),
        "a token of several is in range");
  check(goal[decision.token] > 0.0, "of several a possible one is emitted");
  check(!decision.accepted || std::ranges::count(drafted, decision.token) == 1,
        "what is accepted of several was drafted");
}

/// A chain of drafts after one another, all of one law.
void check_block(Input& input, const Weights& goal, const Weights& proposal) {
  std::vector<Token> drafted;
  std::vector<double> accept_uniforms;
  std::vector<double> residual_uniforms;
  for (std::size_t n = input.at_most(4); n > 0; --n) {
    drafted.push_back(sample(proposal, uniform(input)));
    accept_uniforms.push_back(uniform(input));
    residual_uniforms.push_back(uniform(input));
  }
  const std::vector<Weights> goals(drafted.size(), goal);
  const std::vector<Weights> proposals(drafted.size(), proposal);
  const BlockDecision decision =
      decide_block(drafted, goals, proposals, accept_uniforms, residual_uniforms);
  check(decision.accepted <= drafted.size(), "no more of a block is accepted than was drafted");
  for (std::size_t i = 0; i < decision.accepted; ++i) {
    check(goal[drafted[i]] > 0.0, "what is accepted of a block is possible");
  }
  if (decision.accepted == drafted.size()) return;
  check(decision.correction >= 0 &&
            static_cast<std::size_t>(decision.correction) < goal.of.size() &&
            goal[decision.correction] > 0.0,
        "a block's correction is possible");
}

void run(Input& input) {
  const std::size_t n = 1 + input.at_most(40);
  const RequestParams params = any_params(input, static_cast<int>(n));
  const auto target = any_logits(input, n);
  const auto draft = any_logits(input, n);
  const auto reference = any_logits(input, n);
  std::vector<Token> history;
  for (std::size_t i = input.at_most(20); i > 0; --i) {
    history.push_back(static_cast<Token>(input.at_most(n - 1)));
  }
  std::vector<Adjustment> adjustments;
  adjustments_at(params, history, adjustments);
  const Truncation truncation{params.top_k, params.top_p, params.min_p};

  const double strength = any_strength(input);
  const auto allowed = any_mask(input, n);
  const std::vector<Term> terms{{target, 1.0}, {draft, strength}, {reference, -strength}};

  Workspace workspace;
  std::vector<float> goal_weights(n);
  std::vector<LogNormalisers> normalisers(terms.size());
  const Goal made = goal(terms, {params.temperature, truncation, adjustments, allowed}, workspace,
                         goal_weights, normalisers);
  if (!is_distribution(made, normalisers)) return;  // the decoder refuses it
  check_distribution(made.weights, "the goal is a distribution");
  check(std::isfinite(made.paper_scale) && made.paper_scale >= 0.0, "the paper's c is finite");

  Shaping of_proposal{params.temperature, {}, {}, {}};
  if (params.rule != Rule::paper) {
    of_proposal = {params.temperature, truncation, adjustments, allowed};
  }
  std::vector<float> proposal_weights(n);
  const Term q{draft, 1.0};
  const Shaped shaped = shape({&q, 1}, of_proposal, workspace, proposal_weights);
  if (!std::isfinite(shaped.log_normaliser)) return;  // the drafter is exhausted
  const Weights proposal{proposal_weights, shaped.sum};
  check_distribution(proposal, "the proposal is a distribution");

  const Token drafted = sample(proposal, uniform(input));
  check(drafted >= 0 && static_cast<std::size_t>(drafted) < n, "a token is in range");
  check(proposal[drafted] > 0.0, "a drafted token is possible");
  const double scale = scale_of(params.rule, made);
  const double accept = uniform(input);
  const double residual = uniform(input);
  const Decision decision = decide(drafted, made.weights, proposal, scale, accept, residual);
  check(made.weights[decision.token] > 0.0, "an emitted token is possible");
  check(!decision.accepted || decision.token == drafted, "what is accepted was drafted");

  std::vector<double> emitted(n);
  law(made.weights, proposal, scale, emitted);
  check_distribution(emitted, "the law is a distribution");
  if (params.rule == Rule::exact) {
    for (std::size_t i = 0; i < n; ++i) {
      check(std::abs(emitted[i] - made.weights[static_cast<Token>(i)]) < 1e-9,
            "rule exact emits the goal");
    }
    check_one_of(input, made.weights, proposal);
    check_block(input, made.weights, proposal);
  }
  const LawSummary summary = summarise_law(made.weights, proposal, scale, decision.token);
  check(summary.distance >= 0.0 && summary.distance <= 1.0 + 1e-6, "a distance is in [0, 1]");
}

}  // namespace
}  // namespace rewardshift::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rewardshift::fuzz::Input input(data, size);
  try {
    rewardshift::fuzz::run(input);
  } catch (const std::invalid_argument&) {  // what validate() is for
  }
  return 0;
}
