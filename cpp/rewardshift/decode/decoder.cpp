#include "rewardshift/decode/decoder.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "rewardshift/decode/exclusive.h"
#include "rewardshift/history.h"

namespace rewardshift {
Decoder::Decoder(const Roles& roles, const DecoderOptions& options, Clock clock)
    : options_(options), clock_(clock) {
  validate(options);
  if (roles.target == nullptr) throw std::invalid_argument("a Decoder needs a target");
  if (roles.reference != nullptr && roles.draft == nullptr) {
    throw std::invalid_argument("a reference needs a draft to be the reference of");
  }
  const std::array<LanguageModel*, kRoles> models = {roles.target, roles.draft, roles.reference};
  vocab_size_ = roles.target->vocab_size();
  context_size_ = roles.target->context_size();
  capacity_ = roles.target->capacity();
  int sequences = roles.target->max_sequences();
  if (roles.draft == roles.target || roles.reference == roles.target) {
    throw std::invalid_argument("the target needs a LanguageModel of its own");
  }
  shares_batches_ = roles.draft != nullptr && roles.draft == roles.reference;
  for (std::size_t i = 0; i < models.size(); ++i) {
    if (models[i] == nullptr) continue;
    const bool is_shared = shares_batches_ && models[i] == roles.draft;
    vocab_size_ = std::min(vocab_size_, models[i]->vocab_size());
    capacity_ = std::min(capacity_, models[i]->capacity() / (is_shared ? 2 : 1));
    context_size_ = std::min({context_size_, models[i]->context_size(), capacity_});
    sequences = std::min(sequences, models[i]->max_sequences() / (is_shared ? 2 : 1));
    models_[i] = std::make_unique<MeteredModel>(*models[i], clock);
  }
  if (sequences < 2) throw std::invalid_argument("a Decoder needs models with 2 sequences or more");
  last_history_.resize(static_cast<std::size_t>(sequences) - 1);  // the last one is for score()
  goal_.resize(static_cast<std::size_t>(vocab_size_));
  if (roles.draft != nullptr) {
    drafter_ = std::make_unique<ModelDrafter>(model_of(Role::draft), vocab_size_);
  }
  ngram_drafter_ = std::make_unique<NgramDrafter>(vocab_size_);
}

RequestId Decoder::submit(Prompt prompt, RequestParams params) {
  const Exclusive exclusive(busy_);
  validate(params, vocab_size_);
  const double strength = resolve_strength(params);
  require_drafts(params);
  complete(prompt);
  const std::size_t longest = require_room(prompt);

  auto request =
      std::make_unique<Request>(next_id_++, std::move(prompt), std::move(params), strength);
  const std::size_t room = context_size_ - longest;
  const int max_tokens = request->params.max_tokens;
  request->limit = max_tokens < 0 ? room : std::min(room, static_cast<std::size_t>(max_tokens));
  if (request->limit == 0) finish(*request, FinishReason::length);
  requests_.push_back(std::move(request));
  has_work_ = true;
  return requests_.back()->id;
}

/// Tokens of the longest role's prompt. Throws ContextOverflowError, which says whose it is, unless
/// a token of response fits behind it.
std::size_t Decoder::require_room(const Prompt& prompt) const {
  const std::array<std::size_t, kRoles> sizes = {prompt.target.size(), prompt.draft.size(),
                                                 prompt.reference.size()};
  const auto longest = std::ranges::max_element(sizes);  // the target's, if it is as long as any
  if (*longest >= context_size_) {
    const auto role = static_cast<Role>(longest - sizes.begin());
    std::ostringstream message;
    message << "the " << name_of(role) << "'s prompt has " << *longest << " tokens; with one token "
            << "of response it needs a context of " << *longest + 1 << ", and there are "
            << context_size_ << " (raise n_ctx)";
    throw ContextOverflowError(message.str(), *longest + 1, context_size_);
  }
  return *longest;
}

/// Whether the drafts that are asked for can be made.
void Decoder::require_drafts(const RequestParams& params) const {
  const bool drafts = params.drafter != nullptr || drafter_ != nullptr;
  if (params.num_draft_tokens.value_or(0) > 0 && !drafts) {
    throw std::invalid_argument("num_draft_tokens needs a draft model, or a table as drafter");
  }
  if (params.tree_width > 1 && !drafts) {
    throw std::invalid_argument("tree_width " + std::to_string(params.tree_width) +
                                " needs a draft model, or a table as drafter");
  }
  if (static_cast<std::size_t>(params.tree_width) > last_history_.size()) {
    std::ostringstream message;
    message << "tree_width " << params.tree_width
            << " needs as many sequences, and the models have " << last_history_.size()
            << " (raise n_seq_max)";
    throw std::invalid_argument(message.str());
  }
}

void Decoder::calibrate() {
  const Exclusive exclusive(busy_);
  if (!requests_.empty()) throw std::logic_error("calibrate() while there are requests");
  // Most interesting first: what verifying costs beside a plain step, then the batches of many.
  const CostMeasurement how{{1, 4, 2, 3, 5, 8, 6, 7, 16, 12, 32, 24, 48, 64}};
  for (const Role role : {Role::target, Role::draft, Role::reference}) {
    if (model(role) == nullptr) continue;
    if (role == Role::reference && shares_batches_) {
      model_of(role).calibrate_like(model_of(Role::draft));
    } else {
      model_of(role).calibrate(how);
    }
  }
  for (auto& history : last_history_) history.clear();
}

void Decoder::cancel(RequestId id) {
  const Exclusive exclusive(busy_);
  for (const auto& request : requests_) {
    if (request->id == id && !request->is_finished()) finish(*request, FinishReason::cancelled);
  }
}

std::vector<Event> Decoder::step() {
  const Exclusive exclusive(busy_);
  const double start = clock_();
  const auto seconds_before = role_seconds();
  admit();
  plan();
  prefill();
  play_round();
  share_time(clock_() - start, seconds_before);
  return collect_events();
}

/// Gives each role a history, and checks all of them.
void Decoder::complete(Prompt& prompt) const {
  if (prompt.target.empty()) throw std::invalid_argument("the prompt has no tokens");
  if (prompt.draft.empty()) prompt.draft = prompt.target;
  if (prompt.reference.empty()) prompt.reference = prompt.target;
  check_tokens(prompt.target, vocab_size_, "target's prompt");
  check_tokens(prompt.draft, vocab_size_, "draft's prompt");
  check_tokens(prompt.reference, vocab_size_, "reference's prompt");
}

double Decoder::resolve_strength(const RequestParams& params) const {
  const bool can_shift = model(Role::reference) != nullptr;
  if (params.rule == Rule::speculative) return 0.0;
  const double strength = params.strength.value_or(can_shift ? 1.0 : 0.0);
  if (strength != 0.0 && !can_shift) {
    std::ostringstream message;
    message << "strength " << strength << " needs a draft and a reference; without them only 0 "
            << "can be served";
    throw std::invalid_argument(message.str());
  }
  return strength;
}

/// Draft and reference of one model have sequences each.
int Decoder::sequence_of(const Request& request, Role role, std::size_t branch) const {
  const bool comes_second = shares_batches_ && role == Role::reference;
  return request.sequences[branch] +
         (comes_second ? static_cast<int>(last_history_.size()) + 1 : 0);
}

/// The most tokens a request will ever have in a context.
std::size_t Decoder::reserved(const Request& request) const {
  return *std::max_element(request.prompt_size.begin(), request.prompt_size.end()) + request.limit;
}

/// Gives waiting requests their sequences, first come first served, as long as all that are under
/// way can reach their limits in the contexts.
void Decoder::admit() {
  active_.clear();
  std::size_t total = 0;
  std::size_t free = last_history_.size();
  for (const auto& request : requests_) {
    if (request->sequences.empty() || request->is_finished()) continue;
    active_.push_back(request.get());
    total += reserved(*request);
    free -= request->sequences.size();
  }
  for (const auto& request : requests_) {
    if (!request->sequences.empty() || request->is_finished()) continue;
    total += reserved(*request);
    const auto width = static_cast<std::size_t>(request->params.tree_width);
    if (total > capacity_ || width > free) break;
    active_.push_back(request.get());
    free -= width;
    while (request->sequences.size() < width) request->sequences.push_back(place_for(*request));
  }
}

/// The free sequence whose remembered history helps most: long in common, little to lose.
int Decoder::place_for(const Request& request) const {
  const auto& prompt = request.history[static_cast<std::size_t>(Role::target)];
  int best = -1;
  long best_gain = 0;
  for (std::size_t sequence = 0; sequence < last_history_.size(); ++sequence) {
    const bool taken = std::any_of(active_.begin(), active_.end(), [sequence](const Request* r) {
      return std::ranges::count(r->sequences, static_cast<int>(sequence)) > 0;
    });
    if (taken) continue;
    const auto& last = last_history_[sequence];
    const auto common = static_cast<long>(common_prefix(last, prompt));
    // Branches beside the first share what they have in common with it.
    const long won = request.sequences.empty() ? common : 0;
    const long gain = won - (static_cast<long>(last.size()) - common);
    if (best < 0 || gain > best_gain) {
      best = static_cast<int>(sequence);
      best_gain = gain;
    }
  }
  return best;
}

/// Settles what each request drafts next.
void Decoder::plan() {
  const auto costs = [this](Role role) {
    return model(role) == nullptr ? nullptr : &model(role)->costs();
  };
  const RoundCosts round_costs{costs(Role::target), costs(Role::draft), costs(Role::reference),
                               shares_batches_, own_seconds_};
  const bool calibrated = !round_costs.target->is_empty();
  plans_.clear();
  for (const Request* request : active_) plans_.push_back(plan_for(*request, calibrated));
  if (calibrated) policy_.choose(plans_, round_costs);
  for (std::size_t i = 0; i < active_.size(); ++i) {
    Request& request = *active_[i];
    request.draft_length = plans_[i].length;
    request.draft_kind = plans_[i].kind;
  }
}

/// Tokens that are drafted where nobody else says. Never more than can be emitted, so that a
/// request never holds more than is reserved for it: the bonus or correction needs the last place.
std::size_t Decoder::most_drafts(const Request& request, bool is_free) const {
  const int wanted = is_free ? options_.max_draft_tokens
                             : request.params.num_draft_tokens.value_or(options_.num_draft_tokens);
  return std::min(static_cast<std::size_t>(wanted), request.limit - request.generated - 1);
}

/// What the policy needs to know.
RoundPlan Decoder::plan_for(const Request& request, bool calibrated) const {
  RoundPlan plan{&request.acceptances, request.is_aligned()};
  const RequestParams& params = request.params;
  if (params.drafter != nullptr) {
    const std::size_t seen = params.drafter->longest_seen(request.text_so_far());
    if (seen == 0) return plan;
    static_assert(after_last(NgramTable::kLongest) == DraftKind::after_4);
    plan.kind = after_last(seen);
  } else if (drafter_ == nullptr) {
    return plan;
  } else if (params.tree_width > 1) {
    plan.kind = DraftKind::tree;
  }
  plan.is_free = calibrated && !params.num_draft_tokens && !params.reproducible;
  plan.most = most_drafts(request, plan.is_free);
  plan.length = plan.most;
  return plan;
}

void Decoder::prefill() {
  for (const Role role : {Role::draft, Role::reference, Role::target}) {
    if (model(role) != nullptr) prefill(role);
  }
}

/// Evaluates the next chunk of prompts for one role, all but each prompt's last token.
void Decoder::prefill(Role role) {
  auto budget = static_cast<std::size_t>(options_.prefill_chunk);
  while (prefill_batch(role, budget)) {
  }
}

/// One batch of it. A prompt that starts like one already in the batch waits: it will share that
/// one's work, which takes nothing from the budget. Returns whether one waits.
bool Decoder::prefill_batch(Role role, std::size_t& budget) {
  batch_.clear();
  std::vector<std::pair<Request*, std::size_t>> progress;  // whose part of the batch, up to where
  std::size_t left = budget;
  bool is_waited_for = false;
  for (Request* request : active_) {
    if (!uses(*request, role)) continue;
    request->forget_drafts();
    const std::size_t done = request->prefilled[static_cast<std::size_t>(role)];
    const std::size_t end = std::min(request->prompt_of(role) - 1, done + left);
    if (end <= done) continue;
    const auto tokens = std::span<const Token>(request->tokens_of(role)).first(end);
    const bool twin_is_ahead = std::any_of(
        batch_.begin(), batch_.end(),
        [&](const LogitsRequest& other) { return common_prefix(other.tokens, tokens) > done; });
    is_waited_for |= twin_is_ahead;
    if (twin_is_ahead) continue;
    batch_.push_back({sequence_of(*request, role), tokens, 0});
    progress.emplace_back(request, end);
    left -= end - done;
  }
  const LanguageModel& model = model_of(role).model();
  const std::uint64_t before = model.evaluated_tokens();
  try {
    model_of(role).logits(batch_);
  } catch (const EvaluationError&) {  // a batch fails as a whole: find out whose fault it is
    for (std::size_t i = 0; i < batch_.size(); ++i) prefill_alone(role, *progress[i].first, i);
  }
  for (const auto& [request, end] : progress) {
    request->prefilled[static_cast<std::size_t>(role)] = end;
  }
  std::erase_if(active_, [](const Request* request) { return request->is_finished(); });
  budget -= std::min(budget, static_cast<std::size_t>(model.evaluated_tokens() - before));
  return is_waited_for;
}

/// One request's part of the batch; ends the request if it fails again.
void Decoder::prefill_alone(Role role, Request& request, std::size_t part) {
  try {
    model_of(role).logits({&batch_[part], 1});
  } catch (const EvaluationError& error) {
    request.event.error = error.what();
    finish(request, FinishReason::error);
  }
}

bool Decoder::uses(const Request& request, Role role) const {
  switch (role) {
    case Role::target:
      return true;
    case Role::draft:
      return request.is_aligned() || (request.draft_length > 0 && !request.drafts_from_table());
    case Role::reference:
      return request.is_aligned();
  }
  return false;
}

bool Decoder::is_prefilled(const Request& request) const {
  for (int i = 0; i < kRoles; ++i) {
    const auto role = static_cast<Role>(i);
    if (uses(request, role) &&
        request.prefilled[static_cast<std::size_t>(i)] + 1 < request.prompt_of(role)) {
      return false;
    }
  }
  return true;
}

std::array<double, kRoles> Decoder::role_seconds() const {
  std::array<double, kRoles> seconds{};
  for (std::size_t i = 0; i < models_.size(); ++i) {
    if (models_[i] != nullptr) seconds[i] = models_[i]->seconds();
  }
  return seconds;
}

/// Divides the step's time equally among the requests that were under way.
void Decoder::share_time(double step_seconds, const std::array<double, kRoles>& before) {
  const auto after = role_seconds();
  const double sharers = static_cast<double>(std::max<std::size_t>(active_.size(), 1));
  double own = step_seconds;
  for (std::size_t i = 0; i < after.size(); ++i) own -= after[i] - before[i];
  for (Request* request : active_) {
    for (std::size_t i = 0; i < after.size(); ++i) {
      request->statistics.role_seconds[i] += (after[i] - before[i]) / sharers;
    }
    request->statistics.own_seconds += own / sharers;
  }
  std::size_t rows = 0;
  for (const Request* request : players_) rows += request->block.tokens.size() + 1;
  if (rows == 0) return;
  const double per_row = own / static_cast<double>(rows);
  own_seconds_ = own_seconds_ == 0.0 ? per_row : std::lerp(own_seconds_, per_row, 0.1);
}

/// Hands out what is new and lets go of what is finished.
std::vector<Event> Decoder::collect_events() {
  std::vector<Event> events;
  for (const auto& request : requests_) {
    if (request->event.tokens.empty() && !request->is_finished()) continue;
    request->event.statistics = request->statistics;
    if (request->is_finished() && !request->sequences.empty()) {
      request->forget_drafts();
      for (const int branch : request->sequences) {
        last_history_[static_cast<std::size_t>(branch)].clear();
      }
      last_history_[static_cast<std::size_t>(request->sequences.front())] =
          std::move(request->tokens_of(Role::target));
    }
    Event fresh;
    fresh.id = request->id;
    fresh.finish = request->event.finish;
    events.push_back(std::exchange(request->event, std::move(fresh)));
  }
  std::erase_if(requests_, [](const auto& request) { return request->is_finished(); });
  has_work_ = !requests_.empty();
  return events;
}

}  // namespace rewardshift
