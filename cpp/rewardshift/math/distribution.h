// From logits to a distribution, and from a distribution to a token. Pure functions on spans.
//
// Rows of logits are float, as models give them, and all of one length. What is made of them is
// added up and exponentiated in float, relative to a token near the most probable one, and summed
// in double: against a softmax in double, probabilities above 1e-4 are right to about 2e-6
// relatively, and what is less than 2^-100 of the most probable token may be 0. Where float would
// do worse, as at extreme logits, strengths or temperatures, it is double. Whatever is then done
// with the weights (sampling, deciding) follows their distribution as written, in double, to about
// 1e-14.
//
// Nothing here allocates once a Workspace has grown to what is asked of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// Which tokens stay possible. Applied after the temperature, in this order.
struct Truncation {
  int top_k = 0;       ///< keep the k most probable tokens; 0 keeps all
  double top_p = 1.0;  ///< of those, the fewest most probable ones that reach this mass
  double min_p = 0.0;  ///< of those, the ones at least this share of the most probable one

  bool is_off() const { return top_k <= 0 && top_p >= 1.0 && min_p <= 0.0; }
};

/// Whether a temperature means the argmax: 0, or so near that no float logits could tell.
inline bool is_greedy(double temperature) { return temperature < 1e-6; }

/// A change to one token's logit: the repeat penalty, then the bias. Several apply in turn.
struct Adjustment {
  Token token;
  double bias = 0.0;
  double repeat_penalty = 1.0;  ///< divides positive logits, multiplies negative ones
};

/// How logits become the distribution that is sampled from.
struct Shaping {
  double temperature = 1.0;  ///< 0 is the argmax; the lowest id wins ties
  Truncation truncation;
  std::span<const Adjustment> adjustments;  ///< borrowed

  /// A grammar's mask, borrowed: a bit for each token, the lowest first, in as many words as the
  /// vocabulary needs. A token whose bit is 0 is impossible. Empty allows all.
  std::span<const std::uint32_t> allowed;
};

/// One row in a weighted sum of logits. Borrowed.
struct Term {
  std::span<const float> logits;
  double weight;

  /// Whether the row tells log-probabilities of each token by itself, which need not add up to one
  /// over this vocabulary: its normaliser is 0 by definition.
  bool is_normalised = false;
};

/// A distribution over the vocabulary: non-negative weights that need not sum to one. Borrowed.
struct Weights {
  std::span<const float> of;
  double sum = 0.0;  ///< of all weights, added up in double; above 0

  double operator[](Token token) const {
    return static_cast<double>(of[static_cast<std::size_t>(token)]) / sum;
  }
};

/// A token and its weight: an element of a distribution over few tokens.
using WeightedToken = std::pair<double, Token>;

/// Scratch memory, reused from call to call. One per thread.
struct Workspace {
  std::vector<WeightedToken> head;      ///< candidates of a truncation, and what it kept
  std::vector<WeightedToken> adjusted;  ///< logits that differ from the weighted sum, by token
};

/// log sum_x exp(logits(x) / temperature), to float precision (about 1e-7), at two temperatures.
/// Not finite exactly when the row is not a distribution: it holds NaN or +inf, or nothing but
/// -inf.
struct LogNormalisers {
  double at_one;
  double tempered;  ///< at the sampling temperature; at 1 where that is greedy
};
/// `near` is a token whose logit is likely not far below the largest: who knows one saves a pass.
LogNormalisers log_normalisers(std::span<const float> logits, double temperature,
                               std::optional<Token> near = std::nullopt);

/// The share of a row's distribution, given its normaliser at temperature 1, that falls on tokens
/// whose bit is 1, in as many words as the vocabulary needs; to float precision.
double mass_of(std::span<const float> logits, double log_normaliser,
               std::span<const std::uint32_t> tokens);

/// Writes the tokens of the n largest logits, the largest first, lower ids first among equals, in
/// one pass over the row. What is impossible is left out, and so is NaN.
void largest(std::span<const float> logits, std::size_t n, Workspace& workspace,
             std::vector<Token>& out);

/// log p(token) at temperature 1, of a row whose normaliser there is known.
inline double log_probability(std::span<const float> logits, Token token, double log_normaliser) {
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_normaliser;
}

/// Entropy at temperature 1, in nats, of a row that is a distribution, given its normaliser.
double entropy(std::span<const float> logits, double log_normaliser);

/// What shaping left of a row.
struct Shaped {
  double sum;             ///< of the weights that were written
  double log_normaliser;  ///< log sum exp of the row over the temperature (1 where that is 0)
  double kept;            ///< the mass that truncation kept, in (0, 1]
  double log_best;        ///< log-probability of the most probable token, before truncation
};

/// Writes the weights of softmax(z / temperature), truncated, where z(x) = sum_j w_j z_j(x), and
/// -inf where any term is -inf (also one of weight 0), adjusted and masked. There is at least one
/// term.
///
/// If z is not a distribution (NaN, +inf, or nothing but -inf), or any term holds NaN or +inf,
/// log_normaliser is not finite, and sum and weights are unspecified.
Shaped shape(std::span<const Term> terms, const Shaping& shaping, Workspace& workspace,
             std::span<float> weights);

/// The first token whose cumulative weight exceeds u * sum, for u in [0, 1). A token without weight
/// is never returned.
Token sample(const Weights& weights, double u);

/// Likewise of few tokens, whose weights are not all zero: the place of the one that is drawn.
std::size_t sample(std::span<const WeightedToken> weights, double u);

/// The n most probable tokens with their probabilities, most probable first, lower ids first
/// among equals. Fewer where fewer are possible. Borrowed from the workspace until its next use.
std::span<const WeightedToken> most_probable(const Weights& weights, std::size_t n,
                                             Workspace& workspace);

}  // namespace rewardshift
