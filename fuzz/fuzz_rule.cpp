// The rule on any logits, weights, temperatures, truncations, adjustments and masks that validate()
// lets through: one decision, several of a tree, a block.
#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <vector>

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
  params.strengths = {input.take<double>()};
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
  if (input.at_most(1) == 0) params.strengths = {static_cast<double>(input.at_most(80)) / 10 - 4};
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

/// What may follow: mostly nearly everything.
std::vector<std::uint32_t> any_mask(Input& input, std::size_t n) {
  if (input.at_most(1) == 0) return {};
  std::vector<std::uint32_t> words = input.values<std::uint32_t>((n + 31) / 32);
  if (input.at_most(3) > 0) words.front() |= 0xFFFF;
  return words;
}

bool is_allowed(std::span<const std::uint32_t> mask, std::size_t token) {
  return mask.empty() || (mask[token / 32] >> (token % 32) & 1U) != 0;
}

void check_distribution(const Weights& weights, std::span<const std::uint32_t> mask,
                        const char* what) {
  double sum = 0.0;
  for (std::size_t i = 0; i < weights.of.size(); ++i) {
    const double p = weights[static_cast<Token>(i)];
    check(p >= 0.0 && p <= 1.0 + 1e-9, what);  // no NaN passes
    check(p == 0.0 || is_allowed(mask, i), "what may not follow has no weight");
    sum += p;
  }
  check(std::abs(sum - 1.0) < 1e-6, what);
}

double uniform(Input& input) { return static_cast<double>(input.take<std::uint32_t>()) * 0x1p-32; }

/// Several drafts of one proposal, drawn without replacement.
void check_one_of(Input& input, const Weights& goal, const Weights& proposal) {
  std::vector<WeightedToken> law;
  for (std::size_t i = 0; i < proposal.of.size(); ++i) {
    const auto token = static_cast<Token>(i);
    if (proposal[token] > 0.0) law.emplace_back(proposal[token], token);
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

/// A chain: rows are one of two goals and one of two proposals, in any order.
void check_block(Input& input, std::span<const Weights> goals, std::span<const Weights> proposals) {
  std::vector<Token> drafted;
  std::vector<Weights> goal_rows;
  std::vector<Weights> proposal_rows;
  std::vector<double> accept_uniforms;
  std::vector<double> residual_uniforms;
  for (std::size_t n = input.at_most(5); n > 0; --n) {
    goal_rows.push_back(goals[input.at_most(goals.size() - 1)]);
    proposal_rows.push_back(proposals[input.at_most(proposals.size() - 1)]);
    drafted.push_back(sample(proposal_rows.back(), uniform(input)));
    accept_uniforms.push_back(uniform(input));
    residual_uniforms.push_back(uniform(input));
  }
  const BlockDecision decision =
      decide_block(drafted, goal_rows, proposal_rows, accept_uniforms, residual_uniforms);
  check(decision.accepted <= drafted.size(), "no more is accepted than was drafted");
  for (std::size_t i = 0; i < decision.accepted; ++i) {
    check(goal_rows[i][drafted[i]] > 0.0, "what is accepted of a block is possible");
  }
  if (decision.accepted == drafted.size()) {
    check(decision.correction == -1, "a block that is accepted whole has no correction");
    return;
  }
  const Weights& there = goal_rows[decision.accepted];
  check(decision.correction >= 0 && static_cast<std::size_t>(decision.correction) < there.of.size(),
        "a correction is in range");
  check(there[decision.correction] > 0.0, "a correction is possible");
}

void run(Input& input) {
  const std::size_t n = 1 + input.at_most(40);
  const RequestParams params = any_params(input, static_cast<int>(n));
  const double s = params.strengths.front();
  const auto target = any_logits(input, n);
  const auto draft = any_logits(input, n);
  const auto reference = any_logits(input, n);
  const std::vector<Term> shifted{{target, 1.0}, {draft, s}, {reference, -s}};
  const std::vector<Term> alone{{draft, 1.0}};
  std::vector<Token> history;
  for (std::size_t i = input.at_most(20); i > 0; --i) {
    history.push_back(static_cast<Token>(input.at_most(n - 1)));
  }
  std::vector<Adjustment> adjustments;
  adjustments_at(params, history, adjustments);
  const bool is_papers = params.rule == Rule::paper;
  const auto mask = is_papers ? std::vector<std::uint32_t>{} : any_mask(input, n);
  const Shaping shaping{
      params.temperature, {params.top_k, params.top_p, params.min_p}, adjustments, mask};

  Workspace workspace;
  std::vector<float> goal_weights(n);
  std::vector<LogNormalisers> normalisers(shifted.size());
  const Goal made = goal(shifted, shaping, workspace, goal_weights, normalisers);
  if (!std::isfinite(made.log_normaliser)) return;  // the decoder refuses it
  if (!std::isfinite(made.log_z)) return;           // of a strength near the largest double
  check_distribution(made.weights, mask, "the goal is a distribution");
  check(std::isfinite(made.paper_scale) && made.paper_scale >= 0.0, "the paper's c is finite");

  std::vector<float> proposal_weights(n);
  const Shaped shaped = shape(alone, is_papers ? Shaping{params.temperature, {}, {}, {}} : shaping,
                              workspace, proposal_weights);
  if (!std::isfinite(shaped.log_normaliser)) return;  // the proposer is exhausted
  const Weights proposal{proposal_weights, shaped.sum};
  check_distribution(proposal, mask, "the proposal is a distribution");

  const auto in_range = [n](Token token) {
    check(token >= 0 && static_cast<std::size_t>(token) < n, "a token is in range");
    return token;
  };
  const Token drafted = in_range(sample(proposal, uniform(input)));
  check(proposal[drafted] > 0.0, "a drafted token is possible");
  const double scale = scale_of(params.rule, made);
  const Decision decision =
      decide(drafted, made.weights, proposal, scale, uniform(input), uniform(input));
  check(made.weights[in_range(decision.token)] > 0.0, "an emitted token is possible");
  check(!decision.accepted || decision.token == drafted, "what is accepted was drafted");

  std::vector<double> emitted(n);
  law(made.weights, proposal, scale, emitted);
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    check(emitted[i] >= 0.0 && emitted[i] <= 1.0 + 1e-6, "the law is of probabilities");
    check(is_papers || std::abs(emitted[i] - made.weights[static_cast<Token>(i)]) < 1e-6,
          "rule exact emits the goal");
    sum += emitted[i];
  }
  check(std::abs(sum - 1.0) < 1e-6, "the law is a distribution");
  const LawSummary summary = summarise_law(made.weights, proposal, scale, decision.token);
  check(summary.distance >= 0.0 && summary.distance <= 1.0 + 1e-6, "a distance is in [0, 1]");
  if (is_papers) return;
  check_one_of(input, made.weights, proposal);
  const std::vector<Weights> rows{made.weights, proposal};
  check_block(input, rows, rows);
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
