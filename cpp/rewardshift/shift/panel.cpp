#include "rewardshift/shift/panel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace rewardshift {

Panel::Panel(std::vector<Reader> readers, std::vector<Shift> shifts,
             std::optional<std::size_t> base, Clock clock)
    : readers_(std::move(readers)),
      shifts_(std::move(shifts)),
      base_(base),
      seconds_(readers_.size(), 0.0) {
  if (readers_.empty() ||
      std::ranges::any_of(readers_, [](const Reader& reader) { return reader.model == nullptr; })) {
    throw std::invalid_argument("a Decoder needs a target, and a model for each other reader");
  }
  const auto is_reader = [this](std::size_t reader) {
    return reader != kTarget && reader < readers_.size();
  };
  for (const Shift& shift : shifts_) {
    const bool goes =
        shift.is_head() || (is_reader(*shift.reference) && shift.draft != shift.reference);
    if (is_reader(shift.draft) && goes) continue;
    throw std::invalid_argument("shift '" + shift.name + "' needs a draft and a reference");
  }
  if (base_ && !is_reader(*base_)) throw std::invalid_argument("the base is not a reader");
  assign_models(clock);
  measure_room();
}

void Panel::assign_models(Clock clock) {
  for (std::size_t i = 0; i < readers_.size(); ++i) {
    const auto known = std::ranges::find_if(
        models_, [&](const MeteredModel& m) { return &m.model() == readers_[i].model; });
    if (i > kTarget && known == models_.begin()) {
      throw std::invalid_argument("the target needs a LanguageModel of its own");
    }
    const auto number = static_cast<std::size_t>(known - models_.begin());
    range_of_.push_back(static_cast<std::size_t>(std::ranges::count(model_of_, number)));
    model_of_.push_back(number);
    if (known == models_.end()) models_.emplace_back(*readers_[i].model, clock);
  }
  for (const bool heads : {false, true}) {
    for (std::size_t model = models_.size(); model-- > 0;) {
      const auto reader = std::ranges::find(model_of_, model) - model_of_.begin();
      if (shifts_by_head(static_cast<std::size_t>(reader)) == heads)
        scoring_order_.push_back(model);
    }
  }
}

bool Panel::shifts_by_head(std::size_t reader) const {
  return std::ranges::any_of(
      shifts_, [reader](const Shift& shift) { return shift.is_head() && shift.draft == reader; });
}

void Panel::measure_room() {
  vocab_size_ = std::numeric_limits<int>::max();
  context_size_ = capacity_ = places_ = std::numeric_limits<std::size_t>::max();
  for (std::size_t number = 0; number < models_.size(); ++number) {
    const LanguageModel& model = models_[number].model();
    const auto sharers = static_cast<std::size_t>(std::ranges::count(model_of_, number));
    vocab_size_ = std::min(vocab_size_, model.vocab_size());
    capacity_ = std::min(capacity_, model.capacity() / sharers);
    context_size_ = std::min({context_size_, model.context_size(), capacity_});
    places_ = std::min(places_, static_cast<std::size_t>(model.max_sequences()) / sharers);
  }
  if (places_ < 2) throw std::invalid_argument("a Decoder needs models with 2 sequences or more");
  --places_;  // the last one is for scoring
}

Combination Panel::goal(std::span<const double> strengths) const {
  std::vector<double> weights(readers_.size(), 0.0);
  std::vector<bool> asked(readers_.size(), false);
  weights[kTarget] = 1.0;
  asked[kTarget] = true;
  add_shifts(weights, strengths);
  for (std::size_t i = 0; i < shifts_.size(); ++i) {
    if (strengths[i] == 0.0) continue;
    asked[shifts_[i].draft] = true;
    if (!shifts_[i].is_head()) asked[*shifts_[i].reference] = true;
  }
  Combination goal;
  for (std::size_t reader = 0; reader < readers_.size(); ++reader) {
    if (asked[reader]) goal.push_back({reader, weights[reader]});
  }
  return goal;
}

Combination Panel::shifted(std::size_t base, std::span<const double> strengths) const {
  std::vector<double> weights(readers_.size(), 0.0);
  weights[base] = 1.0;
  add_shifts(weights, strengths);
  Combination proposal;
  for (std::size_t reader = 0; reader < readers_.size(); ++reader) {
    if (shifts_by_head(reader)) continue;
    if (weights[reader] != 0.0) proposal.push_back({reader, weights[reader]});
  }
  return proposal;
}

