#include "rewardshift/llama/snapshot_cache.h"

#include <llama.h>

#include <algorithm>
#include <functional>

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
      graph_tokens_(llama_n_ubatch(context)),
      went_back_(static_cast<std::size_t>(size())) {}

void SnapshotCache::begin_batch() { batch_.clear(); }

void SnapshotCache::add_owner(int sequence, Token token) {
  StateCache::add_owner(sequence, token);
  if (batch_.empty() || batch_.back().sequence != sequence) batch_.push_back({sequence});
  ++batch_.back().tokens;
  went_back_[index(sequence)] = false;
}

void SnapshotCache::clear() {
  StateCache::clear();
  batch_.clear();
  went_back_.assign(went_back_.size(), false);
}

/// Tokens of the latest batch whose snapshots lie where they were made: if the sequence was in one
/// graph with all whose numbers follow one another beside its own, and none of several came after.
std::size_t SnapshotCache::reach(int sequence) const {
  const auto found = std::ranges::find(batch_, sequence, &Reading::sequence);
  if (found == batch_.end() || found->is_spent) return 0;
  const auto parts = [](const Reading& a, const Reading& b) {
    return b.sequence != a.sequence + 1;
  };
  const auto is_in_one_graph = [&](auto begin, auto end) {
    const auto of_all = static_cast<std::size_t>(end - begin) * found->tokens;
    return of_all <= graph_tokens_ && std::all_of(begin, end, [&](const Reading& reading) {
             return reading.tokens == found->tokens;
           });
  };
  auto begin = found;
  while (begin != batch_.begin() && !parts(*(begin - 1), *begin)) --begin;
  auto end = found + 1;
  while (end != batch_.end() && !parts(*(end - 1), *end)) ++end;
  const bool is_last = std::adjacent_find(end, batch_.end(), std::not_fn(parts)) == batch_.end();
  return is_last && is_in_one_graph(begin, end) ? found->tokens : 0;
}

std::size_t SnapshotCache::lendable(int donor, std::size_t common) const {
  return is_lendable(donor) ? StateCache::lendable(donor, common) : 0;
}

void SnapshotCache::spend(int sequence) {
  const auto found = std::ranges::find(batch_, sequence, &Reading::sequence);
  if (found != batch_.end()) found->is_spent = true;
}

/// Two that share a state cannot go back apart.
void SnapshotCache::lend(int donor, int to, std::size_t tokens) {
  StateCache::lend(donor, to, tokens);
  for (const int sequence : {donor, to}) {
    spend(sequence);
    went_back_[index(sequence)] = false;
  }
}

/// A batch of n tokens leaves the states after its last n: all but the first can be taken back.
/// Where the last checkpoint is far away, the way back leads there, so that a new one is made.
std::size_t SnapshotCache::cut(int sequence, std::size_t keep) {
  const std::size_t back = held(sequence) - keep;
  const bool goes_back = keep > 0 && back <= snapshots_ && back < reach(sequence) &&
                         keep <= nearest_checkpoint(sequence, keep) + kFar &&
                         llama_memory_seq_rm(memory(), sequence, static_cast<llama_pos>(keep), -1);
  spend(sequence);
  went_back_[index(sequence)] = goes_back;
  return goes_back ? keep : StateCache::cut(sequence, keep);
}

}  // namespace rewardshift::llama
