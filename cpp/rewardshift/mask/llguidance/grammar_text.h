// What of a grammar's text is refused before llguidance sees it.
#pragma once

#include <cstddef>
#include <string_view>

namespace rewardshift::llguidance {

/// What a grammar is written in.
enum class Language {
  kLark,        ///< llguidance's dialect of Lark
  kJsonSchema,  ///< a JSON schema, as JSON
  kRegex,       ///< a regular expression that the whole text matches, in the syntax of Rust's
};

/// The longest text that is compiled, in bytes.
inline constexpr std::size_t kMaxGrammarBytes = std::size_t{1} << 20;

/// The deepest nesting of brackets in it, strings and regular expressions inside it left out.
inline constexpr int kMaxGrammarNesting = 100;

/// Throws GrammarError, with the line, for a text that is too long or too deep, that holds a NUL,
/// or in Lark for what is no text or would depend on how it is cut into tokens: tokens by name or
/// number (`<|end|>`, `<[42]>`), and the attributes `stop` and `max_tokens`.
void check_text(Language language, std::string_view text);

}  // namespace rewardshift::llguidance
