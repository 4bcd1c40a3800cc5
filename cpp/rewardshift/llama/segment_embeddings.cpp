#include "rewardshift/llama/segment_embeddings.h"

#include <llama.h>

#include <algorithm>
#include <functional>
#include <ios>
#include <string>

#include "rewardshift/error.h"

namespace rewardshift::llama {

std::unique_ptr<SegmentEmbeddings> SegmentEmbeddings::of(const Model& model) {
  if (llama_vocab_type(model.tokenizer().raw()) != LLAMA_VOCAB_TYPE_WPM) return nullptr;
  const GgufFile file(model.path());
  const GgufTensor* segments = file.tensor("token_types.weight");
  if (segments == nullptr || segments->shape[1] < 2) return nullptr;
  const GgufTensor* tokens = file.tensor("token_embd.weight");
  if (tokens == nullptr) file.refuse("is split, and its first part has no token_embd.weight");
  return std::unique_ptr<SegmentEmbeddings>(new SegmentEmbeddings(model, file, *tokens, *segments));
}

SegmentEmbeddings::SegmentEmbeddings(const Model& model, const GgufFile& file,
                                     const GgufTensor& tokens, const GgufTensor& segments)
    : path_(file.path()),
      separator_(llama_vocab_sep(model.tokenizer().raw())),
      tokens_(tokens),
      file_(path_, std::ios::binary),
      difference_(row(segments, 1)) {
  const std::vector<float> first = row(segments, 0);
  std::ranges::transform(difference_, first, difference_.begin(), std::minus<>());
}

std::vector<float> SegmentEmbeddings::of_text(std::span<const Token> text) {
  const auto separator = std::ranges::find(text, separator_);
  const auto first = static_cast<std::size_t>(separator - text.begin()) + 1;
  if (first >= text.size()) return {};
  std::vector<float> rows;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::vector<float> token = row(tokens_, static_cast<std::size_t>(text[i]));
    if (i >= first) std::ranges::transform(token, difference_, token.begin(), std::plus<>());
    rows.insert(rows.end(), token.begin(), token.end());
  }
  return rows;
}

std::vector<float> SegmentEmbeddings::row(const GgufTensor& tensor, std::size_t index) {
  const std::size_t size = ggml_row_size(tensor.type, tensor.shape[0]);
  std::vector<char> bytes(size);
  file_.seekg(static_cast<std::streamoff>(tensor.offset + index * size));
  file_.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!file_) throw EvaluationError(path_ + " cannot be read any more");
  std::vector<float> values(static_cast<std::size_t>(tensor.shape[0]));
  if (tensor.type == GGML_TYPE_F32) {
    std::copy_n(bytes.data(), size, reinterpret_cast<char*>(values.data()));
  } else {
    ggml_get_type_traits(tensor.type)->to_float(bytes.data(), values.data(), tensor.shape[0]);
  }
  return values;
}

}  // namespace rewardshift::llama
