#include "rewardshift/vocabulary/mapped_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/history.h"
#include "rewardshift/math/distribution.h"
#include "rewardshift/require.h"

namespace rewardshift {
namespace {

constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();

}  // namespace

MappedModel::MappedModel(LanguageModel& model, std::shared_ptr<const VocabularyMap> map, int spare)
    : model_(&model), map_(std::move(map)), spare_(spare) {
  const int size = map_->foreign().size();
  require(model.vocab_size() == size, "the model's vocabulary",
          "the map's, of " + std::to_string(size) + " tokens", model.vocab_size());
  require(spare >= 0 && spare < model.max_sequences(), "spare",
          "at least 0, and less than the model's sequences", spare);
  readings_.assign(static_cast<std::size_t>(max_sequences()), Reading(map_));
  scratch_.resize(static_cast<std::size_t>(size) + 1);
  for (Token token = 0; token < vocab_size(); ++token) {
    const auto pieces = map_->pieces(token);
    index_.push_back(pieces.empty() ? size : pieces.front());
  }
}

std::size_t MappedModel::shrunk(std::size_t tokens) const {
  return static_cast<std::size_t>(static_cast<double>(tokens) / map_->expansion());
}

bool MappedModel::is_end_of_generation(Token token) const {
  if (token >= vocab_size()) return false;
  const TokenRole role = map_->target().role_of(token);
  using enum TokenRole;
  return role == end_of_text || role == end_of_turn || role == other_end;
}

std::string MappedModel::piece(Token token) const {
  const Token own = token - vocab_size();
  return std::string(own < 0 ? map_->target().bytes_of(token) : map_->foreign().bytes_of(own));
}

void MappedModel::Plan::want(std::vector<Token> reading, std::size_t id) {
  const bool goes_on = !chains.empty() &&
                       common_prefix(chains.back().tokens, reading) == chains.back().tokens.size();
  if (!goes_on) chains.emplace_back();
  Chain& chain = chains.back();
  chain.wishes.push_back({reading.size(), id});
  chain.tokens = std::move(reading);
}

/// What was asked about pieces holds on to the cells of the histories before them.
void MappedModel::free_spare_sequences(std::vector<Plan>& plans) const {
  for (int i = 0; i < spare_; ++i) plans.push_back({max_sequences() + i, {{{}, {}}}});
}

void MappedModel::put_aside(std::span<const int> sequences) {
  model_->put_aside(sequences);
  std::vector<Plan> spare;
  free_spare_sequences(spare);
  ask(spare, [](std::size_t, const float*) {});
}

/// Deals out chains, so that as many as can be share a call.
std::vector<MappedModel::Plan> MappedModel::over_spare_sequences(std::vector<Plan> plans) const {
  if (spare_ == 0) return plans;
  std::vector<Plan> dealt;
  for (int i = 0; i < spare_; ++i) dealt.push_back({max_sequences() + i, {}});
  std::size_t next = 0;
  for (Plan& plan : plans) {
    for (Chain& chain : plan.chains) {
      dealt[next++ % dealt.size()].chains.push_back(std::move(chain));
    }
  }
  return dealt;
}

/// Calls use(id, row) for all that is wanted: the first chains of all plans in one call of the
/// model, then the second ones, and so on.
template <class Use>
void MappedModel::ask(std::span<const Plan> plans, Use use) {
  for (const Plan& plan : plans) {
    for (const Chain& chain : plan.chains) {
      if (chain.tokens.size() <= model_->context_size()) continue;
      throw ContextOverflowError(
          "the text takes " + std::to_string(chain.tokens.size()) +
              " tokens of a model of another vocabulary, whose context has " +
              std::to_string(model_->context_size()) +
              ": load it with a larger n_ctx, or give less text",
          chain.tokens.size(), model_->context_size());
    }
  }
  std::vector<LogitsRequest> requests;
  std::vector<const Chain*> asked;
  for (std::size_t turn = 0;; ++turn) {
    requests.clear();
    asked.clear();
    for (const Plan& plan : plans) {
      if (turn >= plan.chains.size()) continue;
      const Chain& chain = plan.chains[turn];
      const auto n_rows =
          chain.wishes.empty() ? 0 : chain.tokens.size() - chain.wishes.front().length + 1;
      const auto n_drafts =
          plan.kept ? chain.tokens.size() - common_prefix(chain.tokens, *plan.kept) : 0;
      requests.push_back(
          {plan.sequence, chain.tokens, static_cast<int>(n_rows), static_cast<int>(n_drafts)});
      asked.push_back(&chain);
    }
    if (requests.empty()) return;
    const float* const* row = model_->logits(requests).data();
    for (std::size_t i = 0; i < requests.size(); ++i) {
      for (const Wish& wish : asked[i]->wishes) {
        use(wish.id, row[wish.length - asked[i]->wishes.front().length]);
      }
      row += requests[i].n_rows;
    }
  }
}

double MappedModel::log_normaliser(const float* row) const {
  return log_normalisers({row, scratch_.size() - 1}, 1.0).at_one;
}

void MappedModel::gather(const float* row, float* out) {
  const double log_z = log_normaliser(row);
  if (!std::isfinite(log_z)) {  // also where the fault is in no token that has a counterpart
    std::fill_n(out, index_.size(), kUnknown);
    return;
  }
  const auto z = static_cast<float>(log_z);
  for (std::size_t i = 0; i + 1 < scratch_.size(); ++i) scratch_[i] = row[i] - z;
  for (std::size_t i = 0; i < index_.size(); ++i) {
    out[i] = scratch_[static_cast<std::size_t>(index_[i])];
  }
}

std::span<const float* const> MappedModel::logits(std::span<const LogitsRequest> requests) {
  check_requests(requests, *this, end_of_tokens());
  std::size_t rows = 0;
  for (const LogitsRequest& request : requests) rows += static_cast<std::size_t>(request.n_rows);
  const std::size_t width = index_.size();
  rows_.clear();
  values_.resize(std::max(values_.size(), rows * width));
  std::vector<Plan> plans;
  for (const LogitsRequest& request : requests) {
    Reading& reading = reading_of(request.sequence);
    reading.read(request.tokens);
    Plan plan{request.sequence, {}};
    const std::size_t size = request.tokens.size();
    if (request.n_drafts > 0) {
      plan.kept = reading.after(size - static_cast<std::size_t>(request.n_drafts));
    }
    for (std::size_t n = size - static_cast<std::size_t>(request.n_rows); n++ < size;) {
      const std::size_t id = rows_.size();
      rows_.push_back(values_.data() + id * width);
      std::vector<Token> tokens = reading.after(n);
      if (tokens.empty()) {
        std::fill_n(values_.data() + id * width, width, 0.0F);
      } else {
        plan.want(std::move(tokens), id);
      }
    }
    if (request.n_rows == 0) {
      const auto settled = reading.settled_after(size);
      if (settled.empty() != request.tokens.empty()) continue;
      plan.chains.push_back({{settled.begin(), settled.end()}, {}});
    }
    plans.push_back(std::move(plan));
  }
  if (std::ranges::any_of(requests, [](const auto& r) { return r.tokens.empty(); })) {
    free_spare_sequences(plans);
  }
  ask(plans, [&](std::size_t id, const float* row) { gather(row, values_.data() + id * width); });
  return rows_;
}

/// The first piece's value is in the row. Each other's has a place of its own, so that sums do not
/// depend on the order in which the model is asked.
std::span<const std::vector<Correction>> MappedModel::refine(std::span<const Refinement> requests) {
  struct Term {
    Token piece;
    std::size_t value;  ///< in values
  };
  std::map<int, std::map<std::vector<Token>, std::vector<Term>>> wanted;  // by sequence and reading
  std::vector<double> values;
  corrections_.assign(requests.size(), {});
  for (std::size_t i = 0; i < requests.size(); ++i) {
    check_history(requests[i].sequence, requests[i].tokens, *this, end_of_tokens());
    Reading& reading = reading_of(requests[i].sequence);
    reading.read(requests[i].tokens);
    const std::vector<Token> before = reading.after(requests[i].tokens.size());
    if (before.empty()) continue;
    for (const Token token : requests[i].likely) {
      require(token >= 0 && token < vocab_size(), "a likely token", "in the vocabulary", token);
      const auto pieces = map_->pieces(token);
      if (pieces.size() < 2) continue;
      std::vector<Token> tokens = before;
      for (std::size_t next = 1; next < pieces.size(); ++next) {
        tokens.push_back(pieces[next - 1]);
        wanted[requests[i].sequence][tokens].push_back({pieces[next], values.size()});
        values.push_back(0.0);
      }
      corrections_[i].push_back({token, 0.0F});
    }
  }
  std::vector<Plan> plans;
  std::vector<std::span<const Term>> terms;
  for (const auto& [sequence, readings] : wanted) {
    plans.push_back({sequence, {}});
    for (const auto& [tokens, its_terms] : readings) {  // what extends another comes after it
      plans.back().want(tokens, terms.size());
      terms.emplace_back(its_terms);
    }
  }
  plans = over_spare_sequences(std::move(plans));
  ask(plans, [&](std::size_t id, const float* row) {
    const double log_z = log_normaliser(row);
    for (const Term& term : terms[id]) {
      values[term.value] = std::isfinite(log_z) ? row[term.piece] - log_z : kUnknown;
    }
  });
  auto value = values.cbegin();
  for (auto& corrections : corrections_) {
    for (Correction& correction : corrections) {
      const auto end =
          value + static_cast<std::ptrdiff_t>(map_->pieces(correction.token).size()) - 1;
      correction.more = static_cast<float>(std::accumulate(value, end, 0.0));
      value = end;
    }
  }
  return corrections_;
}

}  // namespace rewardshift
