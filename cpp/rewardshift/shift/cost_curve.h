// What a batch costs a model, by its number of rows.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// Seconds on a monotonic clock.
using Clock = double (*)();

/// The cost of evaluating `rows` new tokens in one batch, the logits of each wanted.
struct Cost {
  std::size_t rows;
  double seconds;
};

/// How thoroughly costs are measured.
struct CostMeasurement {
  std::vector<std::size_t> rows;  ///< of the batches, the most interesting first
  double seconds = 0.25;          ///< nothing is begun after this time, but for the least passes
  int least_passes = 0;           ///< through all rows
  int most_passes = 5;
};

/// The fastest of several runs of each batch, ascending by rows; at least the first is measured.
/// Batches that do not fit half the context are left out. Forgets what the model remembers.
std::vector<Cost> measure_costs(LanguageModel& model, const CostMeasurement& how, Clock clock);

/// Seconds by number of rows: measured at some, interpolated between, and kept up to date.
///
/// The curve is rarely a line: quantised matrix kernels may take four rows for little more than
/// one, and three for twice as much.
class CostCurve {
 public:
  CostCurve() = default;

  /// `costs` ascend by rows.
  explicit CostCurve(std::span<const Cost> costs);

  /// Whether nothing was ever measured; then everything is free.
  bool is_empty() const { return seconds_.empty(); }

  /// Of one batch; 0 rows cost nothing, many rows as the last measured ones per row.
  double seconds(double rows) const;

  /// Notes what a batch took just now. Its own cost follows the news, and the others' half as
  /// fast: longer contexts and other programs slow all batches alike.
  void observe(std::size_t rows, double seconds);

 private:
  std::vector<double> seconds_;  ///< [i] of i + 1 rows
};

}  // namespace rewardshift
