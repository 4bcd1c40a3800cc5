#include "rewardshift/llama/encoder.h"

#include <llama.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>

#include "rewardshift/history.h"
#include "rewardshift/llama/context_needs.h"
#include "rewardshift/llama/segment_embeddings.h"
#include "rewardshift/require.h"

namespace rewardshift::llama {
namespace {

constexpr std::size_t kLeastRoom = 256;  // llama.cpp rounds contexts up to it

std::size_t most_tokens(const ModelFacts& facts, const ContextOptions& options) {
  if (options.n_ctx == 0) return static_cast<std::size_t>(facts.context_size_trained);
  const bool has_table = facts.architecture == "bert";  // of positions; others compute them
  require(!has_table || options.n_ctx <= facts.context_size_trained, "n_ctx",
          "at most " + std::to_string(facts.context_size_trained) +
              ", the positions that this encoder knows",
          std::to_string(options.n_ctx));
  return static_cast<std::size_t>(options.n_ctx);
}

}  // namespace

Encoder::Encoder(std::shared_ptr<const Model> model, const ContextOptions& options,
                 std::shared_ptr<Threadpool> pool, const std::atomic<bool>* interrupt)
    : model_(std::move(model)),
      facts_(model_->facts()),
      flash_attn_(options.flash_attn),
      evaluator_(model_, std::move(pool), {options.n_threads, options.n_threads_batch}, interrupt) {
  validate(options);
  model_->require_classifying();
  most_ = most_tokens(facts_, options);
  segments_ = SegmentEmbeddings::of(*model_);
  make_room(1);
}

Encoder::~Encoder() = default;

/// Makes a context for texts of so many tokens, unless there is one.
void Encoder::make_room(std::size_t tokens) {
  if (tokens <= room_) return;
  room_ = 0;  // where there is no memory for more
  const std::size_t room = std::min(most_, std::bit_ceil(std::max(tokens, kLeastRoom)));
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(room);
  params.embeddings = true;
  params.pooling_type = LLAMA_POOLING_TYPE_RANK;
  choose_attention(flash_attn_, model_->is_on_cpu(), params);
  params.n_batch = params.n_ubatch = params.n_outputs_max = params.n_ctx;
  const std::size_t bytes = needed_bytes(facts_, params);
  const std::string needs = "a text of " + std::to_string(tokens) + " tokens needs " +
                            std::to_string(bytes) + " bytes of buffers for " + model_->path();
  evaluator_.open(params, needs, bytes);
  room_ = room;
}

std::vector<float> Encoder::classify(std::span<const Token> text) {
  evaluator_.require_home();
  check_tokens(text, facts_.vocab_size);
  make_room(text.size());
  std::vector<Token> tokens(text.begin(), text.end());
  std::vector<llama_pos> positions(text.size());
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<std::int8_t> outputs(text.size(), 1);
  std::vector<float> embeddings;
  if (segments_) embeddings = segments_->of_text(text);
  llama_batch batch{};  // all of it in sequence 0
  batch.n_tokens = static_cast<std::int32_t>(text.size());
  batch.pos = positions.data();
  batch.logits = outputs.data();
  if (embeddings.empty()) {
    batch.token = tokens.data();
  } else {
    batch.embd = embeddings.data();
  }
  const Evaluation done = evaluator_.run(batch);
  if (done.status != 0) done.fail(model_->path());
  const float* row = llama_get_embeddings_seq(evaluator_.get(), 0);
  return {row, row + model_->class_outputs()};
}

}  // namespace rewardshift::llama
