// What a context's memory holds of the histories it was asked about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rewardshift/language_model.h"

struct llama_context;
struct llama_memory_i;

namespace rewardshift::llama {

/// The latest history of each sequence, as far as llama.cpp's memory can go on from it.
///
/// How a tail is taken back depends on the memory: attention cuts cells off (CellCache); a
/// recurrent state is kept whole or not at all (StateCache), but for a few tokens where llama.cpp
/// keeps snapshots (SnapshotCache). A context asks how much of a history is held, evaluates the
/// rest, and knows no more of it.
class HistoryCache {
 public:
  virtual ~HistoryCache() = default;
  HistoryCache(const HistoryCache&) = delete;
  HistoryCache& operator=(const HistoryCache&) = delete;

  /// Has each request's sequence hold as much as it can of the history, but no position that a row
  /// is wanted of: its own part, or more that another sequence has in common.
  virtual void begin(std::span<const LogitsRequest> requests);

  /// Tokens of its latest history that a sequence holds.
  std::size_t held(int sequence) const { return at(sequence).tokens.size(); }

  /// Has a sequence hold no more than so many tokens; whether it holds as many.
  virtual bool cut_to(int sequence, std::size_t tokens);

  /// Whether a token that several histories go on with may be evaluated once for all of them.
  virtual bool shares_new_tokens() const { return false; }

  /// Up to which position a history is to be evaluated before mark() and the rest; 0 is nowhere.
  virtual std::size_t pause(const LogitsRequest&) const { return 0; }

  /// Remembers what a sequence holds now, for when what follows is taken back.
  virtual void mark(int) {}

  /// Moves what a sequence holds to where no row attends over it; see LanguageModel.
  virtual void put_aside(int) {}

  /// Drops idle sequences until so many new tokens fit.
  void make_room(std::size_t new_tokens);

  /// A batch was evaluated, whose tokens follow.
  virtual void begin_batch() {}

  /// Counts a token as evaluated; call add_owner() for each sequence that has it.
  void add_cell() { ++last_cell_; }
  virtual void add_owner(int sequence, Token token);

  /// Takes back whatever a failed evaluation of these left behind.
  virtual void recover(std::span<const LogitsRequest> requests) = 0;

  /// See LanguageModel.
  virtual std::size_t takes_back() const = 0;

  /// Whether a NaN that was evaluated earlier may be in the rows of other histories.
  virtual bool may_pass_on_nan() const { return false; }

  /// Drops everything, and clears the memory.
  virtual void clear();

  /// Drops everything but what can be held of these tokens by sequence 0; returns how many.
  virtual std::size_t keep(std::span<const Token> tokens);

 protected:
  struct Sequence {
    std::vector<Token> tokens;         ///< held
    std::vector<std::uint64_t> cells;  ///< which they are: sharers have the same
    std::uint64_t last_used = 0;
  };

  /// `context` is borrowed. `cells` is how many tokens all sequences hold together.
  HistoryCache(llama_context* context, std::size_t sequences, std::size_t cells);

  /// Has a sequence hold what was put aside of a history, if that is worth it.
  virtual void take_back(const LogitsRequest&) {}

  /// How many tokens of a donor's history, of which so many are wanted, another can take over.
  virtual std::size_t lendable(int donor, std::size_t common) const = 0;

  /// Tokens that a loan must win to be worth it.
  virtual std::size_t least_gain() const { return 1; }

  /// Has a sequence hold the donor's first tokens in place of its own, which begin alike.
  virtual void lend(int donor, int to, std::size_t tokens) = 0;

  /// Takes the tail of a sequence back, or all of it; returns how many tokens are left.
  virtual std::size_t cut(int sequence, std::size_t keep);

  void drop_tail(int sequence, std::size_t keep);

  /// The most tokens that a sequence, its own or another, could begin this history with.
  std::size_t at_hand(int sequence, std::span<const Token> wanted) const;

  /// Notes that a sequence holds these tokens, in cells of its own.
  void hold(int sequence, std::vector<Token> tokens);
  void keep_common(const LogitsRequest& request);
  void borrow(int sequence, std::span<const Token> wanted);

  Sequence& at(int sequence) { return sequences_[static_cast<std::size_t>(sequence)]; }
  const Sequence& at(int sequence) const { return sequences_[static_cast<std::size_t>(sequence)]; }
  int size() const { return static_cast<int>(sequences_.size()); }
  std::uint64_t now() const { return clock_; }
  llama_memory_i* memory() const { return memory_; }

 private:
  std::size_t used_cells(std::size_t new_tokens) const;

  llama_memory_i* memory_;
  std::vector<Sequence> sequences_;
  std::size_t cells_;
  std::uint64_t clock_ = 0;
  std::uint64_t last_cell_ = 0;
};

/// Tokens of a history before the first that a row is wanted of.
inline std::size_t reusable(const LogitsRequest& request) {
  return request.tokens.size() - static_cast<std::size_t>(request.n_rows);
}

/// Tokens of a history that are no drafts.
inline std::size_t settled(const LogitsRequest& request) {
  return request.tokens.size() - static_cast<std::size_t>(request.n_drafts);
}

}  // namespace rewardshift::llama
