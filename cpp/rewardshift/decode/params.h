// What a request asks for. Options are defined here once, with their defaults and documentation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rewardshift/decode/ngram_table.h"
#include "rewardshift/mask/mask.h"
#include "rewardshift/math/distribution.h"
#include "rewardshift/math/rule.h"

namespace rewardshift {

/// How the drafts of a chain are verified under rule "exact": all of them jointly, which accepts
/// more, or one after another. Either emits the goal.
enum class Verification { block, token };

struct RequestParams {
  /// Most tokens to generate; -1 goes on until the context is full.
  int max_tokens = 128;
  double temperature = 0.8;  ///< of the goal; 0 (or below 1e-6) is greedy
  int top_k = 0;             ///< 0 is off
  double top_p = 1.0;
  double min_p = 0.0;
  std::vector<std::pair<Token, double>> logit_bias;  ///< added to the goal's logits
  double repeat_penalty = 1.0;                       ///< on tokens among the last penalty_last_n
  double frequency_penalty = 0.0;                    ///< per occurrence there
  double presence_penalty = 0.0;                     ///< once per token there
  int penalty_last_n = 64;                           ///< counts prompt and response; -1 is all
  /// Exponent of each shift, in the decoder's order; none at all is each shift's own default.
  std::vector<double> strengths;
  Rule rule = Rule::exact;
  Verification verification = Verification::block;
  /// What may follow: a grammar over the decoder's vocabulary. It masks goal and proposals.
  std::shared_ptr<const Grammar> grammar;
  /// Tokens drafted per round; 0 never drafts. Unset, the decoder chooses what promises most tokens
  /// a second, by measured times and acceptance.
  std::optional<int> num_draft_tokens;
  /// Drafts come from this table instead of the draft model, and it learns what is emitted.
  /// Requests that share a table must differ in seed or substream.
  std::shared_ptr<NgramTable> drafter;
  /// Whether drafts are also quoted from the prompt and the response where their last tokens
  /// occurred before. Unset: where the decoder chooses what is drafted.
  std::optional<bool> prompt_lookup;
  /// Most branches of the tree that the drafts of a round make; 1 is a chain. Each takes one of the
  /// models' sequences for as long as the request is under way.
  int tree_width = 1;
  std::uint64_t seed = 0;
  /// Lets nothing that is measured choose the draft length: which random numbers make a token
  /// depends on it, so only then does the seed fix the text.
  bool reproducible = false;
  /// Distinguishes requests that share a seed, such as the samples of one batch.
  std::uint32_t substream = 0;
  std::vector<std::string> stop;  ///< the text ends before the first of these
  /// Control tokens whose spelling is part of the text, as that of others is not.
  std::vector<Token> visible_tokens;
  int top_logprobs = 0;         ///< most probable tokens of the goal to report per position
  bool entropy = false;         ///< report the target's entropy per position
  bool paper_distance = false;  ///< report how far the paper's rule would be from the goal

  /// Whether what was said before changes any logit.
  bool penalises() const {
    return repeat_penalty != 1.0 || frequency_penalty != 0.0 || presence_penalty != 0.0;
  }

  /// Whether logit_bias makes a token impossible.
  bool forbids(Token token) const;

  /// Whether the text shows how a token is spelled, though it may be a control token.
  bool shows(Token token) const { return std::ranges::count(visible_tokens, token) > 0; }
};

struct DecoderOptions {
  /// Tokens drafted per round where neither the request nor a measurement says: for reproducible
  /// requests, and before calibrate(). Three make blocks of four rows, which quantised matrix
  /// kernels verify at little more than the cost of one.
  int num_draft_tokens = 3;
  /// Most tokens that are drafted per round where the decoder chooses.
  int max_draft_tokens = 15;
  /// Most prompt tokens that one step evaluates per role, over all requests.
  int prefill_chunk = 512;
  /// A prompt's chunks are all read before its first round, but for its last token. Else what is
  /// left of it and fits into a chunk is read by that round: a batch less, whose shape then depends
  /// on the round.
  bool prefills_whole = false;
  /// Readers of another vocabulary weigh so many of the target's most probable tokens by all of
  /// their pieces in it, one by one, and others that it lacks by their first piece. Part of the
  /// law.
  int refined_tokens = 16;
  /// Of these, only such as have at least this share of the target's mass, at temperature 1: also
  /// part of the law. Of less likely ones the first piece says nearly the same: see "What another
  /// vocabulary costs" in docs/performance.md.
  double refined_share = 0.003;
  /// Threads for our own work on the rows of several requests. Texts do not depend on it.
  int n_threads = 1;
};

/// Both throw std::invalid_argument, naming the option and the value given.
void validate(const RequestParams& params, int vocab_size);
void validate(const DecoderOptions& options);

/// The token histories that the readers start from, by reader. One that is left empty, or out, sees
/// the target's.
using Prompts = std::vector<std::vector<Token>>;

/// Throws std::invalid_argument, naming the first token that is not in [0, vocab_size).
void check_tokens(std::span<const Token> tokens, int vocab_size, const std::string& whose);

/// The adjustments of one position after `history` (prompt and response so far), into `out`.
void adjustments_at(const RequestParams& params, std::span<const Token> history,
                    std::vector<Adjustment>& out);

}  // namespace rewardshift
