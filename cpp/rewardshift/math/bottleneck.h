// What a head on a target's features says of every token: U f(W h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

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
    std::size_t rank = 0;
    std::size_t vocab_size = 0;
    std::vector<float> down = {};      ///< rank rows of feature_size
    std::vector<float> bias = {};      ///< rank
    std::vector<std::int8_t> up = {};  ///< rank rows of vocab_size
    std::vector<float> scale = {};     ///< vocab_size
  };

  /// Throws std::invalid_argument unless sizes go together and all values are finite.
  explicit Bottleneck(Weights weights);

  std::size_t feature_size() const { return weights_.feature_size; }
  std::size_t rank() const { return weights_.rank; }
  std::size_t vocab_size() const { return weights_.vocab_size; }

  /// A row of vocab_size() values for each feature, one after another.
  void rows(std::span<const float* const> features, std::vector<float>& out) const;

 private:
  void add_hidden(const float* feature, std::vector<float>& hidden) const;

  Weights weights_;
};

}  // namespace rewardshift
