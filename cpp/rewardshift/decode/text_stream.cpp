#include "rewardshift/decode/text_stream.h"

#include <algorithm>

namespace rewardshift {
namespace {

/// Where an unfinished UTF-8 character at the end of `text` begins; text.size() if there is none.
std::size_t unfinished_character(std::string_view text) {
  const std::size_t reach = std::min<std::size_t>(text.size(), 3);
  for (std::size_t back = 1; back <= reach; ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;  // a continuation byte: look further back
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace

bool TextStream::append(std::string_view piece) {
  const std::size_t before = text_.size();
  text_ += piece;
  std::size_t cut = std::string::npos;
  for (const std::string& stop : stop_) {
    const std::size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
    cut = std::min(cut, text_.find(stop, std::max(from, taken_)));
  }
  if (cut == std::string::npos) return false;
  text_.resize(cut);
  return true;
}

std::string TextStream::take() {
  return release(std::min(possible_stop(), unfinished_character(text_)));
}

std::string TextStream::take_rest() { return release(text_.size()); }

std::string TextStream::release(std::size_t end) {
  if (end <= taken_) return {};
  std::string result = text_.substr(taken_, end - taken_);
  taken_ = end;
  return result;
}

/// Where the longest suffix begins that is a proper prefix of a stop string.
std::size_t TextStream::possible_stop() const {
  std::size_t begin = text_.size();
  for (const std::string& stop : stop_) {
    const std::size_t longest = std::min(stop.size() - 1, text_.size());
    for (std::size_t n = longest; n > 0; --n) {
      if (text_.ends_with(std::string_view(stop).substr(0, n))) {
        begin = std::min(begin, text_.size() - n);
        break;
      }
    }
  }
  return begin;
}

}  // namespace rewardshift
