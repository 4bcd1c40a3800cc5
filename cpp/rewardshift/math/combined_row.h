// A weighted sum of rows of logits, read block by block. Internal to math/.
#pragma once

#include <optional>
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

  /// z of a token, before adjustments and mask.
  double at(std::size_t token) const;

  /// From now on all z are relative to this token's, whose logits are finite. In float they are
  /// then exact to about 2^-23 of |z_j(x) - z_j(centre)| times w_j: the nearer a token is to the
  /// centre, the better.
  void centre_on(std::size_t token) { centre_ = token; }

  /// Writes z of `count` tokens, from a multiple of kBlock on, at most kBlock. In double that takes
  /// twice as long as in float.
  template <class T>
  void read(std::size_t begin, std::size_t count, T* z) const;

 private:
  std::span<const Term> terms_;
  std::optional<std::size_t> centre_;
  std::span<const WeightedToken> adjusted_;  ///< by token
  std::span<const std::uint32_t> allowed_;
};

}  // namespace rewardshift
