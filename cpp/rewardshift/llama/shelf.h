// Histories that nobody goes on with for now, outside of a context's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "rewardshift/language_model.h"

namespace rewardshift::llama {

/// A history, and what a context's memory held of it.
struct Shelved {
  std::vector<Token> tokens;
  std::vector<std::uint8_t> state;
};

/// Keeps as many as so many bytes of states allow; those that came first give way.
class Shelf {
 public:
  explicit Shelf(std::size_t bytes) : room_(bytes) {}

  /// Whether a state of so many bytes could be kept.
  bool fits(std::size_t bytes) const { return bytes <= room_; }

  /// Keeps a history that fits, in place of those that it begins with.
  void put(Shelved history);

  /// Hands out the history that begins with the most of these tokens: more than `least`, and all of
  /// them or half of its own. None is where there is no such.
  std::optional<Shelved> take(std::span<const Token> tokens, std::size_t least);

  void clear();

 private:
  void drop(std::list<Shelved>::iterator history);

  std::list<Shelved> histories_;  ///< in the order they came
  std::size_t room_;
  std::size_t used_ = 0;
};

}  // namespace rewardshift::llama
