// The decoder's private view of a request: its histories, its random numbers, its round.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rewardshift/decode/acceptance.h"
#include "rewardshift/decode/drafter.h"
#include "rewardshift/decode/params.h"
#include "rewardshift/decode/statistics.h"
#include "rewardshift/decode/text_stream.h"

namespace rewardshift {

using RequestId = std::int64_t;

enum class FinishReason { stop, length, cancelled, error };

/// A token of the response and the opinions that led to it. Natural logarithms; NaN where there is
/// nothing to report: a role that took no part, no draft to compare the paper's law on.
struct EmittedToken {
  Token id;
  Origin origin;
  double logprob;         ///< of the law it was sampled from
  double target_logprob;  ///< of the roles' own distributions at temperature 1
  double draft_logprob;
  double reference_logprob;
  double log_z;           ///< log Z_s at its position
  double paper_distance;  ///< total variation between the paper rule's law and pi*
  double target_entropy;  ///< nats, of the target's own distribution at temperature 1
  std::vector<std::pair<Token, double>> top_logprobs;  ///< of the goal, most probable first
};

/// What happened to a request in a step.
struct Event {
  RequestId id = 0;
  std::vector<EmittedToken> tokens;
  std::string text;  ///< the bytes that became final; whole UTF-8 characters unless the end
  std::optional<FinishReason> finish;  ///< set once, with the last event
  std::string error;                   ///< why, where finish is error
  Statistics statistics;               ///< so far
};

/// One request's part of a round, before any of it is made known.
struct Round {
  /// By role: its logits by row of the block, in the model's memory. The draft's are in the block
  /// where it drafted itself; here and the reference's where they are needed.
  std::array<std::span<const float* const>, kRoles> rows;
  std::span<const float* const>& rows_of(Role role) { return rows[static_cast<std::size_t>(role)]; }
  RoleLogits bonus;  ///< the rows at K+1, where all drafts were accepted
  std::vector<EmittedToken> emitted;
  std::vector<std::size_t> accepted;  ///< the accepted drafts' numbers, in the order drawn
  std::size_t rejected = 0;           ///< 0 or 1
  int empty_residuals = 0;
  bool wants_bonus = false;  ///< all drafts were accepted and the text goes on
  /// What the table is to learn of each emitted token: the goal's most probable tokens there.
  std::vector<std::vector<WeightedToken>> sightings;
  std::string failure;   ///< why this request cannot go on; empty if it can
  bool bad_row = false;  ///< it is that a model's row was no distribution
};

struct Request {
  Request(RequestId id, Prompt prompt, RequestParams request_params, double request_strength)
      : id(id),
        params(std::move(request_params)),
        strength(request_strength),
        uniforms(params.seed, params.substream),
        history{std::move(prompt.target), std::move(prompt.draft), std::move(prompt.reference)},
        text(params.stop) {
    event.id = id;
    for (std::size_t i = 0; i < history.size(); ++i) prompt_size[i] = history[i].size();
  }

  std::vector<Token>& tokens_of(Role role) { return history[static_cast<std::size_t>(role)]; }

  /// The target's prompt and the response, without drafts.
  std::span<const Token> text_so_far() const {
    return std::span(history.front()).first(prompt_size.front() + generated);
  }

  std::size_t prompt_of(Role role) const { return prompt_size[static_cast<std::size_t>(role)]; }

  /// Drops whatever an unfinished round appended to the histories.
  void forget_drafts() {
    for (std::size_t i = 0; i < history.size(); ++i) history[i].resize(prompt_size[i] + generated);
  }

  /// Makes `token` the one after `accepted` drafts in all histories; what came after it is gone.
  void follow(std::size_t accepted, Token token) {
    for (std::size_t i = 0; i < history.size(); ++i) {
      history[i].resize(prompt_size[i] + generated + accepted);
      history[i].push_back(token);
    }
  }

  bool is_aligned() const { return strength != 0.0; }
  bool drafts_from_table() const { return params.drafter != nullptr; }
  bool drafts_trees() const { return draft_kind != DraftKind::chain; }
  bool is_finished() const { return event.finish.has_value(); }
  bool has_failed() const { return !round.failure.empty(); }

  void append(Token token) {
    for (auto& tokens : history) tokens.push_back(token);
    ++generated;
  }

  RequestId id;
  RequestParams params;
  double strength;
  Uniforms uniforms;
  std::array<std::vector<Token>, kRoles> history;  ///< prompt, response, then drafts in a round
  std::array<std::size_t, kRoles> prompt_size{};
  std::array<std::size_t, kRoles> prefilled{};  ///< prompt tokens the role has seen
  Acceptances acceptances{0.97};
  std::size_t draft_length = 0;             ///< tokens to draft in the next round
  DraftKind draft_kind = DraftKind::chain;  ///< and how
  std::size_t generated = 0;                ///< tokens of the response
  std::size_t limit = 0;                    ///< most tokens of the response
  std::vector<int> sequences;  ///< one for each branch; none while it waits for a place
  TextStream text;
  Statistics statistics;
  DraftBlock block;
  Round round;
  Event event;  ///< what its next step will tell
};

}  // namespace rewardshift
