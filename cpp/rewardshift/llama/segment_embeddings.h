// What BERT adds to the tokens of a second text, which llama.cpp's graph leaves out.
#pragma once

#include <cstddef>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/llama/gguf_file.h"
#include "rewardshift/llama/model.h"

namespace rewardshift::llama {

/// The embeddings of a model that learnt a vector for each of two segments. llama.cpp adds the
/// first one's to every token; here tokens are looked up beforehand, and what the segments differ
/// by is added where a second one begins: behind the first separator.
class SegmentEmbeddings {
 public:
  /// None unless the model has WordPiece tokens and vectors for two segments: tokenizers of other
  /// kinds tell no segments apart. Throws ModelLoadError or EvaluationError if its file cannot be
  /// read.
  static std::unique_ptr<SegmentEmbeddings> of(const Model& model);

  /// A row for each token, one after another; empty where all of the text is one segment. The
  /// tokens are the model's. Throws EvaluationError if the file cannot be read any more.
  std::vector<float> of_text(std::span<const Token> text);

 private:
  SegmentEmbeddings(const Model& model, const GgufFile& file, const GgufTensor& tokens,
                    const GgufTensor& segments);

  /// Row `index` of a tensor of the file.
  std::vector<float> row(const GgufTensor& tensor, std::size_t index);

  std::string path_;
  Token separator_;
  GgufTensor tokens_;
  std::ifstream file_;
  std::vector<float> difference_;  ///< the second segment's vector less the first's
};

}  // namespace rewardshift::llama
