#include "rewardshift/decode/params.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

#include "rewardshift/require.h"

namespace rewardshift {
namespace {

constexpr int kMostDraftTokens = 64;
constexpr int kMostBranches = 64;

}  // namespace

bool RequestParams::forbids(Token token) const {
  return std::ranges::any_of(logit_bias, [token](const auto& biased) {
    return biased.first == token && std::isinf(biased.second);
  });
}

void validate(const RequestParams& p, int vocab_size) {
  require(p.max_tokens >= -1, "max_tokens", "-1 (until the context is full) or at least 0",
          p.max_tokens);
  require(std::isfinite(p.temperature) && p.temperature >= 0.0, "temperature", "finite and >= 0",
          p.temperature);
  require(p.top_k >= 0, "top_k", "at least 0 (0 is off)", p.top_k);
  require(p.top_p > 0.0 && p.top_p <= 1.0, "top_p", "in (0, 1]", p.top_p);
  require(p.min_p >= 0.0 && p.min_p <= 1.0, "min_p", "in [0, 1]", p.min_p);
  require(std::isfinite(p.repeat_penalty) && p.repeat_penalty > 0.0, "repeat_penalty",
          "finite and > 0", p.repeat_penalty);
  require(std::isfinite(p.frequency_penalty), "frequency_penalty", "finite", p.frequency_penalty);
  require(std::isfinite(p.presence_penalty), "presence_penalty", "finite", p.presence_penalty);
  require(p.penalty_last_n >= -1, "penalty_last_n", "-1 (all) or at least 0", p.penalty_last_n);
  require(p.top_logprobs >= 0 && p.top_logprobs <= vocab_size, "top_logprobs",
          "between 0 and the vocabulary's size", p.top_logprobs);
  for (const double strength : p.strengths) {
    require(std::isfinite(strength), "strength", "finite", strength);
    require(p.rule != Rule::speculative || strength == 0.0, "strength",
            "0 (or unset) with rule 'speculative'", strength);
  }
  if (p.num_draft_tokens) {
    require(*p.num_draft_tokens >= 0 && *p.num_draft_tokens <= kMostDraftTokens, "num_draft_tokens",
            "between 0 and 64", *p.num_draft_tokens);
  }
  require(p.tree_width >= 1 && p.tree_width <= kMostBranches, "tree_width", "between 1 and 64",
          p.tree_width);
  if (p.rule == Rule::paper &&
      (p.drafter != nullptr || p.tree_width > 1 || p.prompt_lookup.value_or(false))) {
    throw std::invalid_argument(
        "rule 'paper' is defined for a chain of the draft model's tokens: leave out drafter, "
        "prompt_lookup and tree_width, or use rule 'exact'");
  }
  if (p.rule == Rule::paper && p.grammar != nullptr) {
    throw std::invalid_argument("rule 'paper' knows no grammar: use rule 'exact'");
  }
  if (p.grammar != nullptr) {
    require(p.grammar->vocab_size() >= vocab_size, "grammar", "over the decoder's vocabulary",
            p.grammar->vocab_size());
  }
  for (const auto& [token, bias] : p.logit_bias) {
    require(token >= 0 && token < vocab_size, "logit_bias", "on tokens of the vocabulary", token);
    require(!std::isnan(bias) && bias < HUGE_VAL, "logit_bias", "finite or -inf", bias);
  }
  for (const std::string& stop : p.stop) {
    require(!stop.empty(), "stop", "made of non-empty strings", "''");
  }
}

void validate(const DecoderOptions& options) {
  require(options.num_draft_tokens >= 0 && options.num_draft_tokens <= kMostDraftTokens,
          "num_draft_tokens", "between 0 and 64", options.num_draft_tokens);
  require(options.max_draft_tokens >= 0 && options.max_draft_tokens <= kMostDraftTokens,
          "max_draft_tokens", "between 0 and 64", options.max_draft_tokens);
  require(options.prefill_chunk >= 1, "prefill_chunk", "at least 1", options.prefill_chunk);
  require(options.refined_tokens >= 0, "refined_tokens", "at least 0", options.refined_tokens);
  require(options.refined_share >= 0.0 && options.refined_share <= 1.0, "refined_share",
          "between 0 and 1", options.refined_share);
  require(options.n_threads >= 1, "n_threads", "at least 1", options.n_threads);
}

void check_tokens(std::span<const Token> tokens, int vocab_size, const std::string& whose) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocab_size) continue;
    std::ostringstream message;
    message << "token " << i << " of the " << whose << " is " << tokens[i]
            << ", outside the vocabulary [0, " << vocab_size << ")";
    throw std::invalid_argument(message.str());
  }
}

void adjustments_at(const RequestParams& params, std::span<const Token> history,
                    std::vector<Adjustment>& out) {
  out.clear();
  for (const auto& [token, bias] : params.logit_bias) out.push_back({token, bias, 1.0});
  if (!params.penalises()) return;
  if (params.penalty_last_n >= 0) {
    history =
        history.last(std::min(history.size(), static_cast<std::size_t>(params.penalty_last_n)));
  }
  std::vector<Token> seen(history.begin(), history.end());
  std::sort(seen.begin(), seen.end());
  for (auto it = seen.begin(); it != seen.end();) {
    const auto next = std::upper_bound(it, seen.end(), *it);
    const double count = static_cast<double>(next - it);
    out.push_back(
        {*it, -count * params.frequency_penalty - params.presence_penalty, params.repeat_penalty});
    it = next;
  }
}

}  // namespace rewardshift
