#include "rewardshift/table_model.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/history.h"

namespace rewardshift {

TableModel::TableModel(std::vector<float> logits, int vocab_size, int order, Facts facts)
    : logits_(std::move(logits)), vocab_size_(vocab_size), order_(order), facts_(std::move(facts)) {
  if (vocab_size < 1 || order < 0) {
    throw std::invalid_argument("a TableModel needs vocab_size >= 1 and order >= 0");
  }
  std::size_t expected = static_cast<std::size_t>(vocab_size);
  for (int i = 0; i < order && expected <= logits_.size(); ++i) {
    expected *= static_cast<std::size_t>(vocab_size);
  }
  if (logits_.size() != expected) {
    throw std::invalid_argument("a TableModel of order " + std::to_string(order) + " over " +
                                std::to_string(vocab_size) + " tokens needs " +
                                std::to_string(vocab_size) + "^" + std::to_string(order + 1) +
                                " logits, not " + std::to_string(logits_.size()));
  }
  const std::size_t states = logits_.size() / static_cast<std::size_t>(vocab_size_);
  if (facts_.features.size() % states != 0) {
    throw std::invalid_argument("a TableModel of " + std::to_string(states) + " rows cannot have " +
                                std::to_string(facts_.features.size()) + " values of features");
  }
  feature_size_ = facts_.features.size() / states;
}

std::string TableModel::piece(Token token) const {
  const auto i = static_cast<std::size_t>(token);
  return i < facts_.pieces.size() ? facts_.pieces[i] : std::string{};
}

std::span<const float* const> TableModel::logits(std::span<const LogitsRequest> requests) {
  check_requests(requests, *this);
  for (const LogitsRequest& request : requests) {
    for (const Token token : request.tokens) {
      if (!facts_.fails_on.contains(token)) continue;
      throw EvaluationError("this TableModel fails on token " + std::to_string(token));
    }
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(facts_.batch_seconds));
  rows_.clear();
  std::vector<const float*> features;
  for (const LogitsRequest& request : requests) {
    for (int row = request.n_rows - 1; row >= 0; --row) {
      const std::size_t state =
          state_after(request.tokens.first(request.tokens.size() - static_cast<std::size_t>(row)));
      rows_.push_back(logits_.data() + state * static_cast<std::size_t>(vocab_size_));
      features.push_back(facts_.features.data() + state * feature_size_);
    }
  }
  if (feature_size_ > 0) told_.tell(requests, features, feature_size_);
  evaluated_ += rows_.size();
  batches_ += rows_.empty() ? 0 : 1;
  return rows_;
}

/// The number of its row in the table.
std::size_t TableModel::state_after(std::span<const Token> history) const {
  const auto latest = history.last(std::min(history.size(), static_cast<std::size_t>(order_)));
  std::size_t index = 0;
  for (const Token token : latest) {
    index = index * static_cast<std::size_t>(vocab_size_) + static_cast<std::size_t>(token);
  }
  return index;
}

}  // namespace rewardshift
