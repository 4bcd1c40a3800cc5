// What a head on a target's features says of every token: U f(W h).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/math/byte_matrix.h"

namespace rewardshift {

/// A small network with one hidden layer, from a feature h to a value for each token x:
///
///   lambda(x | h) = scale_x sum_k up_kx tanh(sum_i down_ki h_i + bias_k)
///
/// PALC's (ICLR 2026) with weights of a byte in its wide layer, of which a row reads all.
class Bottleneck {
 public:
  struct Weights {
    std::size_t feature_size = 0;
    std::vector<float> down = {};  ///< a row of feature_size for each hidden value
    std::vector<float> bias = {};  ///< of each hidden value
    ByteMatrix up = {};            ///< from hidden values to tokens
  };

  /// Throws std::invalid_argument unless sizes go together and all values are finite.
  explicit Bottleneck(Weights weights);

  std::size_t feature_size() const { return weights_.feature_size; }
  std::size_t rank() const { return weights_.up.in(); }
  std::size_t vocab_size() const { return weights_.up.out(); }

  /// A row of vocab_size() values for each feature, one after another.
  void rows(std::span<const float* const> features, std::vector<float>& out) const;

 private:
  void add_hidden(const float* feature, std::vector<float>& hidden) const;

  Weights weights_;
};

}  // namespace rewardshift
