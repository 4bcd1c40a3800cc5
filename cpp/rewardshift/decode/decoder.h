// The engine: many requests, one round loop.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "rewardshift/decode/draft_policy.h"
#include "rewardshift/decode/drafter.h"
#include "rewardshift/shift/metered_model.h"
#include "rewardshift/decode/model_drafter.h"
#include "rewardshift/decode/ngram_drafter.h"
#include "rewardshift/decode/request.h"

namespace rewardshift {

/// The models of a decoder; borrowed, and to outlive it. Target alone decodes plainly; with a draft
/// it is lossless speculation; with draft and reference all three decode pi*.
///
/// Draft and reference may be one model, told apart by the prompts they see; then it decodes both
/// in one batch where it can, and needs room for two histories a request. All others are distinct.
struct Roles {
  LanguageModel* target = nullptr;
  LanguageModel* draft = nullptr;
  LanguageModel* reference = nullptr;
};

/// Log-probabilities of a given continuation, position by position. Natural logarithms.
struct Scores {
  std::vector<double> target;  ///< of the roles' own distributions at temperature 1
  std::vector<double> draft;   ///< empty where there is no such role
  std::vector<double> reference;
  std::vector<double> goal;  ///< of pi*, shaped as the parameters say; at temperature 0 as at 1
  std::vector<double> log_z;
};

/// Decodes any number of requests together, each with its own parameters.
///
/// One step prefills a chunk of the waiting prompts and plays one round for every other request:
/// draft, score with reference and target (one batch each), verify, emit. A batch that cannot be
/// evaluated is taken apart: who fails alone too ends with the reason, the others go on as if
/// nothing had been. If a step throws (CancelledError), no round was lost: the next step plays it
/// again with the same random numbers.
///
/// Not thread-safe, but safe to misuse: a call while another thread is inside throws Error.
class Decoder {
 public:
  /// Throws std::invalid_argument for roles that make no sense together.
  Decoder(const Roles& roles, const DecoderOptions& options, Clock clock);

  /// Queues a request. Throws std::invalid_argument for parameters that are wrong or that the roles
  /// cannot serve, ContextOverflowError for a prompt that leaves no room for a token.
  RequestId submit(Prompt prompt, RequestParams params);

  /// Measures what batches cost the models, so that draft lengths can be chosen by it. Takes about
  /// a quarter of a second for each role, several evaluations of large models at least. Throws
  /// std::logic_error while there are requests.
  void calibrate();

  /// Advances all requests; returns what is new. Returns nothing when there is nothing to do.
  std::vector<Event> step();

  /// Ends a request; its last event comes with the next step. Unknown and finished ids are ignored.
  void cancel(RequestId id);

  /// Whether a step would do anything. May be asked from any thread.
  bool has_work() const { return has_work_; }

  /// Scores `continuation` after `prompt`, leaving the queued requests as they are.
  Scores score(const Prompt& prompt, std::span<const Token> continuation, RequestParams params);

  /// The bytes a token adds to the text; they may end inside a UTF-8 character.
  std::string piece(Token token) const { return model_of(Role::target).model().piece(token); }

  /// Ids below this are known to all roles; the others are impossible in each.
  int vocab_size() const { return vocab_size_; }

  /// Tokens that fit all roles' contexts.
  std::size_t context_size() const { return context_size_; }

 private:
  MeteredModel* model(Role role) const { return models_[static_cast<std::size_t>(role)].get(); }
  MeteredModel& model_of(Role role) const { return *model(role); }

  // decoder.cpp: what may run, and where
  void complete(Prompt& prompt) const;
  double resolve_strength(const RequestParams& params) const;
  std::size_t require_room(const Prompt& prompt) const;
  void require_drafts(const RequestParams& params) const;
  int sequence_of(const Request& request, Role role, std::size_t branch = 0) const;
  std::size_t reserved(const Request& request) const;
  void admit();
  int place_for(const Request& request) const;
  void plan();
  std::size_t most_drafts(const Request& request, bool is_free) const;
  RoundPlan plan_for(const Request& request, bool calibrated) const;
  void prefill();
  void prefill(Role role);
  bool prefill_batch(Role role, std::size_t& budget);
  void prefill_alone(Role role, Request& request, std::size_t part);
  bool uses(const Request& request, Role role) const;
  bool is_prefilled(const Request& request) const;
  std::array<double, kRoles> role_seconds() const;
  void share_time(double step_seconds, const std::array<double, kRoles>& before);
  std::vector<Event> collect_events();

