// The rule on any logits, temperatures, truncations and adjustments that validate() lets through.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "input.h"
#include "rewardshift/decode/params.h"
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
  params.strength = input.take<double>();
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
  if (input.at_most(1) == 0) params.strength = static_cast<double>(input.at_most(80)) / 10 - 4;
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

void check_distribution(std::span<const double> probs, const char* what) {
  for (const double p : probs) check(p >= 0.0 && p <= 1.0 + 1e-9, what);  // no NaN passes
  check(std::abs(std::accumulate(probs.begin(), probs.end(), 0.0) - 1.0) < 1e-6, what);
}

bool is_distribution(const Goal& goal) {
  return std::isfinite(goal.log_normaliser.target) && std::isfinite(goal.log_normaliser.draft) &&
         std::isfinite(goal.log_normaliser.reference) && std::isfinite(goal.log_z);
}

double uniform(Input& input) { return static_cast<double>(input.take<std::uint32_t>()) * 0x1p-32; }

/// Several drafts of one proposal, drawn without replacement.
void check_one_of(Input& input, const std::vector<double>& goal, std::span<const double> proposal) {
  std::vector<WeightedToken> law;
  for (std::size_t i = 0; i < proposal.size(); ++i) {
    if (proposal[i] > 0.0) law.emplace_back(proposal[i], static_cast<Token>(i));
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
  check(decision.token >= 0 && static_cast<std::size_t>(decision.token) < goal.size(),
        "a token of several is in range");
  check(goal[static_cast<std::size_t>(decision.token)] > 0.0,
        "of several a possible one is emitted");
  check(!decision.accepted || std::ranges::count(drafted, decision.token) == 1,
        "what is accepted of several was drafted");
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

  Workspace workspace;
  std::vector<double> probs(n);
  const Goal made = goal({target, draft, reference}, *params.strength,
                         {params.temperature, truncation, adjustments}, workspace, probs);
  if (!is_distribution(made)) return;  // the decoder refuses it
  check_distribution(probs, "the goal is a distribution");
  check(std::isfinite(made.paper_scale) && made.paper_scale >= 0.0, "the paper's c is finite");

  std::vector<double> proposal(draft.begin(), draft.end());
  if (params.rule != Rule::paper) adjust(proposal, adjustments);
  const Shaped shaped = shape(proposal, params.temperature,
                              params.rule == Rule::paper ? Truncation{} : truncation, workspace);
  if (!std::isfinite(shaped.log_normaliser)) return;  // the drafter is exhausted
  check_distribution(proposal, "the proposal is a distribution");

  const auto at = [n](Token token) {
    check(token >= 0 && static_cast<std::size_t>(token) < n, "a token is in range");
    return static_cast<std::size_t>(token);
  };
  const Token drafted = sample(proposal, uniform(input));
  check(proposal[at(drafted)] > 0.0, "a drafted token is possible");
  const double scale = scale_of(params.rule, made);
  const Decision decision = decide(drafted, probs, proposal, scale, uniform(input), uniform(input));
  check(probs[at(decision.token)] > 0.0, "an emitted token is possible");
  check(!decision.accepted || decision.token == drafted, "what is accepted was drafted");

  std::vector<double> emitted(n);
  law(probs, proposal, scale, emitted);
  check_distribution(emitted, "the law is a distribution");
  if (params.rule == Rule::exact) {
    for (std::size_t i = 0; i < n; ++i) {
      check(std::abs(emitted[i] - probs[i]) < 1e-9, "rule exact emits the goal");
    }
  }
  if (params.rule == Rule::exact) check_one_of(input, probs, proposal);
  const LawSummary summary = summarise_law(probs, proposal, scale, decision.token);
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
