// One round of reward-shifted speculative sampling, for many requests at once.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "rewardshift/decode/crew.h"
#include "rewardshift/decode/reader_proposer.h"
#include "rewardshift/decode/refiner.h"
#include "rewardshift/decode/table_proposer.h"
#include "rewardshift/decode/verifier.h"

namespace rewardshift {

/// Plays rounds: draft, score, refine, verify, bonus. What comes out is in the requests' own
/// rounds; nothing of it is part of their responses yet.
class RoundPlayer {
 public:
  /// Decides for several requests at once on the options' threads. The panel is borrowed and must
  /// outlive the player.
  RoundPlayer(Panel& panel, const DecoderOptions& options);

  /// Plays a round for requests that are ready for one. A batch that cannot be evaluated is taken
  /// apart: who fails alone too has failed, the others decide what they would have decided.
  void play(std::span<Request* const> players);

  const Reporter& reporter() const { return verifiers_.front().reporter(); }

 private:
  bool play_together(std::span<Request* const> players);
  void play_alone(Request& request);
  void play_round(std::span<Request* const> players);
  void draft();
  void score();
  void recall_drafting(Request& request);
  void refine();
  void verify();
  void add_bonus();
  void ask_block(Request& request, std::size_t reader);

  Panel* panel_;
  Crew crew_;
  ReaderProposer reader_proposer_;
  TableProposer table_proposer_;
  Refiner refiner_;
  std::deque<Verifier> verifiers_;  ///< one for each thread
  std::vector<Request*> ready_;     ///< those players that are deciding together
  std::vector<Request*> by_readers_;
  std::vector<Request*> by_tables_;
  std::vector<Question> questions_;
  std::deque<std::vector<Token>> branches_;  ///< the histories in questions_ that are nobody's own
};

}  // namespace rewardshift
