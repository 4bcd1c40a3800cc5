#include "rewardshift/decode/scheduler.h"

#include <algorithm>
#include <utility>

#include "rewardshift/history.h"

namespace rewardshift {

void Scheduler::admit() {
  active_.clear();
  std::size_t total = 0;
  std::size_t free = last_history_.size();
  for (const auto& request : requests_) {
    if (request->places.empty() || request->is_finished()) continue;
    active_.push_back(request.get());
    total += reserved(*request);
    free -= request->places.size();
  }
  for (const auto& request : requests_) {
    if (!request->places.empty() || request->is_finished()) continue;
    total += reserved(*request);
    const auto width = static_cast<std::size_t>(request->params.tree_width);
    if (total > panel_->capacity() || width > free) break;
    active_.push_back(request.get());
    free -= width;
    while (request->places.size() < width) {
      request->places.push_back(place_for(*request));
      const auto taken = static_cast<std::size_t>(request->places.back());
      last_history_[taken].clear();
      is_stale_[taken] = is_idle_[taken] = false;
    }
  }
}

/// The most tokens a request will ever have in a context.
std::size_t Scheduler::reserved(const Request& request) const {
  return *std::ranges::max_element(request.prompt_size) + request.limit;
}

/// The free place whose remembered history helps most: long in common, little to lose.
int Scheduler::place_for(const Request& request) const {
  const auto& prompt = request.history[Panel::kTarget];
  int best = -1;
  long best_gain = 0;
  for (std::size_t place = 0; place < last_history_.size(); ++place) {
    const bool taken = std::ranges::any_of(active_, [place](const Request* r) {
      return std::ranges::count(r->places, static_cast<int>(place)) > 0;
    });
    if (taken) continue;
    const auto& last = last_history_[place];
    const auto common = static_cast<long>(common_prefix(last, prompt));
    // Branches beside the first share what they have in common with it.
    const long won = request.places.empty() ? common : 0;
    const long gain = won - (static_cast<long>(last.size()) - common);
    if (best < 0 || gain > best_gain) {
      best = static_cast<int>(place);
      best_gain = gain;
    }
  }
  return best;
}

void Scheduler::drop_finished() {
  std::erase_if(active_, [](const Request* request) { return request->is_finished(); });
}

void Scheduler::prefill() {
  clear_away();
  for (std::size_t reader = panel_->size(); reader-- > 0;) prefill(reader);  // the target last
}

/// Puts aside what a finished request left, and frees what is older: every row attends over all
/// that a cache holds, whosever it is. One a step, for it takes a few percent of reading it anew;
/// the latest is spared once, so that those who begin now have what they begin alike with.
void Scheduler::clear_away() {
  if (active_.empty()) return;
  std::vector<int> stale;
  std::vector<int> idle;
  for (std::size_t place = 0; place < is_idle_.size(); ++place) {
    if (is_stale_[place]) stale.push_back(static_cast<int>(place));
    if (is_idle_[place] && place != latest_ && idle.empty()) {
      idle.push_back(static_cast<int>(place));
      is_idle_[place] = false;
    }
    is_stale_[place] = false;
  }
  latest_.reset();
  if (!stale.empty()) panel_->free(stale);
  if (!idle.empty()) panel_->put_aside(idle);
}

void Scheduler::prefill(std::size_t reader) {
  std::size_t budget = prefill_chunk_;
  while (budget > 0 && prefill_batch(reader, budget)) {
  }
}

/// Tokens of a prompt that a reader has before any round.
std::span<const Token> Scheduler::prefix(const Request& request, std::size_t reader) {
  return std::span(request.history[reader]).first(request.prompt_size[reader] - 1);
}

/// One batch of it. What prompts begin alike with is read once: in one batch where the model can
/// do so, else the others wait for the first. What a model remembers takes nothing from the budget.
/// Returns whether more may fit into the budget.
bool Scheduler::prefill_batch(std::size_t reader, std::size_t& budget) {
  const LanguageModel& model = panel_->model(panel_->model_of(reader));
  questions_.clear();
  std::vector<std::pair<Request*, std::size_t>> progress;  // whose part of the batch, up to where
  std::vector<std::span<const Token>> ahead;  // what is read in this batch or the round
  std::size_t left = budget;
  bool is_all = true;
  for (Request* request : active_) {
    if (!request->uses(reader)) continue;
    request->forget_drafts();
    const auto tokens = prefix(*request, reader);
    const std::size_t done = request->prefilled[reader];
    if (done >= tokens.size()) continue;
    std::size_t known = done;
    for (const auto& other : ahead) known = std::max(known, common_prefix(other, tokens));
    const bool waits = known > done && !model.joins_histories();
    if (waits || left == 0) {
      is_all = false;
      continue;
    }
    const std::size_t fresh = tokens.size() + 1 - known;
    if (fresh <= left && !prefills_whole_ &&
        (model.joins_histories() || !has_unread_twin(*request, reader))) {
      request->prefilled[reader] = tokens.size();
      ahead.push_back(tokens);
      left -= fresh;
      budget -= fresh;
      continue;
    }
    const std::size_t end = std::min(tokens.size(), known + left);
    is_all = is_all && end == tokens.size();
    ahead.push_back(tokens.first(end));
    questions_.push_back({reader, request->places.front(), ahead.back(), 0});
    progress.emplace_back(request, end);
    left -= end - known;
  }
  if (questions_.empty()) return false;
  const std::uint64_t before = model.evaluated_tokens();
  if (read(questions_)) {  // a batch fails as a whole: find out whose fault it is
    for (std::size_t i = 0; i < questions_.size(); ++i) {
      prefill_alone(*progress[i].first, questions_[i]);
    }
  }
  for (const auto& [request, end] : progress) request->prefilled[reader] = end;
  note_shared(reader, ahead);
  drop_finished();
  budget -= std::min(budget, static_cast<std::size_t>(model.evaluated_tokens() - before));
  return !is_all;
}

/// What prompts begin with like one that was read now, the model knows of them, too.
void Scheduler::note_shared(std::size_t reader, std::span<const std::span<const Token>> read) {
  for (Request* request : active_) {
    if (!request->uses(reader)) continue;
    const auto tokens = prefix(*request, reader);
    std::size_t& done = request->prefilled[reader];
    for (const auto& other : read) done = std::max(done, common_prefix(other, tokens));
  }
}

/// Whether another prompt that is not read yet goes on like this one.
bool Scheduler::has_unread_twin(const Request& request, std::size_t reader) const {
  const auto tokens = prefix(request, reader);
  return std::ranges::any_of(active_, [&](const Request* other) {
    if (other == &request || !other->uses(reader)) return false;
    const auto theirs = prefix(*other, reader);
    return other->prefilled[reader] < theirs.size() &&
           common_prefix(theirs, tokens) > request.prefilled[reader];
  });
}

/// One request's part of the batch; ends the request if it fails again.
void Scheduler::prefill_alone(Request& request, const Question& question) {
  const auto failure = read({&question, 1});
  if (!failure) return;
  request.event.error = *failure;
  request.finish(FinishReason::error);
}

/// Has prompts read; says why one of them cannot be.
std::optional<std::string> Scheduler::read(std::span<const Question> questions) {
  try {
    panel_->rows(questions);
    return std::nullopt;
  } catch (const EvaluationError& error) {
    return error.what();
  } catch (const ContextOverflowError& error) {
    return error.what();
  }
}

bool Scheduler::is_prefilled(const Request& request) const {
  for (std::size_t reader = 0; reader < panel_->size(); ++reader) {
    if (request.uses(reader) && request.prefilled[reader] + 1 < request.prompt_size[reader]) {
      return false;
    }
  }
  return true;
}

std::span<Request* const> Scheduler::players() {
  players_.clear();
  for (Request* request : active_) {
    if (!request->is_finished() && is_prefilled(*request)) players_.push_back(request);
  }
  return players_;
}

void Scheduler::release() {
  for (const auto& request : requests_) {
    if (!request->is_finished() || request->places.empty()) continue;
    for (std::size_t place = 0; place < last_history_.size(); ++place) {
      if (last_history_[place].empty() || wave_of_[place] == wave_) continue;
      last_history_[place].clear();
      is_stale_[place] = true;
    }
    for (const int place : request->places) is_stale_[static_cast<std::size_t>(place)] = true;
    const auto first = static_cast<std::size_t>(request->places.front());
    request->forget_drafts();
    last_history_[first] = std::move(request->history[Panel::kTarget]);
    wave_of_[first] = wave_;
    is_stale_[first] = false;
    is_idle_[first] = true;
    latest_ = first;
  }
  std::erase_if(requests_, [](const auto& request) { return request->is_finished(); });
  if (requests_.empty()) ++wave_;
}

void Scheduler::forget() {
  is_idle_.assign(is_idle_.size(), false);
  for (auto& history : last_history_) history.clear();
}

}  // namespace rewardshift
