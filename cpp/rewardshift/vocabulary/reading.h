// How a model of another vocabulary reads a text that grows.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rewardshift/vocabulary/map.h"

namespace rewardshift {

/// A history of the target's tokens as one of foreign tokens: where runs of text are their bytes'
/// canonical tokenisation, and control tokens their counterparts, if they have any; a control token
/// that has none is as if it were not there. Token target().size() + d is the foreign token d as it
/// is. Where a history begins with the target's tokens, the reading begins as the foreign
/// vocabulary's texts begin.
///
/// Remembers the latest history, so that one that mostly goes on with it is read quickly.
class Reading {
 public:
  explicit Reading(std::shared_ptr<const VocabularyMap> map) : map_(std::move(map)) {}

  /// Reads a history, all of whose tokens lie in [0, target().size() + foreign().size()).
  void read(std::span<const Token> history);

  /// Tokens of the history that was read last.
  std::size_t size() const { return history_.size(); }

  /// Foreign tokens for the first n of the history's tokens: a function of these n alone.
  std::vector<Token> after(std::size_t n) const;

  /// Those of them that no text to come can change.
  std::span<const Token> settled_after(std::size_t n) const {
    return std::span(settled_).first(marks_[n].settled);
  }

 private:
  /// How far reading had come.
  struct Mark {
    std::size_t settled = 0;  ///< tokens
    std::size_t text = 0;     ///< bytes
    std::size_t run = 0;      ///< where in the text its latest run begins
    std::size_t start = 0;    ///< where in the text the latest boundary is
  };

  void add(Token token, Mark& mark);
  void add_text(std::string_view bytes, Mark& mark);
  void add_as_is(Token token, Mark& mark);
  void settle_up_to(std::size_t end, Mark& mark);

  std::shared_ptr<const VocabularyMap> map_;
  std::vector<Token> history_;
  std::vector<Token> settled_;
  std::string text_;                ///< of all runs
  std::vector<Mark> marks_ = {{}};  ///< by tokens of the history that were read
};

}  // namespace rewardshift
