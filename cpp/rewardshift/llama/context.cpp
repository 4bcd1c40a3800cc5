#include "rewardshift/llama/context.h"

#include <llama.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/history.h"
#include "rewardshift/llama/cell_cache.h"
#include "rewardshift/llama/context_needs.h"
#include "rewardshift/llama/snapshot_cache.h"
#include "rewardshift/llama/state_cache.h"
#include "rewardshift/require.h"

namespace rewardshift::llama {
namespace {

constexpr int kDefaultContext = 4096;
constexpr std::size_t kCellsOfAStream = 256;    // llama.cpp rounds each one's cells up to these
constexpr std::size_t kClassifiedAtOnce = 128;  // tokens: each of them costs a row of logits, too
constexpr std::size_t kMostRows = 64;  // bounds the logits' share of llama.cpp's compute buffer

/// An architecture whose graph in llama.cpp takes one sequence's tokens and states for another's
/// where a batch has several.
constexpr const char* kMixesSequences = "plamo2";

/// Architectures whose graph in llama.cpp has no logits where it has features.
constexpr std::array<std::string_view, 2> kTellsOneOrTheOther = {"lfm2", "lfm2moe"};

std::size_t rounded_up(std::size_t value, std::size_t multiple) {
  return std::max<std::size_t>((value + multiple - 1) / multiple, 1) * multiple;
}

/// The tokens of a request before the first that a row is wanted of.
std::span<const Token> rowless(const LogitsRequest& request) {
  return request.tokens.first(request.tokens.size() - static_cast<std::size_t>(request.n_rows));
}

}  // namespace

/// llama_batch with its memory.
struct Context::Batch {
  Batch(std::size_t capacity, std::size_t sequences)
      : raw(llama_batch_init(static_cast<std::int32_t>(capacity), 0,
                             static_cast<std::int32_t>(sequences))) {}
  ~Batch() { llama_batch_free(raw); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void add(Token token, std::size_t position, bool wants_row) {
    const std::int32_t i = raw.n_tokens++;
    raw.token[i] = token;
    raw.pos[i] = static_cast<llama_pos>(position);
    raw.n_seq_id[i] = 0;
    raw.logits[i] = wants_row ? 1 : 0;
  }

  /// Gives the last token to one more sequence.
  void share(int sequence) {
    const std::int32_t i = raw.n_tokens - 1;
    raw.seq_id[i][raw.n_seq_id[i]++] = sequence;
  }

  llama_batch raw;
};

void validate(const ContextOptions& o) {
  const auto at_least = [](int value, int least, const char* option) {
    require(value >= least, option, "at least " + std::to_string(least), std::to_string(value));
  };
  at_least(o.n_ctx, 0, "n_ctx");
  at_least(o.n_batch, 1, "n_batch");
  at_least(o.n_ubatch, 1, "n_ubatch");
  at_least(o.n_seq_max, 1, "n_seq_max");
  at_least(o.n_threads, 0, "n_threads");
  at_least(o.n_threads_batch, 0, "n_threads_batch");
  at_least(o.n_histories, 1, "n_histories");
  at_least(o.cache_ram, 0, "cache_ram");
  require(o.poll >= 0 && o.poll <= 100, "poll", "from 0 to 100", std::to_string(o.poll));
  const int most = static_cast<int>(llama_max_parallel_sequences()) / o.n_histories - 1;
  require(o.n_seq_max <= most, "n_seq_max", "at most " + std::to_string(most),
          std::to_string(o.n_seq_max));
  require(o.n_threads <= GGML_MAX_N_THREADS, "n_threads",
          "at most " + std::to_string(GGML_MAX_N_THREADS), std::to_string(o.n_threads));
  require(o.n_threads_batch <= GGML_MAX_N_THREADS, "n_threads_batch",
          "at most " + std::to_string(GGML_MAX_N_THREADS), std::to_string(o.n_threads_batch));
  for (const auto& [option, name] :
       {std::pair{"type_k", o.type_k}, std::pair{"type_v", o.type_v}}) {
    require(cache_type(name).has_value(), option,
            "one of f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 and iq4_nl", "'" + name + "'");
  }
}

Context::Context(std::shared_ptr<const Model> model, const ContextOptions& options,
                 std::shared_ptr<Threadpool> pool, const std::atomic<bool>* interrupt)
    : model_(std::move(model)),
      evaluator_(model_, std::move(pool), {options.n_threads, options.n_threads_batch}, interrupt) {
  validate(options);
  model_->require_decodable();
  classifies_ = options.classifies;
  if (classifies_) model_->require_classifying();
  require(!classifies_ || !options.features, "features", "false where a context classifies",
          "true");
  const ModelFacts facts = model_->facts();
  window_ = static_cast<std::size_t>(facts.sliding_window);
  shelf_ = static_cast<std::size_t>(options.cache_ram) << 20;
  const auto histories = static_cast<std::size_t>(options.n_histories);
  cells_ = histories *
           static_cast<std::size_t>(options.n_ctx > 0
                                        ? options.n_ctx
                                        : std::min(facts.context_size_trained, kDefaultContext));
  // One more for scoring.
  sequences_ = histories * (static_cast<std::size_t>(options.n_seq_max) + 1);
  is_one_at_a_time_ = facts.architecture == kMixesSequences;
  if (options.features && std::ranges::count(kTellsOneOrTheOther, facts.architecture) > 0) {
    throw ModelLoadError(model_->path() + ": of " + facts.architecture +
                         " llama.cpp tells logits or features, not both: no head can read it");
  }
  const bool has_state = facts.memory != MemoryKind::attention;
  const std::size_t checkpoints = has_state ? StateCache::checkpoints_for(sequences_) : 0;
  is_unified_ = options.kv_unified || has_state;
  cells_each_ = is_unified_ ? cells_ : rounded_up(cells_ / sequences_, kCellsOfAStream);
  if (!is_unified_) cells_ = cells_each_ * sequences_;
  batch_tokens_ = std::min(static_cast<std::size_t>(options.n_batch), cells_);
  if (classifies_) batch_tokens_ = std::min(batch_tokens_, kClassifiedAtOnce);
  batch_rows_ = std::min(std::max(kMostRows, sequences_), batch_tokens_);

  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(cells_);
  params.n_batch = static_cast<std::uint32_t>(batch_tokens_);
  params.n_ubatch = std::min(static_cast<std::uint32_t>(options.n_ubatch), params.n_batch);
  params.n_seq_max = static_cast<std::uint32_t>(sequences_ + checkpoints);
  params.n_outputs_max = std::max(static_cast<std::uint32_t>(batch_rows_), params.n_seq_max);
  if (classifies_) {
    params.embeddings = true;
    params.pooling_type = LLAMA_POOLING_TYPE_RANK;
    params.n_outputs_max = params.n_batch;  // whatever is asked for
  }
  if (options.features) params.pooling_type = LLAMA_POOLING_TYPE_NONE;
  params.type_k = *cache_type(options.type_k);
  params.type_v = *cache_type(options.type_v);
  choose_attention(options.flash_attn, model_->is_on_cpu(), params);
  params.kv_unified = is_unified_;  // then sequences share cells: a common prompt is stored once
  params.n_ctx = cells_apart(params, facts);
  params.swa_full = true;  // a pruned sliding window could not be rolled back
  if (has_state && !classifies_) {
    params.n_rs_seq = static_cast<std::uint32_t>(
        SnapshotCache::snapshots_for(facts.state_bytes, params.n_seq_max, params.n_ubatch));
  }
  require_fitting_cache(params, facts);
  const std::size_t bytes = needed_bytes(facts, params);
  const std::string needs = "n_ctx " + std::to_string(cells_) + " needs " + std::to_string(bytes) +
                            " bytes of cache and buffers for " + model_->path();
  evaluator_.open(params, needs, bytes);
  batch_ = std::make_unique<Batch>(batch_tokens_, is_unified_ ? sequences_ : 1);
  cache_ = make_cache();
  feature_size_ =
      options.features
          ? static_cast<std::size_t>(llama_model_n_embd_out(llama_get_model(evaluator_.get())))
          : 0;
}

std::unique_ptr<HistoryCache> Context::make_cache() {
  if (model_->memory() == MemoryKind::attention) {
    const CellCache::Layout layout{sequences_, cells_, is_unified_, window_, shelf_};
    return std::make_unique<CellCache>(evaluator_.get(), layout);
  }
  // A state alone takes no cells, however long its history is.
  if (model_->memory() == MemoryKind::recurrent) cells_ = cells_each_ * sequences_;
  const std::size_t snapshots = llama_n_rs_seq(evaluator_.get());  // 0 where llama.cpp has none
  if (snapshots == 0) return std::make_unique<StateCache>(evaluator_.get(), sequences_, cells_);
  return std::make_unique<SnapshotCache>(evaluator_.get(), sequences_, cells_, snapshots);
}

Context::~Context() = default;

void Context::apply(std::shared_ptr<const Adapter> adapter, float scale) {
  evaluator_.require_home();
  require(std::isfinite(scale), "draft_lora_scale", "finite", std::to_string(scale));
  llama_adapter_lora* raw = adapter->adapter_.get();
  if (llama_set_adapters_lora(evaluator_.get(), &raw, 1, &scale) != 0) {
    throw ModelLoadError("the adapter " + adapter->path() + " cannot be applied");
  }
  adapter_ = std::move(adapter);
  forget();
}

void Context::put_aside(std::span<const int> sequences) {
  evaluator_.require_home();
  for (const int sequence : sequences) cache_->put_aside(sequence);
}

std::size_t Context::keep(std::span<const Token> tokens) {
  evaluator_.require_home();
  return cache_->keep(tokens);
}

/// A NaN that one history left in a state may be in the rows of the next that gets its place: rows
/// with one are believed when nothing was there before.
std::span<const float* const> Context::logits(std::span<const LogitsRequest> requests) {
  evaluator_.require_home();
  check_requests(requests, *this);
  const bool is_used = cache_->may_pass_on_nan();
  told_.forget(requests);
  answer(requests);
  if (is_used && has_nan()) {
    forget();
    answer(requests);
  }
  if (feature_size_ > 0) told_.tell(requests, features_, feature_size_);
  return rows_;
}

bool Context::has_nan() const {
  return std::ranges::any_of(rows_, [](const float* row) { return std::isnan(*row); });
}

void Context::answer(std::span<const LogitsRequest> requests) {
  cache_->begin(requests);
  list_pending(requests);
  cache_->make_room(pending_.size());
  copied_.clear();
  std::vector<std::size_t> pauses;
  for (const LogitsRequest& request : requests) pauses.push_back(cache_->pause(request));
  const auto rest = std::ranges::stable_partition(
      pending_, [&](const Pending& p) { return p.position < pauses[p.request]; });
  const auto before = static_cast<std::size_t>(rest.begin() - pending_.begin());
  evaluate_all(requests, std::span(pending_).first(before));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (pauses[i] > 0) cache_->mark(requests[i].sequence);
  }
  evaluate_all(requests, std::span(pending_).subspan(before));
}

/// None of the rows is wanted but of the last such call's. A batch that tells features makes logits
/// of all its tokens: those of no row come before it.
void Context::evaluate_all(std::span<const LogitsRequest> requests, std::span<Pending> rest) {
  std::size_t before = 0;
  if (feature_size_ > 0) {
    const auto wanted =
        std::ranges::stable_partition(rest, [](const Pending& p) { return !p.row.has_value(); });
    before = rest.size() - wanted.size();
  }
  evaluate_in_batches(requests, rest.first(before));
  evaluate_in_batches(requests, rest.subspan(before));
}

/// In as few batches as fit.
void Context::evaluate_in_batches(std::span<const LogitsRequest> requests,
                                  std::span<const Pending> rest) {
  while (!rest.empty()) {
    std::size_t tokens = 0;
    std::size_t rows = 0;
    while (tokens < rest.size() && tokens < batch_tokens_ &&
           rows + (rest[tokens].row ? 1 : 0) <= batch_rows_ &&
           (!is_one_at_a_time_ || rest[tokens].request == rest.front().request)) {
      rows += rest[tokens++].row ? 1 : 0;
    }
    const auto now = rest.first(tokens);
    evaluate(requests, now);
    rest = rest.subspan(tokens);
    if (!rest.empty()) keep_rows(now);
  }
}

/// Copies what these tokens told: the next call reuses the memory.
void Context::keep_rows(std::span<const Pending> tokens) {
  const auto keep = [this](const float*& values, std::size_t n) {
    values = copied_.emplace_back(values, values + n).data();
  };
  for (const Pending& token : tokens) {
    if (!token.row) continue;
    keep(rows_[*token.row], static_cast<std::size_t>(row_size()));
    if (feature_size_ > 0) keep(features_[*token.row], feature_size_);
  }
}

/// Lists request by request; with a cache or a state each, by sequence: llama.cpp evaluates only
/// neighbouring ones together.
void Context::list_pending(std::span<const LogitsRequest> requests) {
  pending_.clear();
  places_.assign(requests.size(), {});
  std::size_t rows = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const LogitsRequest& request = requests[i];
    const std::size_t first_row = request.tokens.size() - static_cast<std::size_t>(request.n_rows);
    const std::size_t shared = cache_->shares_new_tokens() ? share_pending(requests, i) : 0;
    for (std::size_t position = std::max(held(request), shared); position < request.tokens.size();
         ++position) {
      const bool wants_row = position >= first_row;
      places_[i].push_back(pending_.size());
      pending_.push_back({i, position, wants_row ? std::optional(rows++) : std::nullopt});
    }
  }
  rows_.assign(rows, nullptr);
  features_.assign(rows, nullptr);
  if (cache_->shares_new_tokens()) return;
  std::ranges::stable_sort(pending_, {},
                           [&](const Pending& p) { return requests[p.request].sequence; });
}

