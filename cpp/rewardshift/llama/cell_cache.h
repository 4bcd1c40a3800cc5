// Attention's memory: a cell for each token, of which any tail can be cut off.
#pragma once

#include "rewardshift/llama/history_cache.h"
#include "rewardshift/llama/shelf.h"

namespace rewardshift::llama {

/// Sequences share the cells of what their histories begin alike with; when cells run out, the
/// longest idle gives way. All rows attend over all cells: histories that nobody goes on with are
/// copied to a shelf. With a cache for each, what is borrowed is copied, and none gives way, or has
/// to.
class CellCache final : public HistoryCache {
 public:
  struct Layout {
    std::size_t sequences;
    std::size_t cells;   ///< of all sequences together
    bool is_unified;     ///< one cache for all
    std::size_t window;  ///< of sliding attention; 0 is none
    std::size_t shelf;   ///< bytes of histories put aside
  };

  CellCache(llama_context* context, const Layout& layout);

  void begin(std::span<const LogitsRequest> requests) override;
  void put_aside(int sequence) override;
  void clear() override;
  bool cut_to(int sequence, std::size_t tokens) override;
  std::size_t takes_back() const override { return LanguageModel::kAnyNumber; }
  bool shares_new_tokens() const override { return layout_.is_unified; }
  void recover(std::span<const LogitsRequest> requests) override;

 private:
  std::size_t lendable(int, std::size_t common) const override { return common; }
  std::size_t least_gain() const override;
  void lend(int donor, int to, std::size_t tokens) override;
  void take_back(const LogitsRequest& request) override;
  void drop_if_pruned(int sequence);

  llama_context* context_;
  Layout layout_;
  Shelf shelf_;
};

}  // namespace rewardshift::llama
