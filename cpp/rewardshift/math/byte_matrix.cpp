#include "rewardshift/math/byte_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "rewardshift/math/vector_loops.h"

namespace rewardshift {
namespace {

constexpr std::size_t kAtOnce = 8;  // inputs that are added while a sum is in a register

void require_size(std::size_t size, std::size_t wanted, const char* what) {
  if (size == wanted) return;
  throw std::invalid_argument("a head's " + std::string(what) + " has " + std::to_string(size) +
                              " values, not " + std::to_string(wanted));
}

/// Adds the products of some inputs with their rows of weights, each `stride` behind the one
/// before, to n sums.
template <std::size_t kCount>
void add_products(std::size_t n, const float* inputs, const std::int8_t* weights,
                  std::size_t stride, float* sums) {
  for (std::size_t i = 0; i < n; ++i) {
    float sum = sums[i];
    for (std::size_t k = 0; k < kCount; ++k) {
      sum += inputs[k] * static_cast<float>(weights[k * stride + i]);
    }
    sums[i] = sum;
  }
}

}  // namespace

void require_finite(std::span<const float> values, std::size_t size, const char* what) {
  require_size(values.size(), size, what);
  if (std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) return;
  throw std::invalid_argument("a head's " + std::string(what) + " is not finite everywhere");
}

ByteMatrix::ByteMatrix(std::size_t in, std::vector<std::int8_t> weights, std::vector<float> scale,
                       const char* what)
    : in_(in), weights_(std::move(weights)), scale_(std::move(scale)) {
  if (in_ == 0 || scale_.empty()) {
    throw std::invalid_argument("a head's " + std::string(what) + " has no values");
  }
  require_size(weights_.size(), in_ * scale_.size(), what);
  require_finite(scale_, scale_.size(), what);
}

/// Block by block of the outputs: the weights of a block serve all rows, and what is added up stays
/// in the first cache.
void ByteMatrix::multiply(std::span<const float> inputs, std::vector<float>& out) const {
  const std::size_t rows = inputs.size() / in_;
  const std::size_t width = scale_.size();
  out.resize(rows * width);
  std::array<float, kBlock> sums;
  for (std::size_t begin = 0; begin < width; begin += kBlock) {
    const std::size_t n = std::min(kBlock, width - begin);
    const std::int8_t* weights = weights_.data() + begin;
    for (std::size_t row = 0; row < rows; ++row) {
      sums.fill(0.0F);
      const float* factors = inputs.data() + row * in_;
      std::size_t k = 0;
      for (; k + kAtOnce <= in_; k += kAtOnce) {
        add_products<kAtOnce>(n, factors + k, weights + k * width, width, sums.data());
      }
      for (; k < in_; ++k) {
        add_products<1>(n, factors + k, weights + k * width, width, sums.data());
      }
      float* values = out.data() + row * width + begin;
      for (std::size_t i = 0; i < n; ++i) values[i] = scale_[begin + i] * sums[i];
    }
  }
}

void ByteMatrix::column(std::size_t output, std::span<float> values) const {
  for (std::size_t i = 0; i < in_; ++i) {
    values[i] = scale_[output] * static_cast<float>(weights_[i * scale_.size() + output]);
  }
}

}  // namespace rewardshift
