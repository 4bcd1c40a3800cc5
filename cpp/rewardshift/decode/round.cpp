#include "rewardshift/decode/round.h"

#include <algorithm>

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
  } catch (const ContextOverflowError& error) {
    request.round.failure = error.what();
  }
}

/// Whether a reader is asked for a request's whole block: the goal needs it, and it did not draft.
bool scores(const Request& request, std::size_t reader) {
  return asks(request.goal, reader) &&
         !(request.drafts_by_readers() && asks(request.way.proposal, reader));
}

}  // namespace

RoundPlayer::RoundPlayer(Panel& panel, const DecoderOptions& options)
    : panel_(&panel),
      crew_(static_cast<std::size_t>(std::max(options.n_threads, 1))),
      reader_proposer_(panel, crew_),
      table_proposer_(panel),
      refiner_(panel, options) {
  while (verifiers_.size() < crew_.size()) verifiers_.emplace_back(panel);
}

void RoundPlayer::play(std::span<Request* const> players) {
  if (players.empty() || play_together(players)) return;
  // A batch fails as a whole, and a NaN can spread through a cache from one request to others.
  // Asked alone, with the same random numbers, the innocent decide what they would have decided.
  for (Request* player : players) {
    panel_->forget();
    play_alone(*player);
  }
}

/// Whether all went well for everyone.
bool RoundPlayer::play_together(std::span<Request* const> players) {
  try {
    play_round(players);
  } catch (const EvaluationError&) {
    return false;
  } catch (const ContextOverflowError&) {
    return false;
  }
  return std::ranges::none_of(players, [](const Request* r) { return r->round.bad_row; });
}

void RoundPlayer::play_alone(Request& request) {
  Request* player = &request;
  guard(request, [&] { play_round({&player, 1}); });
}

/// Reward-shifted speculative sampling, one block for each player: a chain, or a tree.
void RoundPlayer::play_round(std::span<Request* const> players) {
  ready_.assign(players.begin(), players.end());
  draft();      // x_1 .. x_K ~ g
  score();      // what else the goal needs after each of them, one batch a model
  refine();     // what readers of another vocabulary say of p's most probable tokens
  verify();     // accept the longest that min(1, pi*/g) allows, or correct where it ends
  add_bonus();  // all accepted: one more from the goal
}

void RoundPlayer::draft() {
  by_readers_.clear();
  by_tables_.clear();
  for (Request* request : ready_) {
    request->forget_drafts();
    request->round = {};
    request->round.read.resize(panel_->size());
    request->block.start({}, 0, panel_->vocab_size());
    if (!request->is_drafting()) continue;
    (request->drafts_by_readers() ? by_readers_ : by_tables_).push_back(request);
  }
  reader_proposer_.draft(by_readers_);
  table_proposer_.draft(by_tables_);
  for (Request* request : ready_) {
    request->round.failure = request->block.failure;
    request->round.bad_row = request->block.bad_row;
  }
  std::erase_if(ready_, [](const Request* request) { return request->has_failed(); });
}

/// Readers of one model are asked in one batch: a second would overwrite the rows of the first.
void RoundPlayer::score() {
  for (const std::size_t model : panel_->scoring_order()) {
    questions_.clear();
    branches_.clear();
    for (Request* request : ready_) {
      for (const Part& part : request->goal) {
        if (panel_->model_of(part.reader) == model && scores(*request, part.reader)) {
          ask_block(*request, part.reader);
        }
      }
    }
    auto rows = panel_->rows(questions_);
    for (Request* request : ready_) {
      for (const Part& part : request->goal) {
        if (panel_->model_of(part.reader) != model || !scores(*request, part.reader)) continue;
        const std::size_t block = request->block.tokens.size() + 1;
        for (const float* row : rows.first(block)) {
          request->round.read[part.reader].emplace_back(
              row, static_cast<std::size_t>(panel_->vocab_size()));
        }
        rows = rows.subspan(block);
      }
    }
  }
  for (Request* request : ready_) recall_drafting(*request);
}

/// Of readers that drafted, the goal takes what they said then.
void RoundPlayer::recall_drafting(Request& request) {
  for (const Part& part : request.goal) {
    if (scores(request, part.reader)) continue;
    Rows& read = request.round.read[part.reader];
    for (std::size_t row = 0; row <= request.block.tokens.size(); ++row) {
      read.push_back(request.block.read(part.reader, row));
    }
  }
}

/// Asks for the rows of a block, each branch in a place of its own. The first one's history is the
/// request's; each other asks for no row that one before it has.
void RoundPlayer::ask_block(Request& request, std::size_t reader) {
  const DraftBlock& block = request.block;
  auto& history = request.history[reader];
  const std::size_t before = history.size();
  const std::size_t first_end = block.branch_end(0);
  const auto begin = block.tokens.begin();
  history.insert(history.end(), begin, begin + static_cast<std::ptrdiff_t>(first_end));
  const auto drafts = static_cast<int>(first_end);
  questions_.push_back({reader, request.places.front(), history, drafts + 1, drafts});
  std::size_t branch = 1;
  for (std::size_t i = first_end; i < block.tokens.size(); ++branch) {
    const std::size_t end = block.branch_end(i);
    auto& tokens = branches_.emplace_back(history.begin(),
                                          history.begin() + static_cast<std::ptrdiff_t>(before));
    block.append_path(end, tokens);
    questions_.push_back({reader, request.places[branch], tokens, static_cast<int>(end - i),
                          static_cast<int>(tokens.size() - before)});
    i = end;
  }
}

void RoundPlayer::refine() {
  refiner_.start();
  refiner_.refine_blocks(ready_);
}

void RoundPlayer::verify() {
  crew_.share(ready_.size(), [this](std::size_t worker, std::size_t i) {
    guard(*ready_[i], [&] { verifiers_[worker].verify(*ready_[i]); });
  });
}

void RoundPlayer::add_bonus() {
  verifiers_.front().read_for_bonus(ready_, refiner_);
  crew_.share(ready_.size(), [this](std::size_t worker, std::size_t i) {
    if (!ready_[i]->round.wants_bonus) return;
    guard(*ready_[i], [&] { verifiers_[worker].add_bonus(*ready_[i]); });
  });
}

}  // namespace rewardshift
