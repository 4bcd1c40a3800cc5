// Attention's memory: a cell for each token, of which any tail can be cut off.
#pragma once

#include "rewardshift/llama/history_cache.h"

namespace rewardshift::llama {

/// Sequences share the cells of what their histories begin alike with; when cells run out, the
/// longest idle gives way. With a cache for each, what is borrowed is copied, and none gives way.
class CellCache final : public HistoryCache {
 public:
  struct Layout {
    std::size_t sequences;
    std::size_t cells;   ///< of all sequences together
    bool is_unified;     ///< one cache for all
    std::size_t window;  ///< of sliding attention; 0 is none
  };

  CellCache(llama_context* context, const Layout& layout);

  void begin(std::span<const LogitsRequest> requests) override;
  bool cut_to(int sequence, std::size_t tokens) override;
  std::size_t takes_back() const override { return LanguageModel::kAnyNumber; }
  bool shares_new_tokens() const override { return layout_.is_unified; }
  void recover(std::span<const LogitsRequest> requests) override;

 private:
  std::size_t lendable(int, std::size_t common) const override { return common; }
  std::size_t least_gain() const override;
  void lend(int donor, int to, std::size_t tokens) override;
  void drop_if_pruned(int sequence);

  Layout layout_;
};

}  // namespace rewardshift::llama
