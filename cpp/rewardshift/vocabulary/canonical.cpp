#include "rewardshift/vocabulary/canonical.h"

#include <algorithm>
#include <string>
#include <utility>

#include "rewardshift/vocabulary/utf8.h"

namespace rewardshift {
namespace {

constexpr std::string_view kBeforeSpace = " 7";  // joins a text that begins with a space
constexpr std::string_view kBeforeText = " 7\n";
constexpr std::size_t kJoined = 1U << 16;  // bytes, about

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80; }

/// Bytes that a character of white space can begin with.
bool may_begin_space(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return value == ' ' || (value >= '\t' && value <= '\r') || value == 0xC2 ||
         (value >= 0xE1 && value <= 0xE3);
}

std::string_view separator_before(std::string_view text) {
  return text.front() == ' ' ? kBeforeSpace : kBeforeText;
}

}  // namespace

CanonicalTokenizer::CanonicalTokenizer(std::shared_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)) {
  by_bytes_.reserve(vocabulary_->bytes.size());
  for (Token token = 0; token < vocabulary_->size(); ++token) {
    const std::string_view bytes = vocabulary_->bytes_of(token);
    if (bytes.empty()) continue;
    longest_ = std::max(longest_, bytes.size());
    for (std::size_t i = 1; i < bytes.size(); ++i) {
      pairs_.set(static_cast<unsigned char>(bytes[i - 1]) * 256U +
                 static_cast<unsigned char>(bytes[i]));
    }
    const auto [found, is_new] = by_bytes_.emplace(bytes, token);
    const auto role_of = [&](Token one) { return vocabulary_->role_of(one); };
    if (!is_new && role_of(found->second) == TokenRole::byte && role_of(token) == TokenRole::text) {
      found->second = token;
    }
  }
}

std::optional<Token> CanonicalTokenizer::find(std::string_view bytes) const {
  const auto found = by_bytes_.find(bytes);
  return found == by_bytes_.end() ? std::nullopt : std::optional<Token>(found->second);
}

/// Pre-tokenizers look ahead over white space only, so that what comes before it matters only if it
/// is white space, too; and newlines they may join to what is before them, or to what is between
/// them. So a boundary lies before a space that follows anything else, and before newlines between
/// anything else.
std::optional<std::size_t> CanonicalTokenizer::boundary(std::string_view text,
                                                        std::size_t start) const {
  const std::size_t last = text.size() - 1;
  if (last <= start) return std::nullopt;
  const auto is_safe = [&](std::size_t at) {
    return at > start && !occurs(text[at - 1], text[at]) && !ends_in_space(text.substr(0, at));
  };
  if (text[last] == ' ' && is_safe(last)) return last;
  if (text[last - 1] == '\n' && !may_begin_space(text[last])) {
    std::size_t newline = last - 1;
    while (newline > start && text[newline - 1] == '\n') --newline;
    if (is_safe(newline)) return newline;
  }
  const std::size_t behind = last - start;
  if (behind >= kLongest && (!is_continuation(text[last]) || behind >= kLongest + 3)) return last;
  return std::nullopt;
}

std::vector<Token> CanonicalTokenizer::tokens_of(std::string_view text) const {
  std::vector<Token> tokens;
  std::size_t start = 0;
  const auto add_up_to = [&](std::size_t end) {
    const std::vector<Token> more = tokens_between(text.substr(start, end - start));
    tokens.insert(tokens.end(), more.begin(), more.end());
    start = end;
  };
  for (std::size_t size = 1; size <= text.size(); ++size) {
    if (const auto cut = boundary(text.substr(0, size), start)) add_up_to(*cut);
  }
  add_up_to(text.size());
  return tokens;
}

std::vector<Token> CanonicalTokenizer::tokens_between(std::string_view text) const {
  std::vector<Token> tokens;
  while (!text.empty()) {
    const std::size_t whole = leading_text(text);
    if (whole > 0) {
      const std::string_view characters = text.substr(0, whole);
      const std::vector<Token> own = vocabulary_->tokenizer->tokens_of(characters);
      if (vocabulary_->spells(own, characters)) {
        tokens.insert(tokens.end(), own.begin(), own.end());
      } else {
        spell(characters, tokens);
      }
      text.remove_prefix(whole);
    }
    std::size_t broken = 0;
    while (broken < text.size() && leading_character(text.substr(broken)) == 0) ++broken;
    spell(text.substr(0, broken), tokens);
    text.remove_prefix(broken);
  }
  return tokens;
}

void CanonicalTokenizer::spell(std::string_view bytes, std::vector<Token>& tokens) const {
  while (!bytes.empty()) {
    std::size_t length = std::min(longest_, bytes.size());
    std::optional<Token> token;
    while (length > 0 && !(token = find(bytes.substr(0, length)))) --length;
    if (token) tokens.push_back(*token);
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
}

/// Whether separators keep the text apart from its neighbours, for the reasons that boundaries do.
bool CanonicalTokenizer::can_be_joined(std::string_view text) const {
  if (text.empty() || text.size() > kLongest / 2 || leading_text(text) != text.size()) return false;
  if (ends_in_space(text) || occurs(text.back(), ' ')) return false;
  if (text.front() != ' ' && may_begin_space(text.front())) return false;
  return !occurs(separator_before(text).back(), text.front());
}

/// Some tokenizers compile their regular expressions anew whenever they are called, which takes as
/// long as thousands of bytes: many short texts are therefore tokenised as one.
std::vector<std::vector<Token>> CanonicalTokenizer::tokens_of_each(
    std::span<const std::string_view> texts) const {
  std::vector<std::vector<Token>> all(texts.size());
  std::vector<std::size_t> joined;
  std::string text;
  const auto take_apart = [&] {
    const std::vector<Token> tokens = vocabulary_->tokenizer->tokens_of(text);
    const bool is_faithful = vocabulary_->spells(tokens, text);
    std::size_t at = 0;     // bytes of the text
    std::size_t begin = 0;  // where the next text begins
    auto token = tokens.begin();
    for (const std::size_t i : joined) {
      begin += separator_before(texts[i]).size();
      const std::size_t end = begin + texts[i].size();
      const auto go_on_to = [&](std::size_t place, auto use) {
        while (is_faithful && at < place) {
          at += vocabulary_->bytes_of(*token).size();
          use(*token++);
        }
        return at == place;
      };
      const bool is_apart =
          go_on_to(begin, [](Token) {}) && go_on_to(end, [&](Token one) { all[i].push_back(one); });
      if (!is_apart) all[i] = tokens_of(texts[i]);
      begin = end;
    }
    joined.clear();
    text.clear();
  };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!can_be_joined(texts[i])) {
      all[i] = tokens_of(texts[i]);
      continue;
    }
    joined.push_back(i);
    text.append(separator_before(texts[i])).append(texts[i]);
    if (text.size() >= kJoined) take_apart();
  }
  take_apart();
  return all;
}

}  // namespace rewardshift
