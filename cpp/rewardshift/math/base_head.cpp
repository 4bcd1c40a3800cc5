#include "rewardshift/math/base_head.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

namespace rewardshift {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("a head's ") + what);
}

}  // namespace

BaseHead::BaseHead(Weights weights) : weights_(std::move(weights)) {
  const Weights& w = weights_;
  const std::size_t width = w.output.in();
  require(w.output.out() == w.tokens.size(), "output has a column for each of its tokens");
  require(std::ranges::adjacent_find(w.tokens, std::greater_equal{}) == w.tokens.end() &&
              w.tokens.front() >= 0 && static_cast<std::size_t>(w.tokens.back()) < w.vocab_size,
          "tokens ascend, and are of the target's vocabulary");
  require(w.mix.in() == 2 * width && w.out.in() == w.mix.out() && w.out.out() == width,
          "matrices lead from a feature and a token to a feature");
  require_finite(w.input_scale, 2 * width, "input.scale");
  require_finite(w.mix_bias, w.mix.out(), "mix.bias");
  require_finite(w.out_bias, width, "out.bias");
  require_finite(w.keep, width, "keep");
}

void BaseHead::step(std::span<float> states, std::span<const Token> tokens) const {
  const std::size_t width = feature_size();
  std::vector<float> inputs(2 * states.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto input = std::span(inputs).subspan(2 * i * width, 2 * width);
    std::ranges::copy(states.subspan(i * width, width), input.begin());
    embed(tokens[i], input.subspan(width));
    std::ranges::transform(input, weights_.input_scale, input.begin(), std::multiplies{});
  }
  std::vector<float> hidden;
  weights_.mix.multiply(inputs, hidden);
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    const float sum = hidden[i] + weights_.mix_bias[i % hidden_size()];
    hidden[i] = sum / (1.0F + std::exp(-sum));
  }
  std::vector<float> more;
  weights_.out.multiply(hidden, more);
  for (std::size_t i = 0; i < states.size(); ++i) {
    const std::size_t value = i % width;
    states[i] = weights_.keep[value] * states[i] + more[i] + weights_.out_bias[value];
  }
}

void BaseHead::embed(Token token, std::span<float> values) const {
  const auto found = std::ranges::lower_bound(weights_.tokens, token);
  if (found == weights_.tokens.end() || *found != token) {
    std::ranges::fill(values, 0.0F);
  } else {
    weights_.output.column(static_cast<std::size_t>(found - weights_.tokens.begin()), values);
  }
}

}  // namespace rewardshift
