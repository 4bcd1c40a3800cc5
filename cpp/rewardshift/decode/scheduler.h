// Who plays: the queue, places in the caches, and prompts that must be read first.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/decode/request.h"

namespace rewardshift {

/// Keeps the requests. A request waits until there is room for all it may ever need, then holds a
/// place for each of its branches, has its prompts read a chunk a step, and plays.
class Scheduler {
 public:
  /// The panel is borrowed and must outlive the scheduler.
  Scheduler(Panel& panel, const DecoderOptions& options)
      : panel_(&panel),
        prefill_chunk_(static_cast<std::size_t>(std::max(options.prefill_chunk, 1))),
        prefills_whole_(options.prefills_whole),
        last_history_(panel.places()),
        wave_of_(panel.places()),
        is_stale_(panel.places()),
        is_idle_(panel.places()) {}

  void add(std::unique_ptr<Request> request) { requests_.push_back(std::move(request)); }

  /// All of them, in order of arrival.
  std::span<const std::unique_ptr<Request>> requests() const { return requests_; }

  /// Gives waiting requests their places, first come first served, as long as all that are under
  /// way can reach their limits in the contexts.
  void admit();

  /// Those that have places.
  std::span<Request* const> active() const { return active_; }

  /// Takes finished ones out of the active ones.
  void drop_finished();

  /// Has each reader read the next chunk of prompts, all but each prompt's last token. Ends
  /// requests whose prompt cannot be read. What is left of a prompt and fits into the chunk is left
  /// to the coming round: it is read in one batch with the rows that are wanted of it.
  void prefill();

  /// Those active ones whose prompts are read, as far as the coming round needs them.
  std::span<Request* const> players();

  /// Lets go of finished requests. What those held that were under way together, up to the last
  /// moment when none was, is remembered for requests that go on from there.
  void release();

  /// Forgets what places hold.
  void forget();

 private:
  std::size_t reserved(const Request& request) const;
  int place_for(const Request& request) const;
  void prefill(std::size_t reader);
  bool prefill_batch(std::size_t reader, std::size_t& budget);
  static std::span<const Token> prefix(const Request& request, std::size_t reader);
  void note_shared(std::size_t reader, std::span<const std::span<const Token>> read);
  bool has_unread_twin(const Request& request, std::size_t reader) const;
  void prefill_alone(Request& request, const Question& question);
  std::optional<std::string> read(std::span<const Question> questions);
  bool is_prefilled(const Request& request) const;
  void clear_away();

  Panel* panel_;
  std::size_t prefill_chunk_;
  bool prefills_whole_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<std::vector<Token>> last_history_;  ///< by place: the target's, for reuse
  std::vector<std::size_t> wave_of_;              ///< by place: when that was
  std::size_t wave_ = 0;                          ///< grows whenever nobody is left
  std::vector<bool> is_stale_;  ///< by place: what it holds nobody is likely to ask for again
  std::vector<bool> is_idle_;   ///< by place: it holds what nobody goes on with for now
  std::optional<std::size_t> latest_;  ///< of the idle places, until a step has passed
  std::vector<Request*> active_;
  std::vector<Request*> players_;
  std::vector<Question> questions_;
};

}  // namespace rewardshift
