#include "rewardshift/math/bottleneck.h"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {

Bottleneck::Bottleneck(Weights weights) : weights_(std::move(weights)) {
  if (feature_size() == 0) throw std::invalid_argument("a head needs features of at least 1 value");
  require_finite(weights_.down, rank() * feature_size(), "down.weight");
  require_finite(weights_.bias, rank(), "down.bias");
}

void Bottleneck::add_hidden(const float* feature, std::vector<float>& hidden) const {
  for (std::size_t k = 0; k < rank(); ++k) {
    const float* down = weights_.down.data() + k * weights_.feature_size;
    const double sum = vector_sum(weights_.feature_size, [=](std::size_t i) {
      return static_cast<double>(down[i] * feature[i]);
    });
    hidden.push_back(static_cast<float>(std::tanh(sum + static_cast<double>(weights_.bias[k]))));
  }
}

void Bottleneck::rows(std::span<const float* const> features, std::vector<float>& out) const {
  std::vector<float> hidden;
  for (const float* feature : features) add_hidden(feature, hidden);
  weights_.up.multiply(hidden, out);
}

}  // namespace rewardshift
