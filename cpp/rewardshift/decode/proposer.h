// Where drafts come from.
#pragma once

#include <span>

#include "rewardshift/decode/request.h"

namespace rewardshift {

/// Fills the requests' blocks with tokens drawn from proposals. The exact rule is exact for any
/// proposal, so a proposer is free in what it proposes, as long as it draws from just what it
/// reports in the block. It appends nothing to the requests' histories.
class Proposer {
 public:
  virtual ~Proposer() = default;

  /// Drafts at most `draft_length` tokens for each request; fewer where an end-of-generation token
  /// is drafted, which is then the last of its branch.
  virtual void draft(std::span<Request* const> requests) = 0;
};

/// What decides the next token of a tree that has `drawn` already: no other round draws the same,
/// as all of a tree's tokens have a say in its shape. Greedy drafts take the most probable.
inline double uniform_in_tree(const Request& request, std::size_t drawn) {
  if (is_greedy(request.params.temperature)) return 0.0;
  return request.uniforms(request.generated, Purpose::proposal,
                          static_cast<std::uint32_t>(drawn) + 1);
}

}  // namespace rewardshift
