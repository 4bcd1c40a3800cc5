#include "rewardshift/mask/llguidance/grammar_text.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "rewardshift/error.h"

namespace rewardshift::llguidance {
namespace {

/// Reads a text bracket by bracket, past strings, comments and regular expressions.
class Scan {
 public:
  Scan(Language language, std::string_view text) : language_(language), text_(text) {}

  void run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (language_ != Language::kRegex && c == '"') {
        skip_quoted('"');
      } else if (language_ == Language::kLark && skip_of_lark(c)) {
        continue;
      } else if (language_ == Language::kRegex && c == '\\') {
        at_ += 2;
      } else {
        count(c);
        ++at_;
      }
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    const std::string_view before = text_.substr(0, at_);
    throw GrammarError("line " + std::to_string(1 + std::ranges::count(before, '\n')) + ": " +
                       reason);
  }

  bool begins(std::string_view with) const { return text_.substr(at_).starts_with(with); }

  void skip_quoted(char quote) {
    for (++at_; at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  void skip_line() { at_ = std::min(text_.find('\n', at_), text_.size()); }

  bool skip_of_lark(char c) {
    if (c == '#' || begins("//")) {
      skip_line();
    } else if (c == '/') {
      skip_quoted('/');
    } else if (c == '<' && is_token_named()) {
      refuse("tokens by name or number are not supported: grammars are over text");
    } else if (is_of_name(c)) {
      skip_name();
    } else {
      return false;
    }
    return true;
  }

  /// `<|end|>` or `<[42]>`, and no operator.
  bool is_token_named() const {
    const std::size_t end = text_.find_first_of("<> \t\r\n", at_ + 1);
    return end != std::string_view::npos && end > at_ + 1 && text_[end] == '>';
  }

  static bool is_of_name(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  }

  void skip_name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_of_name(text_[at_])) ++at_;
    const std::string_view name = text_.substr(begin, at_ - begin);
    if (name != "stop" && name != "max_tokens") return;
    const std::size_t next = text_.find_first_not_of(" \t\r\n", at_);
    if (next != std::string_view::npos && text_[next] == '=') {
      refuse("the attribute " + std::string(name) + " is not supported: use suffix, lazy or {m,n}");
    }
  }

  void count(char c) {
    if (c == '(' || c == '[' || c == '{') {
      if (++depth_ > kMaxGrammarNesting) {
        refuse("nested deeper than " + std::to_string(kMaxGrammarNesting) + " levels");
      }
    } else if ((c == ')' || c == ']' || c == '}') && depth_ > 0) {
      --depth_;
    }
  }

  Language language_;
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

void check_text(Language language, std::string_view text) {
  if (text.size() > kMaxGrammarBytes) {
    throw GrammarError("a grammar has at most " + std::to_string(kMaxGrammarBytes) +
                       " bytes, not " + std::to_string(text.size()));
  }
  if (text.find('\0') != std::string_view::npos) {
    throw GrammarError("a grammar holds no NUL: write it as an escape");
  }
  Scan(language, text).run();
}

}  // namespace rewardshift::llguidance
