// Which cells of a context's cache belong to whom, and who gives way.
#include <llama.h>

#include <algorithm>

#include "rewardshift/history.h"
#include "rewardshift/llama/context.h"

namespace rewardshift::llama {
namespace {

constexpr std::size_t kWorthACopy = 8;  // tokens gained for which a cache is copied whole

}  // namespace

/// Keeps of a sequence what the history begins with, but no position a row is wanted of.
void Context::keep_common(const LogitsRequest& request) {
  Sequence& sequence = sequences_[static_cast<std::size_t>(request.sequence)];
  sequence.last_used = clock_;
  const std::size_t reusable = request.tokens.size() - static_cast<std::size_t>(request.n_rows);
  const std::size_t common = common_prefix(sequence.cached, request.tokens);
  // Cells beyond a history that is only to be made ready do no harm; none is to free them.
  if (request.n_rows == 0 && common > 0 && common == request.tokens.size()) return;
  drop_tail(request.sequence, std::min(common, reusable));
}

/// Takes over cells from the sequence that has most in common with the history.
void Context::borrow_prefix(const LogitsRequest& request) {
  Sequence& sequence = sequences_[static_cast<std::size_t>(request.sequence)];
  const std::size_t reusable = request.tokens.size() - static_cast<std::size_t>(request.n_rows);
  if (sequence.cached.size() >= reusable) return;  // as in every round of a request under way
  const auto wanted = request.tokens.first(reusable);
  std::size_t most = sequence.cached.size() + (is_unified_ ? 0 : kWorthACopy);
  int donor = -1;
  for (int other = 0; other < max_sequences(); ++other) {
    const auto& cached = sequences_[static_cast<std::size_t>(other)].cached;
    const std::size_t common = common_prefix(cached, wanted);
    if (other != request.sequence && common > most) {
      most = common;
      donor = other;
    }
  }
  if (donor < 0) return;
  llama_memory_t memory = llama_get_memory(context_.get());
  const auto to = static_cast<llama_pos>(most);
  if (is_unified_) {
    const auto from = static_cast<llama_pos>(sequence.cached.size());
    llama_memory_seq_cp(memory, donor, request.sequence, from, to);
  } else {  // a cache of its own can only be copied whole
    llama_memory_seq_cp(memory, donor, request.sequence, -1, -1);
    llama_memory_seq_rm(memory, request.sequence, to, -1);
  }
  sequence.cached.assign(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(most));
  const auto& lent = sequences_[static_cast<std::size_t>(donor)].cells;
  for (std::size_t i = sequence.cells.size(); i < most; ++i) sequence.cells.push_back(lent[i]);
}

/// A sliding-window cache gives cells beyond the window to whoever needs them. A sequence whose
/// last window is not whole any more, after a rollback or in a borrowed prefix, starts anew.
void Context::drop_if_pruned(int sequence) {
  const std::size_t kept = sequences_[static_cast<std::size_t>(sequence)].cached.size();
  if (window_ == 0 || kept == 0) return;
  const llama_pos least = llama_memory_seq_pos_min(llama_get_memory(context_.get()), sequence);
  const std::size_t needed_from = kept + 1 > window_ ? kept + 1 - window_ : 0;
  if (least < 0 || static_cast<std::size_t>(least) > needed_from) drop_tail(sequence, 0);
}

std::size_t Context::used_cells() const {
  std::size_t most = 0;  // counting shared ones once for each sharer: often that is enough to know
  for (const Sequence& sequence : sequences_) most += sequence.cells.size();
  if (most + pending_.size() <= cells_) return most;
  std::vector<std::uint64_t> cells;
  cells.reserve(most);
  for (const Sequence& sequence : sequences_) {
    cells.insert(cells.end(), sequence.cells.begin(), sequence.cells.end());
  }
  std::ranges::sort(cells);
  return static_cast<std::size_t>(std::ranges::unique(cells).begin() - cells.begin());
}

/// Drops idle sequences until the new tokens fit.
void Context::make_room() {
  if (!is_unified_) return;
  while (used_cells() + pending_.size() > cells_) {
    int idlest = -1;
    for (int i = 0; i < max_sequences(); ++i) {
      const Sequence& sequence = sequences_[static_cast<std::size_t>(i)];
      if (sequence.last_used == clock_ || sequence.cached.empty()) continue;
      if (idlest < 0 ||
          sequence.last_used < sequences_[static_cast<std::size_t>(idlest)].last_used) {
        idlest = i;
      }
    }
    if (idlest < 0) return;  // llama.cpp has the last word
    drop_tail(idlest, 0);
  }
}

std::size_t Context::keep(std::span<const Token> tokens) {
  context_.get_deleter().home.require();
  for (int other = 1; other < max_sequences(); ++other) drop_tail(other, 0);
  drop_tail(0, common_prefix(sequences_.front().cached, tokens));
  return sequences_.front().cached.size();
}

void Context::drop_tail(int sequence, std::size_t keep) {
  auto& cached = sequences_[static_cast<std::size_t>(sequence)].cached;
  if (keep == cached.size()) return;
  llama_memory_t memory = llama_get_memory(context_.get());
  if (!llama_memory_seq_rm(memory, sequence, static_cast<llama_pos>(keep), -1)) {
    llama_memory_seq_rm(memory, sequence, -1, -1);  // removing all of a sequence never fails
    keep = 0;
  }
  cached.resize(keep);
  sequences_[static_cast<std::size_t>(sequence)].cells.resize(keep);
}

}  // namespace rewardshift::llama