void Panel::add_shifts(std::vector<double>& weights, std::span<const double> strengths) const {
  for (std::size_t i = 0; i < shifts_.size(); ++i) {
    weights[shifts_[i].draft] += strengths[i];
    if (!shifts_[i].is_head()) weights[*shifts_[i].reference] -= strengths[i];
  }
}

std::span<const float* const> Panel::rows(std::span<const Question> questions) {
  if (questions.empty()) return {};
  MeteredModel& model = models_[model_of_[questions.front().reader]];
  batch_.clear();
  double all_rows = 0.0;
  for (const Question& question : questions) {
    batch_.push_back({sequence_of(question.reader, question.place), question.tokens,
                      question.n_rows, question.n_drafts});
    all_rows += std::max(question.n_rows, 1);
  }
  const auto rows = model.logits(batch_);
  for (const Question& question : questions) {
    seconds_[question.reader] += model.last_seconds() * std::max(question.n_rows, 1) / all_rows;
  }
  return rows;
}

std::span<const std::vector<Correction>> Panel::refine(std::span<const Doubt> doubts) {
  if (doubts.empty()) return {};
  MeteredModel& model = models_[model_of_[doubts.front().reader]];
  refinements_.clear();
  for (const Doubt& doubt : doubts) {
    refinements_.push_back({sequence_of(doubt.reader, doubt.place), doubt.tokens, doubt.likely});
  }
  const auto corrections = model.refine(refinements_);
  refining_seconds_ += model.last_seconds();
  const double share = model.last_seconds() / static_cast<double>(doubts.size());
  for (const Doubt& doubt : doubts) seconds_[doubt.reader] += share;
  return corrections;
}

int Panel::sequence_of(std::size_t reader, int place) const {
  return place + static_cast<int>(range_of_[reader] * (places_ + 1));
}

void Panel::free(std::span<const int> places) {
  for (std::size_t reader = 0; reader < readers_.size(); ++reader) {
    batch_.clear();
    for (const int place : places) batch_.push_back({sequence_of(reader, place), {}, 0});
    models_[model_of_[reader]].model().logits(batch_);
  }
}

void Panel::put_aside(std::span<const int> places) {
  std::vector<int> sequences;
  for (std::size_t reader = 0; reader < readers_.size(); ++reader) {
    sequences.clear();
    for (const int place : places) sequences.push_back(sequence_of(reader, place));
    models_[model_of_[reader]].model().put_aside(sequences);
  }
}

double Panel::require_normaliser(std::span<const float> row, std::size_t reader,
                                 std::size_t position) const {
  const double log_normaliser = log_normalisers(row, 1.0).at_one;
  if (std::isfinite(log_normaliser)) return tells_log_probabilities(reader) ? 0.0 : log_normaliser;
  throw BadRowError("the " + name(reader) + "'s logits at position " + std::to_string(position) +
                    " are not a distribution (NaN, +inf, or all -inf)");
}

bool Panel::has_rough_readers() const {
  return std::ranges::any_of(readers_,
                             [](const Reader& reader) { return reader.model->is_rough(); });
}

int Panel::history_vocab_size(std::size_t reader) const {
  const LanguageModel& model = *readers_[reader].model;
  const int beyond = model.history_vocab_size();
  return beyond > model.vocab_size() ? beyond : vocab_size_;
}

bool Panel::ends(Token token) const {
  return std::ranges::any_of(
      models_, [token](const MeteredModel& m) { return m.model().is_end_of_generation(token); });
}

std::optional<std::size_t> Panel::rereader() const {
  for (std::size_t reader = 0; reader < readers_.size(); ++reader) {
    if (readers_[reader].model->takes_back() != LanguageModel::kAnyNumber) return reader;
  }
  return std::nullopt;
}

void Panel::calibrate(const CostMeasurement& how) {
  for (std::size_t reader = 0; reader < readers_.size(); ++reader) {
    if (range_of_[reader] == 0 && !shifts_by_head(reader))
      models_[model_of_[reader]].calibrate(how);
  }
}

void Panel::forget() {
  for (MeteredModel& model : models_) model.model().forget();
}

}  // namespace rewardshift
