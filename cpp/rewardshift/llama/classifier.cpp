#include "rewardshift/llama/classifier.h"

#include <stdexcept>
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
    : model_(std::move(model)),
      context_(model_, classifying(options), std::move(pool), interrupt) {}

std::vector<std::string> Classifier::labels() const { return model_->class_labels(); }

std::vector<std::vector<float>> Classifier::classify(std::span<const std::vector<Token>> texts) {
  for (const auto& text : texts) {
    if (text.empty()) throw std::invalid_argument("a text to classify has no tokens");
    if (text.size() <= context_.context_size()) continue;
    throw ContextOverflowError("a text to classify has " + std::to_string(text.size()) +
                                   " tokens; the context holds " +
                                   std::to_string(context_.context_size()) + " (raise n_ctx)",
                               text.size(), context_.context_size());
  }
  std::vector<std::vector<float>> found;
  const auto most = static_cast<std::size_t>(context_.max_sequences());
  for (std::size_t begin = 0; begin < texts.size();) {
    std::size_t end = begin;
    std::size_t tokens = 0;
    while (end < texts.size() && end - begin < most &&
           tokens + texts[end].size() <= context_.capacity()) {
      tokens += texts[end++].size();
    }
    classify_group(texts.subspan(begin, end - begin), found);
    begin = end;
  }
  return found;
}

void Classifier::classify_group(std::span<const std::vector<Token>> texts,
                                std::vector<std::vector<float>>& found) {
  std::vector<LogitsRequest> requests;
  for (const auto& text : texts) requests.push_back({static_cast<int>(requests.size()), text, 1});
  for (const float* row : context_.logits(requests)) found.emplace_back(row, row + outputs());
}

}  // namespace rewardshift::llama
