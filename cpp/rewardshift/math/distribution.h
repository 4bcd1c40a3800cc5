// From logits to a distribution, and from a distribution to a token. Pure functions on spans.
//
// Logits are float (as models give them) or double (as combined here); probabilities are double.
// All spans over the vocabulary have one length. Nothing here allocates once a Workspace has grown
// to the vocabulary's size.
#pragma once

#include <cstddef>
#include <cstdint>
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
};

/// A token and its weight: an element of a distribution over few tokens.
using WeightedToken = std::pair<double, Token>;

/// Scratch memory for truncation, reused from call to call. One per thread.
struct Workspace {
  std::vector<WeightedToken> head;
};

/// log sum_x exp(logits(x) / temperature), to float precision (about 1e-7), at two temperatures.
/// Not finite exactly when the row is not a distribution: it holds NaN or +inf, or nothing but
/// -inf.
struct LogNormalisers {
  double at_one;
  double tempered;
};
LogNormalisers log_normalisers(std::span<const float> logits, double temperature);

/// log p(token) at temperature 1, of a row whose normaliser there is known.
inline double log_probability(std::span<const float> logits, Token token, double log_normaliser) {
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_normaliser;
}

/// Entropy at temperature 1, in nats, of a row that is a distribution, given its normaliser.
double entropy(std::span<const float> logits, double log_normaliser);

/// Adds each adjustment to its token's logit, in order.
void adjust(std::span<double> logits, std::span<const Adjustment> adjustments);

/// What shaping did to a row.
struct Shaped {
  double log_normaliser;  ///< log sum exp of the row over the temperature (1 where that is 0)
  double kept;            ///< the mass that truncation kept, in (0, 1]
  double log_best;        ///< log-probability of the most probable token, before truncation
};

/// Turns adjusted logits into the probabilities that are sampled from, in place.
///
/// If the row is not a distribution, log_normaliser is not finite and the values are unspecified.
Shaped shape(std::span<double> logits_to_probs, double temperature, const Truncation& truncation,
             Workspace& workspace);

/// The first token whose cumulative weight exceeds u * sum(weights), for u in [0, 1).
///
/// Weights are non-negative, not all zero, and need not sum to one; a token without weight is
/// never returned.
Token sample(std::span<const double> weights, double u);

/// Likewise of few tokens: the place of the one that is drawn.
std::size_t sample(std::span<const WeightedToken> weights, double u);

/// The n most probable tokens with their probabilities, most probable first, lower ids first
/// among equals. Fewer where fewer are possible.
std::span<const WeightedToken> most_probable(std::span<const double> probs, std::size_t n,
                                             Workspace& workspace);

}  // namespace rewardshift
