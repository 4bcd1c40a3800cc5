#include "rewardshift/math/bottleneck.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

constexpr std::size_t kAtOnce = 8;  // hidden values that are added while a sum is in a register

/// Adds the products of some hidden values with their rows of weights, each `stride` behind the one
/// before, to n sums.
template <std::size_t kCount>
void add_products(std::size_t n, const float* hidden, const std::int8_t* up, std::size_t stride,
                  float* sums) {
  for (std::size_t i = 0; i < n; ++i) {
    float sum = sums[i];
    for (std::size_t k = 0; k < kCount; ++k) {
      sum += hidden[k] * static_cast<float>(up[k * stride + i]);
    }
    sums[i] = sum;
  }
}

}  // namespace

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
      const float* factors = hidden.data() + row * weights_.rank;
      const std::int8_t* up = weights_.up.data() + begin;
      const std::size_t stride = weights_.vocab_size;
      std::size_t k = 0;
      for (; k + kAtOnce <= weights_.rank; k += kAtOnce) {
        add_products<kAtOnce>(n, factors + k, up + k * stride, stride, sums.data());
      }
      for (; k < weights_.rank; ++k) {
        add_products<1>(n, factors + k, up + k * stride, stride, sums.data());
      }
      float* values = out.data() + row * weights_.vocab_size + begin;
      const float* scale = weights_.scale.data() + begin;
      for (std::size_t i = 0; i < n; ++i) values[i] = scale[i] * sums[i];
    }
  }
}

}  // namespace rewardshift
