#include "rewardshift/llama/classifier.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "rewardshift/error.h"

namespace rewardshift::llama {
namespace {

ContextOptions classifying(ContextOptions options) {
  options.classifies = true;
  return options;
}

}  // namespace

Classifier::Classifier(std::shared_ptr<const Model> model, const ContextOptions& options,
                       std::shared_ptr<Threadpool> pool, const std::atomic<bool>* interrupt)
    : model_(std::move(model)) {
  if (model_->is_encoder()) {
    encoder_ = std::make_unique<Encoder>(model_, options, std::move(pool), interrupt);
  } else {
    decoder_ = std::make_unique<Context>(model_, classifying(options), std::move(pool), interrupt);
  }
}

std::size_t Classifier::context_size() const {
  return encoder_ ? encoder_->context_size() : decoder_->context_size();
}

std::vector<std::vector<float>> Classifier::classify(std::span<const std::vector<Token>> texts) {
  for (const auto& text : texts) require_fitting(text);
  if (!encoder_) return decode(texts);
  std::vector<std::vector<float>> found;
  for (const auto& text : texts) found.push_back(encoder_->classify(text));
  return found;
}

void Classifier::require_fitting(const std::vector<Token>& text) const {
  if (text.empty()) throw std::invalid_argument("a text to classify has no tokens");
  const std::size_t most = context_size();
  if (text.size() <= most) return;
  const auto trained = static_cast<std::size_t>(model_->facts().context_size_trained);
  const bool is_all = encoder_ && most >= trained;
  const std::string what =
      is_all ? " tokens; this encoder was trained for " + std::to_string(most) +
                   " (have it read the response alone, with form=\"{response}\", or let responses "
                   "be shorter)"
             : " tokens; the context holds " + std::to_string(most) + " (raise n_ctx)";
  throw ContextOverflowError("a text to classify has " + std::to_string(text.size()) + what,
                             text.size(), most);
}

std::vector<std::vector<float>> Classifier::decode(std::span<const std::vector<Token>> texts) {
  std::vector<std::vector<float>> found;
  const auto most = static_cast<std::size_t>(decoder_->max_sequences());
  for (std::size_t begin = 0; begin < texts.size();) {
    std::size_t end = begin;
    std::size_t tokens = 0;
    while (end < texts.size() && end - begin < most &&
           tokens + texts[end].size() <= decoder_->capacity()) {
      tokens += texts[end++].size();
    }
    decode_group(texts.subspan(begin, end - begin), found);
    begin = end;
  }
  return found;
}

void Classifier::decode_group(std::span<const std::vector<Token>> texts,
                              std::vector<std::vector<float>>& found) {
  std::vector<LogitsRequest> requests;
  for (const auto& text : texts) requests.push_back({static_cast<int>(requests.size()), text, 1});
  for (const float* row : decoder_->logits(requests)) found.emplace_back(row, row + outputs());
}

}  // namespace rewardshift::llama
