#include "rewardshift/llama/cell_cache.h"

#include <llama.h>

#include <limits>
#include <utility>

namespace rewardshift::llama {
namespace {

constexpr std::size_t kWorthACopy = 9;  // tokens gained for which a cache is copied whole

}  // namespace

/// Where each sequence has its own cache, llama.cpp counts the cells: a share is always there.
CellCache::CellCache(llama_context* context, const Layout& layout)
    : HistoryCache(context, layout.sequences,
                   layout.is_unified ? layout.cells : std::numeric_limits<std::size_t>::max() / 2),
      context_(context),
      layout_(layout),
      shelf_(layout.shelf) {}

void CellCache::begin(std::span<const LogitsRequest> requests) {
  HistoryCache::begin(requests);
  for (const LogitsRequest& request : requests) drop_if_pruned(request.sequence);
}

bool CellCache::cut_to(int sequence, std::size_t tokens) {
  if (!HistoryCache::cut_to(sequence, tokens)) return false;
  drop_if_pruned(sequence);
  return held(sequence) == tokens;
}

std::size_t CellCache::least_gain() const { return layout_.is_unified ? 1 : kWorthACopy; }

void CellCache::put_aside(int sequence) {
  if (!layout_.is_unified || held(sequence) < kWorthACopy) return;
  const std::size_t bytes = llama_state_seq_get_size(context_, sequence);
  if (!shelf_.fits(bytes)) return;
  Shelved history{at(sequence).tokens, std::vector<std::uint8_t>(bytes)};
  llama_state_seq_get_data(context_, history.state.data(), bytes, sequence);
  shelf_.put(std::move(history));
  drop_tail(sequence, 0);
}

void CellCache::take_back(const LogitsRequest& request) {
  const int sequence = request.sequence;
  const auto wanted = request.tokens.first(reusable(request));
  auto history = shelf_.take(wanted, at_hand(sequence, wanted) + kWorthACopy - 1);
  if (!history) return;
  drop_tail(sequence, 0);
  make_room(history->tokens.size());
  const auto& state = history->state;
  if (llama_state_seq_set_data(context_, state.data(), state.size(), sequence) == 0) {
    llama_memory_seq_rm(memory(), sequence, -1, -1);
    return;
  }
  hold(sequence, std::move(history->tokens));
  keep_common(request);
}

void CellCache::clear() {
  HistoryCache::clear();
  shelf_.clear();
}

void CellCache::lend(int donor, int to, std::size_t tokens) {
  const auto end = static_cast<llama_pos>(tokens);
  if (layout_.is_unified) {
    llama_memory_seq_cp(memory(), donor, to, static_cast<llama_pos>(held(to)), end);
  } else {  // a cache of its own can only be copied whole
    llama_memory_seq_cp(memory(), donor, to, -1, -1);
    llama_memory_seq_rm(memory(), to, end, -1);
  }
}

/// A sliding-window cache gives cells beyond the window to whoever needs them. A sequence whose
/// last window is not whole any more, after a rollback or in a borrowed prefix, starts anew.
void CellCache::drop_if_pruned(int sequence) {
  const std::size_t window = layout_.window;
  if (window == 0 || held(sequence) == 0) return;
  const llama_pos least = llama_memory_seq_pos_min(memory(), sequence);
  const std::size_t needed_from = held(sequence) + 1 > window ? held(sequence) + 1 - window : 0;
  if (least < 0 || static_cast<std::size_t>(least) > needed_from) drop_tail(sequence, 0);
}

void CellCache::recover(std::span<const LogitsRequest> requests) {
  for (const LogitsRequest& request : requests) {
    const auto end = static_cast<llama_pos>(held(request.sequence));
    llama_memory_seq_rm(memory(), request.sequence, end, -1);
  }
}

}  // namespace rewardshift::llama
