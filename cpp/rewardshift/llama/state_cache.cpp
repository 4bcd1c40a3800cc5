#include "rewardshift/llama/state_cache.h"

#include <llama.h>

#include <algorithm>

#include "rewardshift/history.h"

namespace rewardshift::llama {
namespace {

constexpr std::size_t kForPrompts = 4;         // checkpoints beyond one for each sequence
constexpr std::size_t kPromptCheckpoints = 2;  // of one sequence
constexpr std::size_t kReadAgain =
    4;  // settled tokens that cost less in a batch than one of theirs

}  // namespace

std::size_t StateCache::checkpoints_for(std::size_t sequences) {
  return std::min(sequences + kForPrompts, llama_max_parallel_sequences() - sequences);
}

StateCache::StateCache(llama_context* context, std::size_t sequences, std::size_t cells)
    : HistoryCache(context, sequences + checkpoints_for(sequences), cells),
      is_prompt_(sequences),
      checkpoints_(checkpoints_for(sequences)) {}

void StateCache::begin(std::span<const LogitsRequest> requests) {
  HistoryCache::begin(requests);
  for (const LogitsRequest& request : requests) release_outdated(request);
  for (const LogitsRequest& request : requests) save_before(request);
}

/// A checkpoint for drafts is of use to its sequence's history alone; nothing of a sequence is when
/// it is freed.
void StateCache::release_outdated(const LogitsRequest& request) {
  for (int spare = first_spare(); spare < size(); ++spare) {
    if (at(spare).tokens.empty() || checkpoint(spare).owner != request.sequence) continue;
    if (checkpoint(spare).kind == Kind::drafting) at(spare).last_used = now();
    const std::size_t common = common_prefix(at(spare).tokens, request.tokens);
    const bool is_of_it = common == at(spare).tokens.size();
    const bool is_for_it = checkpoint(spare).kind == Kind::prompt && !request.tokens.empty();
    if (!is_of_it && !is_for_it) drop_tail(spare, 0);
  }
}

/// Remembers what a sequence holds where its prompt or a chunk of it ended, and before drafts.
void StateCache::save_before(const LogitsRequest& request) {
  const std::size_t has = held(request.sequence);
  const auto s = static_cast<std::size_t>(request.sequence);
  if (has > 0 && has < request.tokens.size()) {
    if (is_prompt_[s]) {
      save(request.sequence, Kind::prompt);
    } else if (request.n_drafts > 0 && has <= settled(request) && pause(request) == 0) {
      save(request.sequence, Kind::drafting);
    }
  }
  is_prompt_[s] = request.n_rows == 0;
}

std::size_t StateCache::pause(const LogitsRequest& request) const {
  if (request.n_rows == 0) return 0;
  const std::size_t end = std::min(settled(request), reusable(request));
  return end > held(request.sequence) + kReadAgain ? end : 0;
}

void StateCache::mark(int sequence) { save(sequence, Kind::drafting); }

void StateCache::save(int sequence, Kind kind) {
  if (!is_lendable(sequence)) return;
  const auto& tokens = at(sequence).tokens;
  for (int spare = first_spare(); spare < size(); ++spare) {
    const bool stays =
        checkpoint(spare).kind == Kind::prompt || checkpoint(spare).owner == sequence;
    if (!stays || at(spare).tokens != tokens) continue;
    at(spare).last_used = now();
    if (kind == Kind::prompt) checkpoint(spare).kind = kind;
    return;
  }
  const int spare = place_for(sequence, kind);
  drop_tail(spare, 0);
  lend(sequence, spare, tokens.size());
  at(spare) = at(sequence);
  at(spare).last_used = now();
  checkpoint(spare) = {sequence, kind};
}

/// One that the sequence replaces, else one that is free, else the least recently used.
int StateCache::place_for(int sequence, Kind kind) const {
  const int own = oldest(sequence, kind, kind == Kind::drafting ? 1 : kPromptCheckpoints);
  if (own >= 0) return own;
  int best = first_spare();
  for (int spare = best; spare < size(); ++spare) {
    if (at(spare).tokens.empty()) return spare;
    if (at(spare).last_used < at(best).last_used) best = spare;
  }
  return best;
}

/// The least recently used of an owner's checkpoints, if there are so many of the kind.
int StateCache::oldest(int owner, Kind kind, std::size_t least_count) const {
  int found = -1;
  std::size_t count = 0;
  for (int spare = first_spare(); spare < size(); ++spare) {
    const Checkpoint& c = checkpoint(spare);
    if (at(spare).tokens.empty() || c.owner != owner || c.kind != kind) continue;
    ++count;
    if (found < 0 || at(spare).last_used < at(found).last_used) found = spare;
  }
  return count < least_count ? -1 : found;
}

/// A part of a state is none.
std::size_t StateCache::cut(int sequence, std::size_t) { return HistoryCache::cut(sequence, 0); }

std::size_t StateCache::nearest_checkpoint(int sequence, std::size_t keep) const {
  const auto wanted = std::span<const Token>(at(sequence).tokens).first(keep);
  std::size_t most = 0;
  for (int spare = first_spare(); spare < size(); ++spare) {
    most = std::max(most, StateCache::lendable(spare, common_prefix(at(spare).tokens, wanted)));
  }
  return most;
}

std::size_t StateCache::lendable(int donor, std::size_t common) const {
  return common == at(donor).tokens.size() ? common : 0;
}

void StateCache::lend(int donor, int to, std::size_t) {
  drop_tail(to, 0);
  llama_memory_seq_cp(memory(), donor, to, -1, -1);
  if (donor >= first_spare()) at(donor).last_used = now();
}

void StateCache::add_owner(int sequence, Token token) {
  HistoryCache::add_owner(sequence, token);
  is_used_ = true;
}

/// llama.cpp moves states while it evaluates: after a failure none of them is to be trusted.
void StateCache::recover(std::span<const LogitsRequest>) { clear(); }

void StateCache::clear() {
  HistoryCache::clear();
  is_prompt_.assign(is_prompt_.size(), false);
  is_used_ = false;
}

/// Keeps checkpoints of prompts only: what is evaluated from here on is to be the same as if they
/// had been evaluated just now.
std::size_t StateCache::keep(std::span<const Token> tokens) {
  for (int spare = first_spare(); spare < size(); ++spare) {
    const bool begins = common_prefix(at(spare).tokens, tokens) == at(spare).tokens.size();
    if (!begins || checkpoint(spare).kind != Kind::prompt) drop_tail(spare, 0);
  }
  for (int other = 1; other < first_spare(); ++other) drop_tail(other, 0);
  drop_tail(0, common_prefix(at(0).tokens, tokens));
  borrow(0, tokens);
  is_prompt_.assign(is_prompt_.size(), false);
  return held(0);
}

}  // namespace rewardshift::llama
