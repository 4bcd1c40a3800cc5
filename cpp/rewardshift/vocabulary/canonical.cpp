#include "rewardshift/vocabulary/canonical.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "rewardshift/vocabulary/utf8.h"

namespace rewardshift {
namespace {

constexpr std::string_view kBeforeSpace = " 7";  // joins a text that begins with white space
constexpr std::string_view kBeforeText = " 7\n";
constexpr std::size_t kJoined = 1U << 14;  // bytes, about
constexpr std::size_t kMostThreads = 8;

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80; }

/// Bytes that a character of white space can begin with.
bool may_begin_space(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return value == ' ' || (value >= '\t' && value <= '\r') || value == 0xC2 ||
         (value >= 0xE1 && value <= 0xE3);
}

std::string_view separator_before(std::string_view text) {
  const std::string_view first = text.substr(0, leading_character(text));
  return ends_in_space(first) ? kBeforeSpace : kBeforeText;
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
/// White space at its end may be taken together with the separator's, but no merge joins the two.
bool CanonicalTokenizer::can_be_joined(std::string_view text) const {
  if (text.empty() || text.size() > kLongest / 2 || leading_text(text) != text.size()) return false;
  return !occurs(text.back(), ' ') && !occurs(separator_before(text).back(), text.front());
}

/// Texts that are tokenised as one, by number, in `all`.
void CanonicalTokenizer::tokenise_joined(std::span<const std::string_view> texts,
                                         std::span<const std::size_t> joined,
                                         std::vector<std::vector<Token>>& all) const {
  std::string text;
  for (const std::size_t i : joined) text.append(separator_before(texts[i])).append(texts[i]);
  std::vector<Token> tokens = vocabulary_->tokenizer->tokens_of(text);
  if (!vocabulary_->spells(tokens, text)) tokens.clear();
  auto token = tokens.cbegin();
  std::size_t at = 0;     // bytes before that token
  std::size_t begin = 0;  // bytes before the next text
  for (const std::size_t i : joined) {
    begin += separator_before(texts[i]).size();
    const std::size_t end = begin + texts[i].size();
    const auto take_up_to = [&](std::size_t place) {
      const auto first = token;
      while (at < place && token != tokens.cend()) at += vocabulary_->bytes_of(*token++).size();
      return std::span(first, token);
    };
    take_up_to(begin);
    const bool begins = at == begin;
    const auto own = take_up_to(end);
    all[i] = begins && at == end ? std::vector<Token>(own.begin(), own.end()) : tokens_of(texts[i]);
    begin = end;
  }
}

/// Some tokenizers compile their regular expressions anew whenever they are called, which takes as
/// long as a hundred bytes of text: many short texts are therefore tokenised as one.
std::vector<std::vector<Token>> CanonicalTokenizer::tokens_of_each(
    std::span<const std::string_view> texts) const {
  std::vector<std::vector<std::size_t>> batches(1);  // of texts to join
  std::vector<std::size_t> alone;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!can_be_joined(texts[i])) {
      alone.push_back(i);
      continue;
    }
    batches.back().push_back(i);
    bytes += texts[i].size();
    if (bytes < kJoined) continue;
    batches.emplace_back();
    bytes = 0;
  }
  std::vector<std::vector<Token>> all(texts.size());
  std::atomic<std::size_t> next = 0;
  std::atomic<std::size_t> next_alone = 0;
  const auto work = [&] {
    for (std::size_t batch = next++; batch < batches.size(); batch = next++) {
      tokenise_joined(texts, batches[batch], all);
    }
    for (std::size_t i = next_alone++; i < alone.size(); i = next_alone++) {
      all[alone[i]] = tokens_of(texts[alone[i]]);
    }
  };
  std::vector<std::future<void>> helpers;
  const std::size_t most = std::min<std::size_t>(std::thread::hardware_concurrency(), kMostThreads);
  while (helpers.size() + 1 < std::min(most, batches.size())) {
    helpers.push_back(std::async(std::launch::async, work));
  }
  work();
  for (std::future<void>& helper : helpers) helper.get();
  return all;
}

}  // namespace rewardshift
