// A head that drafts: what a target will say next, guessed from its features.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/language_model.h"
#include "rewardshift/math/byte_matrix.h"

namespace rewardshift {

/// A small recurrent network. Its state z is, at first, the feature that the target's latest token
/// was drawn from, and after each token x the network's guess of the next feature:
///
///   z <- keep * z + out silu(mix [z, e(x)] + mix_bias) + out_bias
///
/// (products of vectors value by value, and [z, e(x)] times an input scale), from which `output`
/// makes logits as the target's last matrix does of a feature. e(x) is the token's column of
/// `output`; 0 for a token that the head does not know, and never guesses.
///
/// Trained as HASS (ICLR 2025) trains its head: on states that it fed itself.
class BaseHead {
 public:
  struct Weights {
    std::size_t vocab_size = 0;           ///< the target's
    std::vector<Token> tokens = {};       ///< that it knows, ascending
    ByteMatrix output = {};               ///< from a feature to these
    std::vector<float> input_scale = {};  ///< of z and of e(x)
    ByteMatrix mix = {};                  ///< from both to the hidden values
    std::vector<float> mix_bias = {};
    ByteMatrix out = {};  ///< from the hidden values to a feature
    std::vector<float> out_bias = {};
    std::vector<float> keep = {};  ///< by value of a feature
  };

  /// Throws std::invalid_argument unless sizes go together and all values are finite.
  explicit BaseHead(Weights weights);

  std::size_t feature_size() const { return weights_.output.in(); }
  std::size_t hidden_size() const { return weights_.mix.out(); }
  std::size_t vocab_size() const { return weights_.vocab_size; }
  std::span<const Token> tokens() const { return weights_.tokens; }

  /// Takes states one token further, each by its own: feature_size() values a token.
  void step(std::span<float> states, std::span<const Token> tokens) const;

  /// Logits of tokens() after each state, one row after another.
  void logits(std::span<const float> states, std::vector<float>& out) const {
    weights_.output.multiply(states, out);
  }

 private:
  void embed(Token token, std::span<float> values) const;

  Weights weights_;
};

}  // namespace rewardshift
