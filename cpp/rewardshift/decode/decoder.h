// The engine: many requests, one round loop.
#pragma once

#include <atomic>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/decode/planner.h"
#include "rewardshift/decode/round.h"
#include "rewardshift/decode/scheduler.h"
#include "rewardshift/decode/scorer.h"

namespace rewardshift {

/// Decodes any number of requests together, each with its own parameters.
///
/// One step prefills a chunk of the waiting prompts and plays one round for every other request:
/// draft, score (one batch a model), verify, emit. A batch that cannot be evaluated is taken apart:
/// who fails alone too ends with the reason, the others go on as if nothing had been. If a step
/// throws (CancelledError), no round was lost: the next step plays it again with the same random
/// numbers.
///
/// The rooms and whose data they hold: Panel the models; Scheduler the requests, and who of them
/// plays; Planner how each drafts; RoundPlayer one round, of which the Verifier decides and the
/// Reporter tells. A request's own data is in its Request.
///
/// Not thread-safe, but safe to misuse: a call while another thread is inside throws Error.
class Decoder {
 public:
  /// Throws std::invalid_argument for readers that make no sense together.
  Decoder(std::vector<Reader> readers, std::vector<Shift> shifts, std::optional<std::size_t> base,
          const DecoderOptions& options, Clock clock);

  /// Queues a request. Throws std::invalid_argument for parameters that are wrong or that the
  /// models cannot serve, ContextOverflowError for a prompt that leaves no room for a token.
  RequestId submit(Prompts prompts, RequestParams params);

  /// Measures what batches cost the models, so that draft lengths can be chosen by it. Takes about
  /// a quarter of a second for each model, several evaluations of large models at least. Throws
  /// std::logic_error while there are requests.
  void calibrate();

  /// Advances all requests; returns what is new. Returns nothing when there is nothing to do.
  std::vector<Event> step();

  /// Ends a request; its last event comes with the next step. Unknown and finished ids are ignored.
  void cancel(RequestId id);

  /// Whether a step would do anything. May be asked from any thread.
  bool has_work() const { return has_work_; }

  /// Scores `continuation` after the prompts, leaving the queued requests as they are.
  Scores score(Prompts prompts, std::span<const Token> continuation, RequestParams params);

  /// The bytes a token adds to the text; they may end inside a UTF-8 character.
  std::string piece(Token token) const { return panel_.model(0).piece(token); }

  /// The same, but for control tokens what they are written as.
  std::string spelling(Token token) const { return panel_.model(0).spelling(token); }

  /// Ids below this are known to all models; the others are impossible in each.
  int vocab_size() const { return panel_.vocab_size(); }

  /// Tokens that fit all models' contexts.
  std::size_t context_size() const { return panel_.context_size(); }

  /// Requests that are decoded at the same time; others wait.
  std::size_t places() const { return panel_.places(); }

 private:
  std::vector<double> strengths_of(const RequestParams& params) const;
  void require_paper(const RequestParams& params, std::span<const double> strengths) const;
  void require_drafts(const RequestParams& params) const;
  Prompts complete(Prompts prompts) const;
  std::size_t require_room(const Prompts& prompts) const;
  void take_forced(Request& request);
  void emit(Request& request);
  void commit(Request& request, EmittedToken&& token);
  double share_time(double step_seconds, std::span<const double> before);
  void learn_row_cost(double seconds);
  std::vector<Event> collect_events();

  Panel panel_;
  DecoderOptions options_;
  Clock clock_;
  Scheduler scheduler_;
  Planner planner_;
  RoundPlayer player_;
  Scorer scorer_;
  RequestId next_id_ = 0;
  double row_seconds_ = 0.0;  ///< our own work and refining, for each row of the target, lately
  std::atomic<bool> has_work_ = false;
  std::atomic_flag busy_;
};

}  // namespace rewardshift
