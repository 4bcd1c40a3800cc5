#include "rewardshift/decode/decoder.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "rewardshift/decode/exclusive.h"

namespace rewardshift {

Decoder::Decoder(std::vector<Reader> readers, std::vector<Shift> shifts,
                 std::optional<std::size_t> base, const DecoderOptions& options, Clock clock)
    : panel_(std::move(readers), std::move(shifts), base, clock),
      options_(options),
      clock_(clock),
      scheduler_(panel_, options),
      planner_(panel_, options),
      player_(panel_, options),
      scorer_(panel_, options) {
  validate(options);
}

RequestId Decoder::submit(Prompts prompts, RequestParams params) {
  const Exclusive exclusive(busy_);
  validate(params, vocab_size());
  const auto strengths = strengths_of(params);
  require_paper(params, strengths);
  require_drafts(params);
  prompts = complete(std::move(prompts));
  const std::size_t room = context_size() - require_room(prompts);

  auto request = std::make_unique<Request>(next_id_++, std::move(prompts), std::move(params));
  request->goal = panel_.goal(strengths);
  request->ways = planner_.ways_of(request->params, strengths);
  request->statistics.reader_seconds.assign(panel_.size(), 0.0);
  const int max_tokens = request->params.max_tokens;
  request->limit = max_tokens < 0 ? room : std::min(room, static_cast<std::size_t>(max_tokens));
  if (request->limit == 0) request->finish(FinishReason::length);
  const RequestId id = request->id;
  scheduler_.add(std::move(request));
  has_work_ = true;
  return id;
}

/// Each shift's strength for a request. Throws std::invalid_argument for others than there are.
std::vector<double> Decoder::strengths_of(const RequestParams& params) const {
  const auto shifts = panel_.shifts();
  std::vector<double> strengths(shifts.size(), 0.0);
  if (params.rule == Rule::speculative) return strengths;
  if (!params.strengths.empty() && params.strengths.size() != shifts.size()) {
    std::ostringstream message;
    message << params.strengths.size() << " strengths are given for " << shifts.size() << " shifts";
    throw std::invalid_argument(message.str());
  }
  for (std::size_t i = 0; i < shifts.size(); ++i) {
    strengths[i] = params.strengths.empty() ? shifts[i].strength : params.strengths[i];
  }
  return strengths;
}

/// The paper's rule is defined for one pair, whose draft proposes.
void Decoder::require_paper(const RequestParams& params, std::span<const double> strengths) const {
  if (params.rule != Rule::paper) return;
  for (const Shift& shift : panel_.shifts()) {
    if (shift.is_head()) {
      throw std::invalid_argument(
          "rule 'paper' is defined for a draft and its reference, and shift '" + shift.name +
          "' is a head: use rule 'exact'");
    }
    if (!panel_.tells_log_probabilities(shift.draft)) continue;
    throw std::invalid_argument(
        "rule 'paper' is defined for a draft of the target's vocabulary, and "
        "that of shift '" +
        shift.name + "' has another: use rule 'exact'");
  }
  if (panel_.shifts().size() <= 1) return;
  const auto active = std::ranges::count_if(strengths, [](double s) { return s != 0.0; });
  std::ostringstream message;
  message << "rule 'paper' is defined for one shift with a draft of its own, and this Decoder has "
          << panel_.shifts().size() << " (" << active << " with a strength): use rule 'exact'";
  throw std::invalid_argument(message.str());
}

/// Throws std::invalid_argument unless the drafts that are asked for can be made.
void Decoder::require_drafts(const RequestParams& params) const {
  const bool can_draft =
      params.drafter != nullptr || params.prompt_lookup.value_or(false) ||
      panel_.base().has_value() ||
      std::ranges::any_of(panel_.shifts(), [](const Shift& shift) { return !shift.is_head(); });
  if (params.num_draft_tokens.value_or(0) > 0 && !can_draft) {
    throw std::invalid_argument(
        "num_draft_tokens needs a draft model, a table as drafter, or prompt_lookup");
  }
  if (params.tree_width > 1 && !can_draft) {
    throw std::invalid_argument("tree_width " + std::to_string(params.tree_width) +
                                " needs a draft model, or a table as drafter");
  }
  if (params.tree_width > 1 && panel_.rereader()) {
    throw std::invalid_argument(
        "tree_width " + std::to_string(params.tree_width) + " is of no use here: the " +
        panel_.name(*panel_.rereader()) +
        " has a recurrent state, and would read each branch from its beginning (use 1)");
  }
  if (static_cast<std::size_t>(params.tree_width) > panel_.places()) {
    std::ostringstream message;
    message << "tree_width " << params.tree_width
            << " needs as many sequences, and the models have " << panel_.places()
            << " (raise n_seq_max)";
    throw std::invalid_argument(message.str());
  }
}

/// Gives each reader a history, and checks all of them.
Prompts Decoder::complete(Prompts prompts) const {
  if (prompts.empty() || prompts.front().empty()) {
    throw std::invalid_argument("the prompt has no tokens");
  }
  if (prompts.size() > panel_.size()) {
    throw std::invalid_argument("there are more prompts than models to read them");
  }
  prompts.resize(panel_.size());
  for (std::size_t reader = 0; reader < prompts.size(); ++reader) {
    if (prompts[reader].empty()) prompts[reader] = prompts.front();
    check_tokens(prompts[reader], panel_.history_vocab_size(reader),
                 panel_.name(reader) + "'s prompt");
  }
  return prompts;
}

/// Tokens of the longest prompt. Throws ContextOverflowError, which says whose it is, unless a
/// token of response fits behind it.
std::size_t Decoder::require_room(const Prompts& prompts) const {
  const auto longest = std::ranges::max_element(  // the target's, if it is as long as any
      prompts, {}, [](const auto& prompt) { return prompt.size(); });
  if (longest->size() >= context_size()) {
    const auto reader = static_cast<std::size_t>(longest - prompts.begin());
    std::ostringstream message;
    message << "the " << panel_.name(reader) << "'s prompt has " << longest->size()
            << " tokens; with one token of response it needs a context of " << longest->size() + 1
            << ", and there are " << context_size() << " (raise n_ctx)";
    throw ContextOverflowError(message.str(), longest->size() + 1, context_size());
  }
  return longest->size();
}

void Decoder::calibrate() {
  const Exclusive exclusive(busy_);
  if (!scheduler_.requests().empty()) {
    throw std::logic_error("calibrate() while there are requests");
  }
  // Most interesting first: what verifying costs beside a plain step, then the batches of many.
  panel_.calibrate({{1, 4, 2, 3, 5, 8, 6, 7, 16, 12, 32, 24, 48, 64}});
  scheduler_.forget();
}

void Decoder::cancel(RequestId id) {
  const Exclusive exclusive(busy_);
  for (const auto& request : scheduler_.requests()) {
    if (request->id == id && !request->is_finished()) request->finish(FinishReason::cancelled);
  }
}

std::vector<Event> Decoder::step() {
  const Exclusive exclusive(busy_);
  const double start = clock_();
  const std::vector<double> seconds_before = panel_.seconds();
  const double refining_before = panel_.refining_seconds();
  scheduler_.admit();
  for (Request* request : scheduler_.active()) take_forced(*request);
  scheduler_.drop_finished();
  planner_.plan(scheduler_.active(), row_seconds_);
  scheduler_.prefill();
  const auto players = scheduler_.players();
  player_.play(players);
  for (Request* request : players) emit(*request);
  const double own = share_time(clock_() - start, seconds_before);
  learn_row_cost(own + panel_.refining_seconds() - refining_before);
  return collect_events();
}

/// Makes what the grammar forces part of the response, no model asked; they read it when they are
/// asked for what follows.
void Decoder::take_forced(Request& request) {
  if (request.walk == nullptr) return;
  request.forget_drafts();
  try {
    while (!request.is_finished()) {
      const auto response = request.text_so_far().subspan(request.prompt_size.front());
      const auto forced = forced_token(request.walk->allowed_after(response));
      if (!forced || *forced >= vocab_size() || request.params.forbids(*forced)) return;
      commit(request, player_.reporter().forced(*forced));
      if (!request.is_finished()) request.event.text += request.text.take();
    }
  } catch (const EvaluationError& error) {
    request.event.error = error.what();
    request.finish(FinishReason::error);
  }
}

/// Makes a round's tokens part of the response.
void Decoder::emit(Request& request) {
  Round& round = request.round;
  request.forget_drafts();
  if (request.has_failed()) {
    request.event.error = round.failure;
    request.finish(FinishReason::error);
    if (round.bad_row) panel_.forget();
    return;
  }
  const std::size_t before = request.generated;
  for (std::size_t i = 0; i < round.emitted.size() && !request.is_finished(); ++i) {
    if (request.learns_table()) {
      request.params.drafter->add(request.text_so_far(), round.sightings[i]);
    }
    commit(request, std::move(round.emitted[i]));
  }
  request.statistics.count_round(source_of(request.way.kind), request.block.tokens.size(),
                                 round.accepted.size(), round.rejected, request.generated - before);
  request.statistics.empty_residuals += round.empty_residuals;
  planner_.learn(request);
  if (!request.is_finished()) request.event.text += request.text.take();
}

/// Makes one token part of the response and notices if it is the last.
void Decoder::commit(Request& request, EmittedToken&& token) {
  const bool last = panel_.ends(token.id);
  request.append(token.id);
  const bool shows = request.params.shows(token.id);
  const bool stopped = !last && request.text.append(shows ? spelling(token.id) : piece(token.id));
  request.event.tokens.push_back(std::move(token));
  if (last || stopped) {
    request.finish(FinishReason::stop);
  } else if (request.generated == request.limit) {
    request.finish(FinishReason::length);
  }
}

/// Divides the step's time equally among the requests that were under way; returns what was spent
/// on our own work.
double Decoder::share_time(double step_seconds, std::span<const double> before) {
  const auto active = scheduler_.active();
  const auto& after = panel_.seconds();
  const double sharers = static_cast<double>(std::max<std::size_t>(active.size(), 1));
  double own = step_seconds;
  for (std::size_t reader = 0; reader < after.size(); ++reader) {
    const double seconds = after[reader] - before[reader];
    own -= seconds;
    for (Request* request : active) {
      request->statistics.reader_seconds[reader] += seconds / sharers;
    }
  }
  for (Request* request : active) request->statistics.own_seconds += own / sharers;
  return own;
}

/// Notes what a step spent beside the models' batches.
void Decoder::learn_row_cost(double seconds) {
  std::size_t rows = 0;
  for (const Request* request : scheduler_.active()) {
    rows += request->round.emitted.empty() ? 0 : request->block.tokens.size() + 1;
  }
  if (rows == 0) return;
  const double per_row = seconds / static_cast<double>(rows);
  row_seconds_ = row_seconds_ == 0.0 ? per_row : std::lerp(row_seconds_, per_row, 0.1);
}

/// Hands out what is new and lets go of what is finished.
std::vector<Event> Decoder::collect_events() {
  std::vector<Event> events;
  for (const auto& request : scheduler_.requests()) {
    if (request->event.tokens.empty() && !request->is_finished()) continue;
    request->event.statistics = request->statistics;
    Event fresh;
    fresh.id = request->id;
    fresh.finish = request->event.finish;
    events.push_back(std::exchange(request->event, std::move(fresh)));
  }
  scheduler_.release();
  has_work_ = !scheduler_.requests().empty();
  return events;
}

Scores Decoder::score(Prompts prompts, std::span<const Token> continuation, RequestParams params) {
  const Exclusive exclusive(busy_);
  validate(params, vocab_size());
  if (is_greedy(params.temperature)) {  // a point mass says nothing: pi* itself, as for its tokens
    params.temperature = 1.0;
    params.top_k = 0;
    params.top_p = 1.0;
    params.min_p = 0.0;
  }
  const auto strengths = strengths_of(params);
  prompts = complete(std::move(prompts));
  check_tokens(continuation, vocab_size(), "continuation");
  for (const auto& prompt : prompts) {
    const std::size_t needed = prompt.size() + continuation.size();
    if (needed <= context_size()) continue;
    std::ostringstream message;
    message << "prompt and continuation have " << needed << " tokens; the context holds "
            << context_size() << " (raise n_ctx)";
    throw ContextOverflowError(message.str(), needed, context_size());
  }
  Request request(-1, std::move(prompts), std::move(params));
  request.goal = panel_.goal(strengths);
  return scorer_.score(request, continuation);
}

}  // namespace rewardshift
