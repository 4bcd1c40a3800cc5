// TextStream on any pieces and stop strings, against the whole text searched at once.
#include <algorithm>

#include "input.h"
#include "rewardshift/decode/text_stream.h"

namespace rewardshift::fuzz {
namespace {

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// Whether `end` falls between the bytes of one character of `text`, or of one that may still come.
bool is_inside_character(const std::string& text, std::size_t end) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, end); ++back) {
    const auto byte = static_cast<unsigned char>(text[end - back]);
    if (is_continuation(text[end - back])) continue;
    const std::size_t length = byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return length > back && (end == text.size() || is_continuation(text[end]));
  }
  return false;
}

void run(Input& input) {
  std::vector<std::string> stops;
  for (std::size_t i = input.at_most(3); i > 0; --i) {
    std::string stop = input.text(4);  // begins like a character, as all strings from Python do
    if (stop.empty() || is_continuation(stop[0])) stop.insert(0, ".");
    stops.push_back(std::move(stop));
  }
  TextStream stream(stops);
  std::string whole;
  std::string shown;
  bool stopped = false;
  while (!input.is_empty() && !stopped) {
    const std::string piece = input.text(6);
    whole += piece;
    stopped = stream.append(piece);
    if (!stopped && input.at_most(1) == 0) {
      shown += stream.take();
      check(whole.starts_with(shown), "what was shown is the text's beginning");
      check(!is_inside_character(whole, shown.size()), "nothing shown ends inside a character");
    }
  }
  shown += stream.take_rest();
  std::size_t cut = std::string::npos;
  for (const std::string& stop : stops) cut = std::min(cut, whole.find(stop));
  check(stopped == (cut != std::string::npos), "a stop string is noticed when it is complete");
  check(shown == whole.substr(0, cut), "the text ends before the first stop string");
}

}  // namespace
}  // namespace rewardshift::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rewardshift::fuzz::Input input(data, size);
  rewardshift::fuzz::run(input);
  return 0;
}
