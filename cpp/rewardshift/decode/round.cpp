// One round of reward-shifted speculative sampling, for all requests at once.
#include <algorithm>
#include <cmath>
#include <utility>

#include "rewardshift/decode/decoder.h"

namespace rewardshift {
namespace {

/// Makes what goes wrong with one request that request's own affair.
template <class Work>
void guard(Request& request, Work work) {
  try {
    work();
  } catch (const EvaluationError& error) {
    request.round.failure = error.what();
    request.round.bad_row = dynamic_cast<const BadRowError*>(&error) != nullptr;
  }
}

}  // namespace

void Decoder::play_round() {
  players_.clear();
  for (Request* request : active_) {
    if (is_prefilled(*request)) players_.push_back(request);
  }
  if (players_.empty()) return;
  if (!play_together()) {
    // A batch fails as a whole, and a NaN can spread through a cache from one request to others.
    // Asked alone, with the same random numbers, the innocent decide what they would have decided.
    for (Request* player : players_) {
      forget_histories();
      play_alone(*player);
    }
  }
  emit();
}

/// Whether all went well for everyone.
bool Decoder::play_together() {
  try {
    play(players_);
  } catch (const EvaluationError&) {
    return false;
  }
  return std::ranges::none_of(players_, [](const Request* r) { return r->round.bad_row; });
}

void Decoder::play_alone(Request& request) {
  Request* player = &request;
  guard(request, [&] { play({&player, 1}); });
}

/// Reward-shifted speculative sampling, one block for each player: a chain, or a tree.
void Decoder::play(std::span<Request* const> players) {
  ready_.assign(players.begin(), players.end());
  draft();         // x_1 .. x_K ~ g
  score_blocks();  // p and r after each of them, one batch each
  verify();        // accept each with min(1, c pi*/g), or correct where all fail
  add_bonus();     // all accepted: q at position K+1, and one more from the goal
}

void Decoder::draft() {
  drafts_.clear();
  ngram_drafts_.clear();
  for (Request* request : ready_) {
    request->forget_drafts();
    request->round = {};
    request->block.clear();
    if (request->draft_length == 0) continue;
    const bool from_table = request->drafts_from_table();
    auto& history = request->tokens_of(from_table ? Role::target : Role::draft);
    const std::span<const int> sequences = request->sequences;
    (from_table ? ngram_drafts_ : drafts_)
        .push_back({request->drafts_trees() ? sequences : sequences.first(1),
                    static_cast<int>(request->draft_length), &request->params, &request->uniforms,
                    request->generated, &history, &request->block});
  }
  if (drafter_ != nullptr) drafter_->draft(drafts_);
  ngram_drafter_->draft(ngram_drafts_);
  for (Request* request : ready_) {
    request->round.failure = request->block.failure;
    request->round.bad_row = request->has_failed();
  }
  std::erase_if(ready_, [](const Request* request) { return request->has_failed(); });
}

void Decoder::score_blocks() {
  if (shares_batches_) {
    score_blocks({Role::reference, Role::draft});
  } else {
    score_blocks({Role::draft});
    score_blocks({Role::reference});
  }
  score_blocks({Role::target});
}

/// Whether a role is evaluated over the whole block. The draft has read its own drafts; without
/// drafts the goal is sure to need its row, which then comes in the reference's batch where the two
/// are one model.
bool Decoder::reads_rows(const Request& request, Role role) const {
  if (role != Role::draft) return uses(request, role);
  return request.is_aligned() &&
         (request.drafts_from_table() || (shares_batches_ && request.block.tokens.empty()));
}

/// Evaluates roles of one model in one batch: a second one would overwrite the rows of the first.
void Decoder::score_blocks(std::initializer_list<Role> roles) {
  batch_.clear();
  branches_.clear();
  for (const Role role : roles) {
    for (Request* request : ready_) {
      if (reads_rows(*request, role)) ask_rows(*request, role);
    }
  }
  if (batch_.empty()) return;
  auto all = model_of(*roles.begin()).logits(batch_);
  for (const Role role : roles) {
    for (Request* request : ready_) {
      if (!reads_rows(*request, role)) continue;
      const std::size_t rows = request->block.tokens.size() + 1;
      request->round.rows_of(role) = all.first(rows);
      all = all.subspan(rows);
    }
  }
}

/// Asks for the rows of a block, each branch in a sequence of its own. The first one's history is
/// the request's; each other asks for no row that one before it has.
void Decoder::ask_rows(Request& request, Role role) {
  const DraftBlock& block = request.block;
  auto& history = request.tokens_of(role);
  const std::size_t before = history.size();
  const std::size_t first_end = block.branch_end(0);
  const auto begin = block.tokens.begin();
  history.insert(history.end(), begin, begin + static_cast<std::ptrdiff_t>(first_end));
  batch_.push_back({sequence_of(request, role), history, static_cast<int>(first_end) + 1});
  std::size_t branch = 1;
  for (std::size_t i = first_end; i < block.tokens.size(); ++branch) {
    const std::size_t end = block.branch_end(i);
    auto& tokens = branches_.emplace_back(history.begin(),
                                          history.begin() + static_cast<std::ptrdiff_t>(before));
    block.append_path(end, tokens);
    batch_.push_back({sequence_of(request, role, branch), tokens, static_cast<int>(end - i)});
    i = end;
  }
}

void Decoder::verify() {
  for (Request* request : ready_) {
    guard(*request, [&] { verify(*request); });
  }
}

/// Walks down the tree as far as drafts are accepted.
void Decoder::verify(Request& request) {
  Round& round = request.round;
  std::size_t row = 0;
  request.block.children_of(row, children_);
  while (!children_.empty()) {
    const RoleLogits rows = rows_at(request, row);
    const Goal goal = goal_at(request, round.accepted.size(), rows);
    const Decision decision = decide_at(request, row, goal);
    const Origin origin = decision.accepted ? Origin::draft : Origin::correction;
    round.emitted.push_back(describe(request, decision.token, origin, rows, goal));
    round.empty_residuals += decision.empty_residual ? 1 : 0;
    if (!decision.accepted) {
      ++round.rejected;
      return;
    }
    request.follow(round.accepted.size(), decision.token);
    row = request.block.row_after(row, decision.token);
    round.accepted.push_back(request.block.numbers[row - 1]);
    if (ends(decision.token)) return;
    request.block.children_of(row, children_);
  }
  round.wants_bonus = true;
  round.bonus = rows_at(request, row);
}

/// Decides on the drafts that follow a row, of which goal_ is the goal.
Decision Decoder::decide_at(const Request& request, std::size_t row, const Goal& goal) {
  const std::size_t position = request.generated + request.round.accepted.size();
  const double residual = request.uniforms(position, Purpose::residual);
  if (!request.drafts_trees()) {
    return decide(children_.front(), goal_, request.block.proposal(row),
                  scale_of(request.params.rule, goal), request.uniforms(position, Purpose::accept),
                  residual);
  }
  accept_uniforms_.clear();
  for (std::uint32_t i = 0; i < children_.size(); ++i) {
    accept_uniforms_.push_back(request.uniforms(position, Purpose::accept, i));
  }
  const auto law = request.block.law(row);
  proposal_left_.assign(law.begin(), law.end());
  return decide_one_of(children_, goal_, proposal_left_, accept_uniforms_, residual, scratch_);
}

void Decoder::add_bonus() {
  read_draft_for_bonus();
  for (Request* request : ready_) {
    if (request->round.wants_bonus) guard(*request, [&] { add_bonus(*request); });
  }
}

/// The draft reads its own last token only when all its tokens were accepted: not before then is
/// its row needed.
void Decoder::read_draft_for_bonus() {
  const auto is_waiting = [](const Request* request) {
    const Round& round = request->round;
    return round.wants_bonus && request->is_aligned() && round.bonus.draft.empty();
  };
  batch_.clear();
  for (Request* request : ready_) {
    if (!is_waiting(request)) continue;
    batch_.push_back({sequence_of(*request, Role::draft), request->tokens_of(Role::draft), 1});
  }
  if (batch_.empty()) return;
  keep_bonus_rows();
  const auto rows = model_of(Role::draft).logits(batch_);
  std::size_t next = 0;
  for (Request* request : ready_) {
    if (is_waiting(request)) request->round.bonus.draft = {rows[next++], goal_.size()};
  }
}

/// Copies the rows that the draft's model, which may be the reference's, is about to overwrite.
void Decoder::keep_bonus_rows() {
  const std::size_t n = goal_.size();
  kept_rows_.resize(2 * ready_.size() * n);
  auto free = kept_rows_.begin();
  for (Request* request : ready_) {
    RoleLogits& bonus = request->round.bonus;
    for (auto* row : {&bonus.draft, &bonus.reference}) {
      if (row->empty() || (row == &bonus.reference && !shares_batches_)) continue;
      std::ranges::copy(*row, free);
      *row = {free, n};
      free += static_cast<std::ptrdiff_t>(n);
    }
  }
}

void Decoder::add_bonus(Request& request) {
  const RoleLogits& rows = request.round.bonus;
  const std::size_t accepted = request.round.accepted.size();
  const Goal goal = goal_at(request, accepted, rows);
  const Token token = sample(goal_, request.uniforms(request.generated + accepted, Purpose::goal));
  request.round.emitted.push_back(describe(request, token, Origin::bonus, rows, goal));
}

void Decoder::emit() {
  for (Request* request : players_) {
    Round& round = request->round;
    request->forget_drafts();
    if (request->has_failed()) {
      fail(*request);
      continue;
    }
    const std::size_t before = request->generated;
    for (std::size_t i = 0; i < round.emitted.size() && !request->is_finished(); ++i) {
      if (request->drafts_from_table()) {
        request->params.drafter->add(request->tokens_of(Role::target), round.sightings[i]);
      }
      commit(*request, std::move(round.emitted[i]));
    }
    request->statistics.count_round(request->block.tokens.size(), round.accepted.size(),
                                    round.rejected, request->generated - before);
    request->statistics.empty_residuals += round.empty_residuals;
    learn(*request);
    if (!request->is_finished()) request->event.text += request->text.take();
  }
}

/// Notes how the round went, for the choice of the next ones.
void Decoder::learn(Request& request) {
  if (request.drafts_from_table() && !request.drafts_trees()) return;  // the table knew nothing
  const Round& round = request.round;
  const DraftOutcome outcome{request.draft_kind, request.block.tokens.size(), round.accepted,
                             round.rejected > 0};
  request.acceptances.count(outcome);
  policy_.learn(outcome);
}

/// The three roles' rows of the block, as far as they are known already.
RoleLogits Decoder::rows_at(Request& request, std::size_t row) const {
  const std::size_t n = goal_.size();
  Round& round = request.round;
  RoleLogits rows;
  rows.target = {round.rows_of(Role::target)[row], n};
  if (!round.rows_of(Role::draft).empty()) {
    rows.draft = {round.rows_of(Role::draft)[row], n};
  } else if (request.drafts_trees()) {
    rows.draft = request.block.draft_logits_of(row);
  } else if (row < request.block.tokens.size()) {
    rows.draft = request.block.draft_logits(row);
  }
  if (request.is_aligned()) rows.reference = {round.rows_of(Role::reference)[row], n};
  return rows;
}

/// Leaves pi* after i drafts in goal_.
Goal Decoder::goal_at(const Request& request, std::size_t i, const RoleLogits& rows) {
  const RequestParams& params = request.params;
  const std::span<const Token> history = request.history[static_cast<std::size_t>(Role::target)];
  adjustments_at(params, history.first(request.prompt_of(Role::target) + request.generated + i),
                 adjustments_);
  const Shaping shaping{
      params.temperature, {params.top_k, params.top_p, params.min_p}, adjustments_};
  const Goal goal = rewardshift::goal(rows, request.strength, shaping, workspace_, goal_);
  const std::size_t position = request.prompt_of(Role::target) + request.generated + i;
  require_distribution(goal.log_normaliser.target, Role::target, position);
  const std::size_t response = request.generated + i;
  require_distribution(goal.log_normaliser.draft, Role::draft,
                       request.prompt_of(Role::draft) + response);
  require_distribution(goal.log_normaliser.reference, Role::reference,
                       request.prompt_of(Role::reference) + response);
  if (!std::isfinite(goal.log_z)) {
    throw EvaluationError("no token is possible at position " + std::to_string(position) +
                          ": the roles and logit_bias leave none");
  }
  return goal;
}

/// Makes one token part of the response and notices if it is the last.
void Decoder::commit(Request& request, EmittedToken&& token) {
  const bool last = ends(token.id);
  request.append(token.id);
  const bool stopped = !last && request.text.append(piece(token.id));
  request.event.tokens.push_back(std::move(token));
  if (last || stopped) {
    finish(request, FinishReason::stop);
  } else if (request.generated == request.limit) {
    finish(request, FinishReason::length);
  }
}

/// Whether any role takes the token for the end: an aligned draft may know one that its target
/// does not.
bool Decoder::ends(Token token) const {
  return std::ranges::any_of(models_, [token](const auto& model) {
    return model != nullptr && model->model().is_end_of_generation(token);
  });
}

/// Ends one request without touching the others.
void Decoder::fail(Request& request) {
  request.event.error = request.round.failure;
  finish(request, FinishReason::error);
  if (request.round.bad_row) forget_histories();
}

void Decoder::forget_histories() {
  for (const auto& model : models_) {
    if (model != nullptr) model->forget();
  }
}

void Decoder::finish(Request& request, FinishReason reason) {
  request.event.text += request.text.take_rest();
  request.event.finish = reason;
}

}  // namespace rewardshift
