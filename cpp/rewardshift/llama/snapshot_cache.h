// A recurrent state's memory where llama.cpp keeps a snapshot after each of the last tokens.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/llama/state_cache.h"

namespace rewardshift::llama {

/// Goes back by snapshots where they reach, and by checkpoints else.
///
/// A snapshot is of use only at once: it lies beside the state that its sequence's latest batch
/// left, until any graph moves it, and what is gone back to can be shared only after it was gone on
/// with. A draft model, which reads a token at a time, has none of more than that.
///
/// llama.cpp evaluates a batch by one graph or more, each of as many tokens of every sequence that
/// is in it; sequences are in one if their numbers follow one another. A graph of several sequences
/// may move the states of all others, and not their snapshots.
class SnapshotCache final : public StateCache {
 public:
  /// Snapshots to keep of each sequence, so that all of them take a bounded amount of memory and
  /// the last tokens of a sequence fit one of llama.cpp's graphs.
  static std::size_t snapshots_for(std::size_t state_bytes, std::size_t sequences,
                                   std::size_t n_ubatch);

  /// The context keeps so many snapshots of each sequence.
  SnapshotCache(llama_context* context, std::size_t sequences, std::size_t cells,
                std::size_t snapshots);

  void begin_batch() override;
  void add_owner(int sequence, Token token) override;
  std::size_t takes_back() const override { return snapshots_; }
  void clear() override;

 protected:
  std::size_t lendable(int donor, std::size_t common) const override;
  void lend(int donor, int to, std::size_t tokens) override;
  std::size_t cut(int sequence, std::size_t keep) override;
  bool is_lendable(int sequence) const override { return !went_back_[index(sequence)]; }

 private:
  struct Reading {  ///< of a sequence in the latest batch
    int sequence;
    std::size_t tokens = 0;
    bool is_spent = false;  ///< its snapshots are of no use any more
  };
  static std::size_t index(int sequence) { return static_cast<std::size_t>(sequence); }
  std::size_t reach(int sequence) const;
  void spend(int sequence);

  std::size_t snapshots_;
  std::size_t graph_tokens_;
  std::vector<Reading> batch_;
  std::vector<bool> went_back_;  ///< by sequence: since it was last evaluated
};

}  // namespace rewardshift::llama
