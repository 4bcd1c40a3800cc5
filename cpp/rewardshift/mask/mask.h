// What may follow a response: the seam between the decoder and whatever knows a grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "rewardshift/language_model.h"

namespace rewardshift {

/// Which tokens may follow: bit t % 32 of word t / 32 is token t, mask_words(vocab_size) words.
/// Bits beyond the vocabulary are 0.
using Mask = std::span<const std::uint32_t>;

/// Words of a mask over so many tokens.
std::size_t mask_words(int vocab_size);

/// Whether the token may follow; never, where it lies outside the mask.
inline bool is_allowed(Mask mask, Token token) {
  const auto bit = static_cast<std::size_t>(token);
  return token >= 0 && bit / 32 < mask.size() && ((mask[bit / 32] >> (bit % 32)) & 1U) != 0;
}

int count_allowed(Mask mask);

/// The token, where the mask leaves exactly one.
std::optional<Token> forced_token(Mask mask);

/// Where one response is in its grammar.
///
/// Declarative like LanguageModel: asks by prefix, and rolls back and reads on by itself. What it
/// returns depends on the prefix alone. Prefixes that mostly grow, shrink or repeat cost least. One
/// request's; not thread-safe. May outlive the Grammar that started it.
class MaskWalk {
 public:
  virtual ~MaskWalk() = default;
  MaskWalk(const MaskWalk&) = delete;
  MaskWalk& operator=(const MaskWalk&) = delete;

  /// What may follow these tokens, which begin the response. Borrowed until the next call.
  ///
  /// A token that adds bytes may follow where the text with it begins a sentence of the grammar;
  /// every end-of-generation token may follow where the text is a sentence. No other token that
  /// adds no bytes ever may. Where the response is ended, or has left the grammar already, nothing
  /// may follow: an empty mask, no error. Ids outside the vocabulary leave every grammar.
  ///
  /// Throws EvaluationError where the mask costs more than its limits allow, and from then on:
  /// never an unconstrained answer.
  virtual Mask allowed_after(std::span<const Token> response) = 0;

 protected:
  MaskWalk() = default;
};

/// A compiled grammar over one vocabulary. Immutable; shared by requests and threads.
class Grammar {
 public:
  virtual ~Grammar() = default;
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  /// A walk at the beginning of a response. Safe from several threads at once.
  virtual std::unique_ptr<MaskWalk> start() const = 0;

  /// Tokens of the vocabulary; its masks have mask_words() of these.
  virtual int vocab_size() const = 0;

 protected:
  Grammar() = default;
};

}  // namespace rewardshift
