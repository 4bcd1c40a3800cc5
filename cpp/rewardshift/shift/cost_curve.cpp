#include "rewardshift/shift/cost_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rewardshift {
namespace {

constexpr std::size_t kHistory = 32;     // tokens before the measured ones
constexpr double kOwnNews = 0.2;         // of a batch's surprise, how much its own cost believes
constexpr double kOthersNews = 0.1;      // and how much that of other batches
constexpr double kMostSurprise = 0.693;  // a logarithm: one hiccup must not ruin the curve

/// Histories that differ from one another right after a common beginning. Where only histories know
/// some tokens, they are of these: a model of another vocabulary reads its own one by one, and of
/// others may make fewer or more, and read some again.
std::vector<Token> history(std::size_t length, std::size_t variant, const LanguageModel& model) {
  const int end = model.history_vocab_size();
  const int begin = end > model.vocab_size() ? model.vocab_size() : 0;
  std::vector<Token> tokens(length);
  for (std::size_t i = 0; i < length; ++i) {
    const std::size_t mixed = (i < kHistory ? i : i + variant) * 7919 + 1;
    tokens[i] = begin + static_cast<Token>(mixed % static_cast<std::size_t>(end - begin));
  }
  return tokens;
}

}  // namespace

std::vector<Cost> measure_costs(LanguageModel& model, const CostMeasurement& how, Clock clock) {
  const std::size_t prefix = std::min(kHistory, model.context_size() / 4);
  std::vector<Cost> costs;
  for (const std::size_t rows : how.rows) {
    if (rows > 0 && prefix + rows <= model.context_size() / 2) {
      costs.push_back({rows, std::numeric_limits<double>::infinity()});
    }
  }
  if (prefix == 0 || costs.empty()) return {};

  std::size_t variant = 0;
  const auto run = [&](std::size_t rows) {
    const auto tokens = history(prefix + rows, ++variant, model);
    const auto wanted = static_cast<int>(rows);
    const LogitsRequest request{0, tokens, wanted, wanted - 1};  // as a block is scored
    const double start = clock();
    model.logits({&request, 1});
    return clock() - start;
  };
  run(costs.front().rows);  // the first call pays for much that later ones do not
  const double start = clock();
  const auto may_go_on = [&](int pass) {
    return pass < how.least_passes || clock() - start < how.seconds;
  };
  for (int pass = 0; pass < how.most_passes && may_go_on(pass); ++pass) {
    for (Cost& cost : costs) {
      if (may_go_on(pass)) cost.seconds = std::min(cost.seconds, run(cost.rows));
    }
  }
  model.forget();
  std::erase_if(costs, [](const Cost& cost) { return !std::isfinite(cost.seconds); });
  std::ranges::sort(costs, {}, &Cost::rows);
  return costs;
}

CostCurve::CostCurve(std::span<const Cost> costs) {
  Cost last{0, 0.0};
  for (const Cost& cost : costs) {
    const double width = static_cast<double>(cost.rows - last.rows);
    for (std::size_t rows = last.rows + 1; rows <= cost.rows; ++rows) {
      const double way = static_cast<double>(rows - last.rows) / width;
      seconds_.push_back(std::lerp(last.seconds, cost.seconds, way));
    }
    last = cost;
  }
}

double CostCurve::seconds(double rows) const {
  if (rows <= 0.0 || is_empty()) return 0.0;
  const double most = static_cast<double>(seconds_.size());
  if (rows >= most) return seconds_.back() * rows / most;
  if (rows <= 1.0) return seconds_.front() * rows;
  const auto below = static_cast<std::size_t>(rows);
  return std::lerp(seconds_[below - 1], seconds_[below], rows - static_cast<double>(below));
}

void CostCurve::observe(std::size_t rows, double seconds) {
  if (rows == 0 || rows > seconds_.size() || !(seconds > 0.0)) return;
  double& own = seconds_[rows - 1];
  const double surprise = std::clamp(std::log(seconds / own), -kMostSurprise, kMostSurprise);
  own *= std::exp((kOwnNews - kOthersNews) * surprise);
  for (double& any : seconds_) any *= std::exp(kOthersNews * surprise);
}

}  // namespace rewardshift
