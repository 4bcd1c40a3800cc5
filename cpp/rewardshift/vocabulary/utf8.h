// Characters in bytes that need not be text.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace rewardshift {

/// Bytes of the UTF-8 character that `text` begins with; 0 where it begins with none, or with one
/// that is not whole.
inline std::size_t leading_character(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xC2   ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;   // longer than need be
  if (lead == 0xED && byte(1) >= 0xA0) return 0;  // halves of a pair of UTF-16
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) >= 0x90) return 0;  // beyond the last character
  return length;
}

/// Bytes that `text` begins with and that are whole characters.
inline std::size_t leading_text(std::string_view text) {
  std::size_t length = 0;
  while (const std::size_t character = leading_character(text.substr(length))) length += character;
  return length;
}

/// Whether the last character is white space, as Unicode has it.
inline bool ends_in_space(std::string_view text) {
  if (text.empty()) return false;
  const auto last = static_cast<unsigned char>(text.back());
  if (last < 0x80) return last == ' ' || (last >= '\t' && last <= '\r');
  using namespace std::string_view_literals;
  constexpr std::array kSpaces = {
      "\xC2\x85"sv,     "\xC2\xA0"sv,     "\xE1\x9A\x80"sv, "\xE2\x80\xA8"sv,
      "\xE2\x80\xA9"sv, "\xE2\x80\xAF"sv, "\xE2\x81\x9F"sv, "\xE3\x80\x80"sv,
  };
  for (const std::string_view space : kSpaces) {
    if (text.ends_with(space)) return true;
  }
  return last <= 0x8A && text.substr(0, text.size() - 1).ends_with("\xE2\x80"sv);  // U+2000 on
}

}  // namespace rewardshift
