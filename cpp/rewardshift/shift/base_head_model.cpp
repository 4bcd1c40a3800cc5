#include "rewardshift/shift/base_head_model.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "rewardshift/history.h"
#include "rewardshift/told_features.h"

namespace rewardshift {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// Where a request's drafts begin; the token before them is not one.
std::size_t first_draft(const LogitsRequest& request) {
  const std::size_t size = request.tokens.size();
  return std::max<std::size_t>(size - static_cast<std::size_t>(request.n_drafts), 1);
}

std::size_t first_row_end(const LogitsRequest& request) {
  return request.tokens.size() - static_cast<std::size_t>(request.n_rows) + 1;
}

/// The features that a request's rows begin at: those behind each token but the last of the
/// histories they are of, as far as these are no drafts.
LogitsRequest question(const LogitsRequest& request) {
  if (request.n_rows == 0) return {request.sequence, {}, 0};
  const std::size_t end = first_draft(request) - 1;
  const std::size_t begin = std::min(first_row_end(request), first_draft(request)) - 1;
  const std::size_t n_rows = end - std::max<std::size_t>(begin, 1) + 1;
  return {request.sequence, request.tokens.first(end), end == 0 ? 0 : static_cast<int>(n_rows)};
}

}  // namespace

BaseHeadModel::BaseHeadModel(LanguageModel& target, std::shared_ptr<const BaseHead> head)
    : HeadModel(target, head->feature_size(), head->vocab_size()), head_(std::move(head)) {}

std::span<const float* const> BaseHeadModel::logits(std::span<const LogitsRequest> requests) {
  check_requests(requests, *this);
  const std::uint64_t read_before = target().evaluated_tokens();
  const std::size_t n_rows = list_walks(requests);
  evaluated_ += n_rows + target().evaluated_tokens() - read_before;
  batches_ += n_rows > 0 ? 1 : 0;
  row_states_.resize(n_rows * head_->feature_size());
  walk();
  head_->logits(row_states_, guesses_);
  const std::size_t width = head_->vocab_size();
  if (values_.size() < n_rows * width) values_.resize(n_rows * width, kNever);
  rows_.clear();
  const float* guess = guesses_.data();
  for (std::size_t row = 0; row < n_rows; ++row) {
    float* values = values_.data() + row * width;
    for (const Token token : head_->tokens()) values[token] = *guess++;
    rows_.push_back(values);
  }
  return rows_;
}

/// Asks the target for what it has not told, and lists walks, the longest first; returns the number
/// of rows. Behind tokens that are no drafts a walk is a step from the target's own feature.
std::size_t BaseHeadModel::list_walks(std::span<const LogitsRequest> requests) {
  std::vector<LogitsRequest> questions;
  for (const LogitsRequest& request : requests) questions.push_back(question(request));
  const auto features = features_of(target(), questions);
  walks_.clear();
  std::size_t next_feature = 0;
  std::size_t row = 0;
  for (const LogitsRequest& request : requests) {
    if (request.n_rows == 0) continue;
    const std::size_t drafts = first_draft(request);
    const auto feature = [&](std::size_t end) {
      return end > 1 ? features[next_feature++] : nullptr;
    };
    for (std::size_t end = first_row_end(request); end < drafts; ++end) {
      walks_.push_back({feature(end), request.tokens.subspan(end - 1, 1), 0, row++});
    }
    const std::size_t silent = std::max(first_row_end(request), drafts) - drafts;
    walks_.push_back({feature(drafts), request.tokens.subspan(drafts - 1), silent, row});
    row += walks_.back().tokens.size() - silent;
  }
  std::ranges::stable_sort(walks_, std::greater{}, [](const Walk& w) { return w.tokens.size(); });
  return row;
}

/// Turn by turn, all walks that go on: a weight is read once for all of them.
void BaseHeadModel::walk() {
  const std::size_t width = head_->feature_size();
  states_.assign(walks_.size() * width, 0.0F);
  for (std::size_t i = 0; i < walks_.size(); ++i) {
    if (walks_[i].feature == nullptr) continue;
    std::copy_n(walks_[i].feature, width, states_.data() + i * width);
  }
  std::vector<Token> tokens;
  for (std::size_t turn = 0;; ++turn) {
    tokens.clear();
    for (const Walk& walk : walks_) {
      if (walk.tokens.size() > turn) tokens.push_back(walk.tokens[turn]);
    }
    if (tokens.empty()) return;
    head_->step(std::span(states_).first(tokens.size() * width), tokens);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const Walk& walk = walks_[i];
      if (turn < walk.silent) continue;
      const std::size_t row = walk.first_row + turn - walk.silent;
      std::copy_n(states_.data() + i * width, width, row_states_.data() + row * width);
    }
  }
}

}  // namespace rewardshift
