#include "rewardshift/llama/snapshot_cache.h"

#include <llama.h>

#include <algorithm>

namespace rewardshift::llama {
namespace {

constexpr std::size_t kMost = 8;  // of a sequence
constexpr std::size_t kMostBytes = std::size_t{512} << 20;
constexpr std::size_t kFar = 64;  // tokens from a checkpoint: so many may have to be read again

}  // namespace

std::size_t SnapshotCache::snapshots_for(std::size_t state_bytes, std::size_t sequences,
                                         std::size_t n_ubatch) {
  const std::size_t each = std::max<std::size_t>(state_bytes * sequences, 1);
  const std::size_t fitting = n_ubatch > 2 ? n_ubatch - 2 : 0;  // llama.cpp aborts on more
  return std::min({kMost, kMostBytes / each, fitting});
}

SnapshotCache::SnapshotCache(llama_context* context, std::size_t sequences, std::size_t cells,
                             std::size_t snapshots)
    : StateCache(context, sequences, cells),
      snapshots_(snapshots),
      reach_(static_cast<std::size_t>(size())) {}

/// Any batch may move the states of sequences that are not in it, and not their snapshots.
void SnapshotCache::begin_batch() {
  for (Reach& reach : reach_) reach.read = 0;
}

void SnapshotCache::add_owner(int sequence, Token token) {
  StateCache::add_owner(sequence, token);
  reach_[index(sequence)] = {reach_[index(sequence)].read + 1, false};
}

void SnapshotCache::clear() {
  StateCache::clear();
  reach_.assign(reach_.size(), {});
}

std::size_t SnapshotCache::lendable(int donor, std::size_t common) const {
  return is_lendable(donor) ? StateCache::lendable(donor, common) : 0;
}

/// Two that share a state cannot go back apart.
void SnapshotCache::lend(int donor, int to, std::size_t tokens) {
  StateCache::lend(donor, to, tokens);
  reach_[index(donor)] = reach_[index(to)] = {};
}

/// A batch of n tokens leaves the states after its last n: all but the first can be taken back.
/// Where the last checkpoint is far away, the way back leads there, so that a new one is made.
std::size_t SnapshotCache::cut(int sequence, std::size_t keep) {
  Reach& reach = reach_[index(sequence)];
  const std::size_t back = held(sequence) - keep;
  if (keep > 0 && back <= snapshots_ && back < reach.read &&
      keep <= nearest_checkpoint(sequence, keep) + kFar &&
      llama_memory_seq_rm(memory(), sequence, static_cast<llama_pos>(keep), -1)) {
    reach = {0, true};
    return keep;
  }
  reach = {};
  return StateCache::cut(sequence, keep);
}

}  // namespace rewardshift::llama