/// What others may have in common with a request: where features are told, nothing that comes after
/// a row, as rows come last.
std::span<const Token> Context::sharable(const LogitsRequest& request) const {
  return feature_size_ > 0 ? rowless(request) : request.tokens;
}

/// Joins the earlier request whose pending tokens this one has in common, up to the first position
/// it wants a row of; returns up to where. llama.cpp wants sequences that share new cells to hold
/// equally many already.
std::size_t Context::share_pending(std::span<const LogitsRequest> requests, std::size_t i) {
  const auto wanted = rowless(requests[i]);
  std::size_t most = held(requests[i]);
  if (most >= wanted.size()) return 0;  // as in every round of a chain
  std::size_t donor = i;
  for (std::size_t other = 0; other < i; ++other) {
    const std::size_t common = common_prefix(sharable(requests[other]), wanted);
    if (common <= most) continue;
    most = common;
    donor = other;
  }
  if (donor == i) return 0;
  const std::size_t first = held(requests[donor]);
  if (!cache_->cut_to(requests[i].sequence, first)) return 0;
  for (std::size_t position = first; position < most; ++position) {
    const std::size_t place = places_[donor][position - first];
    pending_[place].sharers.push_back(i);
    places_[i].push_back(place);
  }
  return most;
}

/// One call of llama.cpp. The rows it yields live until the next.
void Context::evaluate(std::span<const LogitsRequest> requests, std::span<const Pending> tokens) {
  batch_->raw.n_tokens = 0;
  if (feature_size_ > 0) {
    llama_set_embeddings(evaluator_.get(), tokens.front().row.has_value());
  }
  for (const Pending& token : tokens) {
    const LogitsRequest& request = requests[token.request];
    batch_->add(request.tokens[token.position], token.position, token.row.has_value());
    batch_->share(request.sequence);
    for (const std::size_t sharer : token.sharers) batch_->share(requests[sharer].sequence);
  }
  const Evaluation done = evaluator_.run(batch_->raw);
  if (done.status != 0) {  // takes back whatever it left in the cache
    cache_->recover(requests);
    done.fail(model_->path());
  }

  cache_->begin_batch();
  evaluated_ += tokens.size();
  ++batches_;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const LogitsRequest& request = requests[tokens[i].request];
    cache_->add_cell();
    cache_->add_owner(request.sequence, request.tokens[tokens[i].position]);
    for (const std::size_t sharer : tokens[i].sharers) {
      cache_->add_owner(requests[sharer].sequence, request.tokens[tokens[i].position]);
    }
    if (const auto row = tokens[i].row) {
      rows_[*row] = row_of(request.sequence, i);
      if (feature_size_ > 0) {
        features_[*row] = llama_get_embeddings_ith(evaluator_.get(), static_cast<std::int32_t>(i));
      }
    }
  }
}

/// The row of the batch's i-th token, which is of that sequence.
const float* Context::row_of(int sequence, std::size_t i) const {
  return classifies_ ? llama_get_embeddings_seq(evaluator_.get(), sequence)
                     : llama_get_logits_ith(evaluator_.get(), static_cast<std::int32_t>(i));
}

}  // namespace rewardshift::llama
