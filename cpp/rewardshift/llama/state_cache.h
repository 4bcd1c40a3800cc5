// A recurrent state's memory: of a history it knows the end only.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rewardshift/llama/history_cache.h"

namespace rewardshift::llama {

/// Goes back by checkpoints: spare sequences that hold what a sequence held once, and from which it
/// goes on when a tail is taken back, reading again what came between.
///
/// llama.cpp copies a state that sequences share when one of them goes on, as part of evaluating
/// it, and cells of attention beside it stay shared: a checkpoint costs memory, and no time. There
/// are two kinds: the latest of each sequence, made where drafts begin; and those at the end of a
/// prompt and of its last chunk but one, from which later conversations and other samples go on.
/// All of them together are bounded; the least recently used gives way.
class StateCache : public HistoryCache {
 public:
  /// Checkpoints to make room for, beside the states of so many sequences.
  static std::size_t checkpoints_for(std::size_t sequences);

  /// The context has checkpoints_for(sequences) more than `sequences`. `cells` is how many tokens
  /// all together hold.
  StateCache(llama_context* context, std::size_t sequences, std::size_t cells);

  void begin(std::span<const LogitsRequest> requests) override;
  std::size_t pause(const LogitsRequest& request) const override;
  void mark(int sequence) override;
  void add_owner(int sequence, Token token) override;
  void recover(std::span<const LogitsRequest> requests) override;
  std::size_t takes_back() const override { return 0; }
  bool may_pass_on_nan() const override { return is_used_; }
  void clear() override;
  std::size_t keep(std::span<const Token> tokens) override;

 protected:
  std::size_t lendable(int donor, std::size_t common) const override;
  void lend(int donor, int to, std::size_t tokens) override;
  std::size_t cut(int sequence, std::size_t keep) override;

  /// Whether what a sequence holds may be shared now.
  virtual bool is_lendable(int) const { return true; }

  /// Tokens of the longest checkpoint that a history's first `keep` begin with.
  std::size_t nearest_checkpoint(int sequence, std::size_t keep) const;

 private:
  enum class Kind { drafting, prompt };
  struct Checkpoint {
    int owner = -1;  ///< the sequence it was made of
    Kind kind = Kind::drafting;
  };

  void release_outdated(const LogitsRequest& request);
  void save_before(const LogitsRequest& request);
  void save(int sequence, Kind kind);
  int place_for(int sequence, Kind kind) const;
  int oldest(int owner, Kind kind, std::size_t least_count) const;
  Checkpoint& checkpoint(int spare) {
    return checkpoints_[static_cast<std::size_t>(spare) - is_prompt_.size()];
  }
  const Checkpoint& checkpoint(int spare) const {
    return checkpoints_[static_cast<std::size_t>(spare) - is_prompt_.size()];
  }
  int first_spare() const { return static_cast<int>(is_prompt_.size()); }

  std::vector<bool> is_prompt_;          ///< by sequence: nothing but a prompt was read last
  std::vector<Checkpoint> checkpoints_;  ///< of the spare sequences, which follow
  bool is_used_ = false;                 ///< since it was cleared
};

}  // namespace rewardshift::llama
