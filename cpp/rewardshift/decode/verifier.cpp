#include "rewardshift/decode/verifier.h"

#include <algorithm>

#include "rewardshift/math/block.h"

namespace rewardshift {

void Verifier::verify(Request& request) {
  if (request.verifies_jointly()) {
    verify_jointly(request);
  } else {
    verify_one_by_one(request);
  }
}

/// How many drafts of a chain have a goal to be decided by, which is judged for each. Where there
/// is none, as nothing may follow, that is an error only if the response gets there.
std::size_t Verifier::judge_chain(Request& request) {
  const std::span<const Token> drafted = request.block.tokens;
  for (std::size_t i = 0; i < drafted.size(); ++i) {
    try {
      judge_.judge(request, drafted.first(i), rows_at(request, i), judged_at(i));
    } catch (const EvaluationError&) {
      if (i == 0) throw;
      return i;
    }
  }
  return drafted.size();
}

/// Block verification: the longest beginning of the chain that its uniforms accept.
void Verifier::verify_jointly(Request& request) {
  const DraftBlock& block = request.block;
  const auto drafted = std::span<const Token>(block.tokens).first(judge_chain(request));
  goals_.clear();
  proposals_.clear();
  accept_uniforms_.clear();
  residual_uniforms_.clear();
  for (std::size_t i = 0; i < drafted.size(); ++i) {
    goals_.push_back(judged_at(i).goal.weights);
    proposals_.push_back(block.proposal(i));
    accept_uniforms_.push_back(request.uniform_of_draft(i, Purpose::accept));
    residual_uniforms_.push_back(request.uniforms(request.generated + i, Purpose::residual));
  }
  const BlockDecision decision =
      decide_block(drafted, goals_, proposals_, accept_uniforms_, residual_uniforms_);
  for (std::size_t i = 0; i < decision.accepted; ++i) {
    reporter_.emit(request, drafted[i], Origin::draft, judged_at(i));
    if (!accept(request, i)) return;
  }
  if (decision.accepted == drafted.size()) return want_bonus(request, drafted.size());
  request.round.empty_residuals += decision.empty_residual ? 1 : 0;
  request.round.rejected = 1;
  reporter_.emit(request, decision.correction, Origin::correction, judged_at(decision.accepted));
}

/// Walks down the chain or tree as far as drafts are accepted.
void Verifier::verify_one_by_one(Request& request) {
  Round& round = request.round;
  std::size_t row = 0;
  request.block.children_of(row, children_);
  while (!children_.empty()) {
    Judged& judged = judged_at(0);
    judge_.judge(request, round.path, rows_at(request, row), judged);
    const Decision decision = decide_at(request, row, judged);
    const Origin origin = decision.accepted ? Origin::draft : Origin::correction;
    round.empty_residuals += decision.empty_residual ? 1 : 0;
    reporter_.emit(request, decision.token, origin, judged);
    if (!decision.accepted) {
      ++round.rejected;
      return;
    }
    row = request.block.row_after(row, decision.token);
    if (!accept(request, row - 1)) return;
    request.block.children_of(row, children_);
  }
  want_bonus(request, row);
}

/// Decides on the drafts that follow a row.
Decision Verifier::decide_at(Request& request, std::size_t row, const Judged& judged) {
  const std::size_t position = request.generated + request.round.path.size();
  const double residual = request.uniforms(position, Purpose::residual);
  if (!request.has_short_laws()) {
    return decide(children_.front(), judged.goal.weights, request.block.proposal(row),
                  scale_of(request.params.rule, judged.goal),
                  request.uniforms(position, Purpose::accept), residual);
  }
  accept_uniforms_.clear();
  for (std::uint32_t i = 0; i < children_.size(); ++i) {
    accept_uniforms_.push_back(request.uniforms(position, Purpose::accept, i));
  }
  const auto law = request.block.law(row);
  proposal_left_.assign(law.begin(), law.end());
  return decide_one_of(children_, judged.goal.weights, proposal_left_, accept_uniforms_, residual,
                       left_);
}

/// Takes the i-th token of the block into the path; false where the text ends with it.
bool Verifier::accept(Request& request, std::size_t i) {
  request.round.path.push_back(request.block.tokens[i]);
  request.round.accepted.push_back(request.block.numbers[i]);
  return !panel_->ends(request.block.tokens[i]);
}

void Verifier::want_bonus(Request& request, std::size_t row) {
  request.round.wants_bonus = true;
  request.round.bonus = rows_at(request, row);
  request.follow_path();
}

void Verifier::read_for_bonus(std::span<Request* const> requests, Refiner& refiner) {
  kept_rows_.clear();
  for (std::size_t model = 0; model < panel_->models(); ++model) {
    questions_.clear();
    answers_.clear();
    for (Request* request : requests) {
      if (!request->round.wants_bonus) continue;
      for (std::size_t part = 0; part < request->goal.size(); ++part) {
        const std::size_t reader = request->goal[part].reader;
        Rows& bonus = request->round.bonus;
        if (!bonus[part].empty() || panel_->model_of(reader) != model) continue;
        questions_.push_back({reader, request->places.front(), request->history[reader], 1});
        answers_.emplace_back(&bonus, part);
      }
    }
    if (questions_.empty()) continue;
    keep_bonus_rows(requests, model);
    const auto rows = panel_->rows(questions_);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Question& asked = questions_[i];
      auto& [bonus, part] = answers_[i];
      auto& row = (*bonus)[part];
      row = {rows[i], static_cast<std::size_t>(panel_->vocab_size())};
      if (!panel_->is_rough(asked.reader)) continue;
      refiner.note(asked.reader, asked.place, asked.tokens, bonus->front(), row);
    }
  }
  refiner.refine_noted();
}

/// Copies the rows that a model is about to overwrite.
void Verifier::keep_bonus_rows(std::span<Request* const> requests, std::size_t model) {
  for (Request* request : requests) {
    if (!request->round.wants_bonus) continue;
    for (std::size_t part = 0; part < request->goal.size(); ++part) {
      auto& row = request->round.bonus[part];
      if (row.empty() || panel_->model_of(request->goal[part].reader) != model) continue;
      row = kept_rows_.emplace_back(row.begin(), row.end());
    }
  }
}

void Verifier::add_bonus(Request& request) {
  Judged& judged = judged_at(0);
  judge_.judge(request, request.round.path, request.round.bonus, judged);
  const std::size_t position = request.generated + request.round.path.size();
  const Token token = sample(judged.goal.weights, request.uniforms(position, Purpose::goal));
  reporter_.emit(request, token, Origin::bonus, judged);
}

Judged& Verifier::judged_at(std::size_t i) {
  while (judged_.size() <= i) judged_.emplace_back();
  return judged_[i];
}

/// What the goal's readers say at a row of the block.
Rows Verifier::rows_at(const Request& request, std::size_t row) const {
  Rows rows;
  for (const Part& part : request.goal) rows.push_back(request.round.read[part.reader][row]);
  return rows;
}

}  // namespace rewardshift
