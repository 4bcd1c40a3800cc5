#include "rewardshift/llama/history_cache.h"

#include <llama.h>

#include <algorithm>
#include <utility>

#include "rewardshift/history.h"

namespace rewardshift::llama {

HistoryCache::HistoryCache(llama_context* context, std::size_t sequences, std::size_t cells)
    : memory_(llama_get_memory(context)), sequences_(sequences), cells_(cells) {}

void HistoryCache::begin(std::span<const LogitsRequest> requests) {
  ++clock_;
  for (const LogitsRequest& request : requests) keep_common(request);
  for (const LogitsRequest& request : requests) {
    const auto wanted = request.tokens.first(reusable(request));
    if (held(request.sequence) >= wanted.size()) continue;  // as in every round but the first
    take_back(request);
    borrow(request.sequence, wanted);
  }
}

/// Keeps of a sequence what the history begins with, but no position a row is wanted of.
void HistoryCache::keep_common(const LogitsRequest& request) {
  Sequence& sequence = at(request.sequence);
  sequence.last_used = clock_;
  const std::size_t common = common_prefix(sequence.tokens, request.tokens);
  // Cells beyond a history that is only to be made ready do no harm; none is to free them.
  if (request.n_rows == 0 && common > 0 && common == request.tokens.size()) return;
  drop_tail(request.sequence, std::min(common, reusable(request)));
}

/// Takes over from the sequence that has most in common with what is wanted.
void HistoryCache::borrow(int sequence, std::span<const Token> wanted) {
  std::size_t most = held(sequence) + least_gain() - 1;
  int donor = -1;
  for (int other = 0; other < size(); ++other) {
    if (other == sequence) continue;
    const std::size_t tokens = lendable(other, common_prefix(at(other).tokens, wanted));
    if (tokens <= most) continue;
    most = tokens;
    donor = other;
  }
  if (donor < 0) return;
  lend(donor, sequence, most);
  Sequence& to = at(sequence);
  const Sequence& from = at(donor);
  to.tokens.assign(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(most));
  for (std::size_t i = to.cells.size(); i < most; ++i) to.cells.push_back(from.cells[i]);
}

std::size_t HistoryCache::at_hand(int sequence, std::span<const Token> wanted) const {
  std::size_t most = held(sequence);
  for (int other = 0; other < size() && most < wanted.size(); ++other) {
    if (other == sequence) continue;
    most = std::max(most, lendable(other, common_prefix(at(other).tokens, wanted)));
  }
  return most;
}

void HistoryCache::hold(int sequence, std::vector<Token> tokens) {
  Sequence& s = at(sequence);
  s.tokens = std::move(tokens);
  s.cells.clear();
  while (s.cells.size() < s.tokens.size()) s.cells.push_back(++last_cell_);
}

bool HistoryCache::cut_to(int sequence, std::size_t tokens) {
  drop_tail(sequence, std::min(tokens, held(sequence)));
  return held(sequence) == tokens;
}

void HistoryCache::drop_tail(int sequence, std::size_t keep) {
  Sequence& s = at(sequence);
  if (keep == s.tokens.size()) return;
  const std::size_t left = cut(sequence, keep);
  s.tokens.resize(left);
  s.cells.resize(left);
}

std::size_t HistoryCache::cut(int sequence, std::size_t keep) {
  if (llama_memory_seq_rm(memory_, sequence, static_cast<llama_pos>(keep), -1)) return keep;
  llama_memory_seq_rm(memory_, sequence, -1, -1);  // removing all of a sequence never fails
  return 0;
}

void HistoryCache::add_owner(int sequence, Token token) {
  at(sequence).tokens.push_back(token);
  at(sequence).cells.push_back(last_cell_);
}

std::size_t HistoryCache::used_cells(std::size_t new_tokens) const {
  std::size_t most = 0;  // counting shared ones once for each sharer: often that is enough to know
  for (const Sequence& sequence : sequences_) most += sequence.cells.size();
  if (most + new_tokens <= cells_) return most;
  std::vector<std::uint64_t> cells;
  cells.reserve(most);
  for (const Sequence& sequence : sequences_) {
    cells.insert(cells.end(), sequence.cells.begin(), sequence.cells.end());
  }
  std::ranges::sort(cells);
  return static_cast<std::size_t>(std::ranges::unique(cells).begin() - cells.begin());
}

void HistoryCache::make_room(std::size_t new_tokens) {
  while (used_cells(new_tokens) + new_tokens > cells_) {
    int idlest = -1;
    for (int i = 0; i < size(); ++i) {
      if (at(i).last_used == clock_ || at(i).tokens.empty()) continue;
      if (idlest < 0 || at(i).last_used < at(idlest).last_used) idlest = i;
    }
    if (idlest < 0) return;  // llama.cpp has the last word
    drop_tail(idlest, 0);
  }
}

void HistoryCache::clear() {
  llama_memory_clear(memory_, true);
  for (Sequence& sequence : sequences_) {
    sequence.tokens.clear();
    sequence.cells.clear();
  }
}

std::size_t HistoryCache::keep(std::span<const Token> tokens) {
  for (int other = 1; other < size(); ++other) drop_tail(other, 0);
  drop_tail(0, common_prefix(at(0).tokens, tokens));
  return held(0);
}

}  // namespace rewardshift::llama
