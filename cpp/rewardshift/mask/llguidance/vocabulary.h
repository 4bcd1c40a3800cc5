// A vocabulary as llguidance sees it: built once, shared by all grammars over it.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "rewardshift/mask/llguidance/library.h"
#include "rewardshift/mask/mask.h"

namespace rewardshift::llguidance {

/// Tokens as bytes. Immutable; safe from several threads. Building one takes a second for 150,000
/// tokens.
class Vocabulary {
 public:
  /// `pieces` are the bytes of each token, empty for those that text never is: control tokens, and
  /// ids that some model lacks. A piece with the byte 0xff, which no UTF-8 text has, counts as
  /// empty, and so does that of a token that ends generation.
  ///
  /// Throws std::invalid_argument for no pieces or an id outside them, Error where llguidance
  /// refuses.
  Vocabulary(std::shared_ptr<const Library> library, std::vector<std::string> pieces,
             const std::set<Token>& end_of_generation);
  ~Vocabulary();
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  int size() const { return size_; }
  Mask text() const { return text_; }                            ///< tokens that add bytes
  Mask end_of_generation() const { return end_of_generation_; }  ///< tokens that end it

  const Functions& call() const { return library_->call(); }
  const LlgTokenizer* tokenizer() const { return tokenizer_; }

 private:
  std::shared_ptr<const Library> library_;
  int size_;
  std::vector<std::uint32_t> text_;
  std::vector<std::uint32_t> end_of_generation_;
  LlgTokenizer* tokenizer_ = nullptr;
};

}  // namespace rewardshift::llguidance
