// The one exception hierarchy. Wrong arguments throw std::invalid_argument with the value given;
// everything that goes wrong in spite of right arguments throws a subclass of Error.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace rewardshift {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A model or adapter file that cannot be read, or that this library cannot decode with.
class ModelLoadError : public Error {
 public:
  using Error::Error;
};

/// Two roles speak different vocabularies; the message names the first token that differs.
class VocabularyMismatchError : public Error {
 public:
  using Error::Error;
};

/// A prompt does not fit the context. Both figures count tokens.
class ContextOverflowError : public Error {
 public:
  ContextOverflowError(const std::string& message, std::size_t needed, std::size_t available)
      : Error(message), needed(needed), available(available) {}

  std::size_t needed;
  std::size_t available;
};

/// Memory that could not be had; `bytes` is the size asked for.
class OutOfMemoryError : public Error {
 public:
  OutOfMemoryError(const std::string& message, std::size_t bytes) : Error(message), bytes(bytes) {}

  std::size_t bytes;
};

/// A grammar, schema or regular expression that cannot be compiled within its limits; the message
/// says where. In Python also a ValueError.
class GrammarError : public Error {
 public:
  using Error::Error;
};

/// A model could not be evaluated, or its logits are not a distribution (NaN, +inf, all -inf).
class EvaluationError : public Error {
 public:
  using Error::Error;
};

/// The caller interrupted an evaluation. Nothing was lost: the same call may be made again.
class CancelledError : public Error {
 public:
  using Error::Error;
};

}  // namespace rewardshift
