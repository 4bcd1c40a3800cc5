// A weighted sum of rows of logits, read block by block. Internal to math/.
#pragma once

#include <span>

#include "rewardshift/math/distribution.h"
#include "rewardshift/math/vector_loops.h"

namespace rewardshift {

/// z(x) = sum_j w_j z_j(x), and -inf where any term is -inf, adjusted and masked. It is never
/// written out whole: reading the terms again costs less than 8 bytes a token to and from memory.
class CombinedRow {
 public:
  /// Borrows all three, the workspace's list of adjusted tokens included.
  CombinedRow(std::span<const Term> terms, const Shaping& shaping, Workspace& workspace);

  std::size_t size() const { return terms_.front().logits.size(); }

  /// Writes z of `count` tokens, from a multiple of kBlock on, at most kBlock: in double, or in
  /// float, which is rougher and faster.
  template <class T>
  void read(std::size_t begin, std::size_t count, T* z) const;

 private:
  double at(std::size_t token) const;

  std::span<const Term> terms_;
  std::span<const WeightedToken> adjusted_;  ///< by token
  std::span<const std::uint32_t> allowed_;
};

}  // namespace rewardshift
