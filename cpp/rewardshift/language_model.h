// The seam between the decoder and whatever computes logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace rewardshift {

using Token = std::int32_t;

/// "The logits of the last `n_rows` positions of this history."
///
/// Row j of a request is the model's opinion of the token that follows
/// tokens[0 .. tokens.size() - n_rows + j]. With n_rows == 0 the history is only made ready
/// (prefilled), so that a later request that continues it is cheap. An empty history frees what the
/// sequence holds.
struct LogitsRequest {
  int sequence;                   ///< in [0, max_sequences()); histories of one sequence share work
  std::span<const Token> tokens;  ///< the whole history from position 0; borrowed for the call
  int n_rows;                     ///< in [0, tokens.size()]
  int n_drafts = 0;  ///< of the last tokens, how many may be taken back soon; in [0, tokens.size()]
};

/// Which tokens a row must be right about; see LanguageModel::refine().
struct Refinement {
  int sequence;                   ///< where this history was asked about last
  std::span<const Token> tokens;  ///< the whole history; the row is the one after its last token
  std::span<const Token> likely;  ///< tokens of the vocabulary, in any order
};

/// What a row does not say of one token yet: to be added to its value.
struct Correction {
  Token token;
  float more;
};

/// A causal language model, seen as a pure function from histories to logits.
///
/// Implementations may remember earlier histories to save work, but what they return depends on
/// the request alone (up to rounding). Callers therefore never manage a key-value cache: rolling
/// back after a rejected draft, reusing a prompt, and forking a sequence are all just asking for
/// the history one wants. Not thread-safe: one call at a time.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  virtual int vocab_size() const = 0;
  virtual int max_sequences() const = 0;

  /// Tokens of the longest history.
  virtual std::size_t context_size() const = 0;

  /// Tokens that all sequences together can hold.
  virtual std::size_t capacity() const { return context_size(); }

  /// Histories hold tokens below it: those of the vocabulary, and behind them such as only
  /// histories know.
  virtual int history_vocab_size() const { return vocab_size(); }

  virtual bool is_end_of_generation(Token token) const = 0;

  /// The bytes a token adds to the text; may end inside a UTF-8 character. Empty for control
  /// tokens.
  virtual std::string piece(Token token) const = 0;

  /// The same, but for control tokens what they are written as.
  virtual std::string spelling(Token token) const { return piece(token); }

  /// Evaluates all requests, each of a different sequence, in as few batches as fit.
  ///
  /// Returns one pointer per row to vocab_size() logits, request by request. The rows belong to
  /// the model and live until the next call. Throws EvaluationError, CancelledError, or
  /// ContextOverflowError where a history that is short enough takes more room than there is; after
  /// any of them, the model is as usable as before.
  virtual std::span<const float* const> logits(std::span<const LogitsRequest> requests) = 0;

  /// Whether rows are log-probabilities of each token by itself, which need not add up to one over
  /// this vocabulary. Their normaliser is then 0 by definition.
  virtual bool tells_log_probabilities() const { return false; }

  /// The tokens that such rows are about: a bit for each, the lowest first, in as many words as the
  /// vocabulary needs. What they say of others is made up of these, and no proposal: it would be
  /// counted twice. Empty: all of them.
  virtual std::span<const std::uint32_t> proposable() const { return {}; }

  /// Whether rows are rough about some tokens until refine() is asked about them.
  virtual bool is_rough() const { return false; }

  /// By request, what its row must say beyond what logits() says of the `likely` tokens; empty
  /// where that is right. Several requests may be of one sequence. What is to be added is NaN where
  /// the model's own rows are no distribution. It lives until the next call of refine(); rows of
  /// logits() stay as they are. Throws as logits() does.
  virtual std::span<const std::vector<Correction>> refine(std::span<const Refinement> requests) {
    static_cast<void>(requests);
    throw std::logic_error("the rows of this model are not rough: there is nothing to refine");
  }

  /// Values of a feature: the network's last hidden state, which a row is made of; 0 where the
  /// model tells none.
  virtual std::size_t feature_size() const { return 0; }

  /// The features behind the rows of a request, one pointer each, where the latest call of logits()
  /// about its sequence, or another, was asked for these rows of this history or of one that goes
  /// on from it; else none. They live until the sequence's next call.
  virtual std::span<const float* const> features(const LogitsRequest& request) const {
    static_cast<void>(request);
    return {};
  }

  /// Whether what histories of one call begin alike with is evaluated once, up to the first row
  /// that is wanted.
  virtual bool joins_histories() const { return false; }

  /// Tokens evaluated since construction: what memory could not answer.
  virtual std::uint64_t evaluated_tokens() const = 0;

  /// Batches that took: calls of the network, each of one or more tokens.
  virtual std::uint64_t evaluated_batches() const = 0;

  static constexpr std::size_t kAnyNumber = std::numeric_limits<std::size_t>::max();

  /// Of the tokens that a batch read of a history, how many can be taken back without reading
  /// others again, back to where drafts began: of a recurrent state it may be none.
  virtual std::size_t takes_back() const { return kAnyNumber; }

  /// Nobody goes on with what these sequences hold for now: it should cost others nothing. A
  /// history that begins like it may have it back.
  virtual void put_aside(std::span<const int> sequences) { static_cast<void>(sequences); }

  /// Drops all remembered work, for when it may be damaged: a NaN in a cache can spread.
  virtual void forget() {}

 protected:
  LanguageModel() = default;
};

}  // namespace rewardshift
