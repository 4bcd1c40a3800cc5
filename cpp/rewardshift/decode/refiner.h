// What rough readers say of the target's most probable tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "rewardshift/decode/request.h"

namespace rewardshift {

/// Refines rows before the goal is made of them: readers that are rough about some tokens are asked
/// about the target's most probable ones, wherever and however their rows were read. So the goal
/// depends on the text alone, not on what was drafted. Where no reader is rough, nothing happens.
///
/// Rows that are corrected are copies, which live until the next start().
class Refiner {
 public:
  /// The panel is borrowed and must outlive the refiner.
  Refiner(Panel& panel, const DecoderOptions& options)
      : panel_(&panel),
        most_likely_(static_cast<std::size_t>(std::max(options.refined_tokens, 0))),
        least_share_(options.refined_share) {}

  /// Forgets all copies, and what a failure left to be refined.
  void start();

  /// Refines all rows of the requests' blocks that were read, into the requests' rounds.
  void refine_blocks(std::span<Request* const> requests);

  /// Notes a row to be refined: what a rough reader says after a history, which was asked about at
  /// this place last. The target's row and the history must live until refine_noted().
  void note(std::size_t reader, int place, std::span<const Token> history,
            std::span<const float> target, std::span<const float>& row);

  /// Refines what was noted since. Rows of logits that models were asked for live on.
  void refine_noted();

 private:
  /// A row that may be corrected.
  struct Noted {
    std::size_t reader;
    int place;
    std::span<const Token> history;
    std::size_t likely;  ///< in likelies_
    std::span<const float>* row;
  };

  void forget_notes();
  void note_block(Request& request, std::size_t reader);
  std::size_t likely_of(std::span<const float> target);
  void list_likely(std::span<const float> target, std::vector<Token>& out);
  std::span<const float> corrected(std::span<const float> row,
                                   std::span<const Correction> corrections);

  Panel* panel_;
  std::size_t most_likely_;  ///< tokens of a row
  double least_share_;       ///< of the target's mass, that each of them has
  Workspace workspace_;
  std::vector<Noted> noted_;
  std::vector<const float*> targets_;         ///< rows whose likely tokens are known
  std::deque<std::vector<Token>> likelies_;   ///< of each of them
  std::deque<std::vector<Token>> histories_;  ///< of branches
  std::vector<Doubt> doubts_;
  std::deque<std::vector<float>> copies_;
  std::size_t used_ = 0;  ///< of the copies
};

}  // namespace rewardshift
