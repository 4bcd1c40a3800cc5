#include "rewardshift/math/bottleneck.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {

Bottleneck::Bottleneck(Weights weights) : weights_(std::move(weights)) {
  const auto require_size = [](std::size_t size, std::size_t wanted, const char* what) {
    if (size == wanted) return;
    throw std::invalid_argument("a head's " + std::string(what) + " has " + std::to_string(size) +
                                " values, not " + std::to_string(wanted));
  };
  const Weights& w = weights_;
  if (w.feature_size == 0 || w.rank == 0 || w.vocab_size == 0) {
    throw std::invalid_argument("a head needs features, a rank and a vocabulary of at least 1");
  }
  require_size(w.down.size(), w.rank * w.feature_size, "down.weight");
  require_size(w.bias.size(), w.rank, "down.bias");
  require_size(w.up.size(), w.rank * w.vocab_size, "up.weight");
  require_size(w.scale.size(), w.vocab_size, "up.scale");
  for (const auto* values : {&w.down, &w.bias, &w.scale}) {
    if (std::ranges::all_of(*values, [](float value) { return std::isfinite(value); })) continue;
    throw std::invalid_argument("a head's weights are not all finite");
  }
}

void Bottleneck::add_hidden(const float* feature, std::vector<float>& hidden) const {
  for (std::size_t k = 0; k < weights_.rank; ++k) {
    const float* down = weights_.down.data() + k * weights_.feature_size;
    const double sum = vector_sum(weights_.feature_size, [=](std::size_t i) {
      return static_cast<double>(down[i] * feature[i]);
    });
    hidden.push_back(static_cast<float>(std::tanh(sum + static_cast<double>(weights_.bias[k]))));
  }
}

/// Block by block of the vocabulary: the weights of a block serve all features, and what is added
/// up stays in the first cache.
void Bottleneck::rows(std::span<const float* const> features, std::vector<float>& out) const {
  std::vector<float> hidden;
  for (const float* feature : features) add_hidden(feature, hidden);
  out.resize(features.size() * weights_.vocab_size);
  std::array<float, kBlock> sums;
  for (std::size_t begin = 0; begin < weights_.vocab_size; begin += kBlock) {
    const std::size_t n = std::min(kBlock, weights_.vocab_size - begin);
    for (std::size_t row = 0; row < features.size(); ++row) {
      sums.fill(0.0F);
      for (std::size_t k = 0; k < weights_.rank; ++k) {
        const float factor = hidden[row * weights_.rank + k];
        const std::int8_t* up = weights_.up.data() + k * weights_.vocab_size + begin;
        for (std::size_t i = 0; i < n; ++i) sums[i] += factor * static_cast<float>(up[i]);
      }
      float* values = out.data() + row * weights_.vocab_size + begin;
      const float* scale = weights_.scale.data() + begin;
      for (std::size_t i = 0; i < n; ++i) values[i] = scale[i] * sums[i];
    }
  }
}

}  // namespace rewardshift
