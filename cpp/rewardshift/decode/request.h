// What the decoder knows of a request: its histories, its random numbers, its round.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rewardshift/decode/acceptance.h"
#include "rewardshift/decode/draft_block.h"
#include "rewardshift/decode/params.h"
#include "rewardshift/decode/quotation.h"
#include "rewardshift/decode/statistics.h"
#include "rewardshift/decode/text_stream.h"
#include "rewardshift/math/rng.h"
#include "rewardshift/math/rule.h"
#include "rewardshift/shift/panel.h"

namespace rewardshift {

using RequestId = std::int64_t;

enum class FinishReason { stop, length, cancelled, error };

/// A token of the response and the opinions that led to it. Natural logarithms; NaN where there is
/// nothing to report.
struct EmittedToken {
  Token id;
  Origin origin;
  double logprob;                       ///< of the law it was sampled from
  std::vector<double> reader_logprobs;  ///< each reader's own, at temperature 1; NaN if not asked
  /// By shift: the target's mass on tokens that the shift's vocabulary has too, at temperature 1;
  /// NaN of the target's own vocabulary, and if not asked.
  std::vector<double> twins;
  double log_z;           ///< log Z at its position; NaN without a shift
  double paper_distance;  ///< total variation between the paper rule's law and pi*, where asked for
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

/// One way to draft. A proposal of no readers means a table or a quotation.
struct Way {
  DraftKind kind = DraftKind::chain;
  Combination proposal;
};

/// What readers said, such as those of a goal at a position, by part; empty where one was not asked
/// yet.
using Rows = std::vector<std::span<const float>>;

/// One request's part of a round, before any of it is made known.
struct Round {
  /// By reader with a part in the goal: what it says at each row of the block. In its model's
  /// memory if it was asked for all of it, else in the block's, and in the refiner's where it was
  /// rough. Empty where it was not asked.
  std::vector<Rows> read;
  Rows bonus;  ///< at K+1, where all drafts were accepted
  std::vector<EmittedToken> emitted;
  std::vector<std::size_t> accepted;  ///< the accepted drafts' numbers, in the order drawn
  std::vector<Token> path;            ///< and the drafts themselves
  std::size_t rejected = 0;           ///< 0 or 1
  int empty_residuals = 0;
  bool wants_bonus = false;  ///< all drafts were accepted and the text goes on
  /// What the table is to learn of each emitted token: the goal's most probable tokens there.
  std::vector<std::vector<WeightedToken>> sightings;
  std::string failure;   ///< why this request cannot go on; empty if it can
  bool bad_row = false;  ///< it is that a reader's row was no distribution
};

struct Request {
  Request(RequestId id, Prompts prompts, RequestParams request_params)
      : id(id),
        params(std::move(request_params)),
        uniforms(params.seed, params.substream),
        history(std::move(prompts)),
        walk(params.grammar == nullptr ? nullptr : params.grammar->start()),
        text(params.stop) {
    event.id = id;
    for (const auto& tokens : history) prompt_size.push_back(tokens.size());
    prefilled.assign(history.size(), 0);
  }

  /// The target's prompt and the response, without drafts.
  std::span<const Token> text_so_far() const {
    return std::span(history.front()).first(prompt_size.front() + generated);
  }

  /// Drops whatever an unfinished round appended to the histories.
  void forget_drafts() {
    for (std::size_t i = 0; i < history.size(); ++i) history[i].resize(prompt_size[i] + generated);
  }

  /// Makes the round's accepted drafts the ones behind the response, in all histories.
  void follow_path() {
    forget_drafts();
    for (auto& tokens : history) tokens.insert(tokens.end(), round.path.begin(), round.path.end());
  }

  bool is_aligned() const { return goal.size() > 1; }
  bool is_drafting() const { return draft_length > 0; }
  bool drafts_by_readers() const { return is_drafting() && asks_readers(way.kind); }
  bool learns_table() const { return params.drafter != nullptr; }
  /// Whether proposals are over few tokens: trees, tables and quotations.
  bool has_short_laws() const {
    return way.kind != DraftKind::chain && way.kind != DraftKind::shifted_chain;
  }
  /// Whether the coming block is decided on as a whole. Only "exact" has a joint form, over chains
  /// whose proposals are known for every token; greedy chains gain nothing by it.
  bool verifies_jointly() const {
    return params.verification == Verification::block && params.rule != Rule::paper &&
           !is_greedy(params.temperature) && !has_short_laws();
  }

  /// What draws, or decides on, the i-th draft of the coming chain. Where a token is decided on by
  /// those up to it alone, later ones leave no trace, and their numbers are those of their
  /// positions. A joint decision has seen all of them: no later round may draw them again.
  double uniform_of_draft(std::size_t i, Purpose purpose) const {
    if (!verifies_jointly()) return uniforms(generated + i, purpose);
    return uniforms(generated, purpose, static_cast<std::uint32_t>(i) + 1);
  }

  bool is_finished() const { return event.finish.has_value(); }
  bool has_failed() const { return !round.failure.empty(); }

  /// Whether a reader takes part in the coming round.
  bool uses(std::size_t reader) const {
    return asks(goal, reader) || (drafts_by_readers() && asks(way.proposal, reader));
  }

  /// Ends it; what is left of its text is told.
  void finish(FinishReason reason) {
    event.text += text.take_rest();
    event.finish = reason;
  }

  void append(Token token) {
    for (auto& tokens : history) tokens.push_back(token);
    ++generated;
  }

  RequestId id;
  RequestParams params;
  Uniforms uniforms;
  std::vector<std::vector<Token>> history;  ///< by reader: prompt, response, drafts in a round
  std::vector<std::size_t> prompt_size;     ///< by reader
  std::vector<std::size_t> prefilled;       ///< by reader: prompt tokens it has seen
  std::unique_ptr<MaskWalk> walk;           ///< where the response is in its grammar; null: none

  Combination goal;       ///< of whom the goal is made
  std::vector<Way> ways;  ///< how readers could draft, the one to take unasked first
  Acceptances acceptances{0.97};
  Quotations quotations;  ///< where the text occurred before

  Way way;                       ///< how the next round drafts,
  std::size_t draft_length = 0;  ///< and how many tokens
  std::vector<Token> quoted;     ///< what a quotation would draft: histories move in a round

  std::size_t generated = 0;  ///< tokens of the response
  std::size_t limit = 0;      ///< most tokens of the response
  std::vector<int> places;    ///< one for each branch; none while it waits for one
  TextStream text;
  Statistics statistics;
  DraftBlock block;
  Round round;
  Event event;  ///< what its next step will tell
};

}  // namespace rewardshift