  // round.cpp: the algorithm
  void play_round();
  bool play_together();
  void play_alone(Request& request);
  void play(std::span<Request* const> players);
  void draft();
  void score_blocks();
  void verify();
  void add_bonus();
  void emit();
  void learn(Request& request);
  bool reads_rows(const Request& request, Role role) const;
  void score_blocks(std::initializer_list<Role> roles);
  void ask_rows(Request& request, Role role);
  void verify(Request& request);
  Decision decide_at(const Request& request, std::size_t row, const Goal& goal);
  void read_draft_for_bonus();
  void keep_bonus_rows();
  void add_bonus(Request& request);
  RoleLogits rows_at(Request& request, std::size_t row) const;
  Goal goal_at(const Request& request, std::size_t i, const RoleLogits& rows);
  void commit(Request& request, EmittedToken&& token);
  void fail(Request& request);
  void forget_histories();
  bool ends(Token token) const;
  void finish(Request& request, FinishReason reason);

  // describe.cpp
  EmittedToken describe(Request& request, Token token, Origin origin, const RoleLogits& rows,
                        const Goal& goal);
  double goal_log_probability(const Request& request, Token token, const Goal& goal) const;
  void add_top_logprobs(EmittedToken& emitted, const Request& request, const RoleLogits& rows);
  LawSummary paper_law(const Request& request, const Goal& goal, Token token);

  // score.cpp
  Scores score_continuation(Request& request, std::span<const Token> continuation);
  void score_rows(Request& request, std::span<const Token> tokens, std::size_t begin,
                  Scores& scores);
  void score_token(Request& request, Token token, std::size_t i, const RoleLogits& rows,
                   Scores& scores);

  std::array<std::unique_ptr<MeteredModel>, kRoles> models_;
  DecoderOptions options_;
  Clock clock_;
  int vocab_size_ = 0;
  std::size_t context_size_ = 0;
  std::size_t capacity_ = 0;
  std::unique_ptr<Drafter> drafter_;
  std::unique_ptr<Drafter> ngram_drafter_;
  bool shares_batches_ = false;  ///< draft and reference are one model
  AdaptivePolicy policy_;
  double own_seconds_ = 0.0;  ///< our own work for each row of the target, lately

  RequestId next_id_ = 0;
  std::vector<std::unique_ptr<Request>> requests_;  ///< in order of arrival
  std::vector<std::vector<Token>> last_history_;    ///< by sequence: the target's, for reuse

  // One step's work, kept to reuse its memory.
  std::vector<Request*> active_;   ///< have a sequence
  std::vector<Request*> players_;  ///< and a prefilled prompt: they play the round
  std::vector<Request*> ready_;    ///< those of them that are deciding together
  std::vector<RoundPlan> plans_;   ///< of the active ones
  std::vector<LogitsRequest> batch_;
  std::deque<std::vector<Token>> branches_;  ///< the histories in batch_ that are nobody's own
  std::vector<DraftRequest> drafts_;
  std::vector<DraftRequest> ngram_drafts_;
  std::vector<Token> children_;               ///< drafted at the position being decided
  std::vector<double> accept_uniforms_;       ///< for them
  std::vector<WeightedToken> proposal_left_;  ///< of their proposal
  std::vector<double> goal_;                  ///< pi* at the position being decided
  std::vector<double> scratch_;               ///< another distribution there
  std::vector<float> kept_rows_;              ///< that the next call of their model would overwrite
  std::vector<Adjustment> adjustments_;
  Workspace workspace_;

  std::atomic<bool> has_work_ = false;
  std::atomic_flag busy_;
};

}  // namespace rewardshift
