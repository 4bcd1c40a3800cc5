// Weighted sums of what readers say: goals and proposals alike.
#pragma once

#include <cstddef>
#include <vector>

namespace rewardshift {

/// A reader's share of a weighted sum of logits.
struct Part {
  std::size_t reader;
  double weight;

  bool operator==(const Part&) const = default;
};

/// Whose logits are added up, with which weights; ascending by reader.
///
/// A part of weight 0 adds nothing but a veto: what its reader calls impossible stays so.
using Combination = std::vector<Part>;

/// Whether a reader is asked for it.
inline bool asks(const Combination& combination, std::size_t reader) {
  for (const Part& part : combination) {
    if (part.reader == reader) return true;
  }
  return false;
}

}  // namespace rewardshift
