// The text of a response as it grows token by token.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace rewardshift {

/// Joins pieces into text, finds stop strings across token borders, and hands out what is final.
///
/// Text is bytes: UTF-8 where the tokens make it so. What take() has returned is never taken back:
/// it ends neither inside a character nor inside what may become a stop string.
class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop) : stop_(std::move(stop)) {}

  /// Appends a token's bytes. Returns true when a stop string is now complete: the text has been
  /// cut before it and must not be appended to again.
  bool append(std::string_view piece);

  /// The text that became final since the last call.
  std::string take();

  /// The rest, final because nothing will follow.
  std::string take_rest();

 private:
  std::string release(std::size_t end);
  std::size_t possible_stop() const;

  std::vector<std::string> stop_;
  std::string text_;
  std::size_t taken_ = 0;
};

}  // namespace rewardshift
