// The part of llguidance's C interface that is used here, declared by hand.
//
// From parser/llguidance.h of https://github.com/guidance-ai/llguidance (MIT), the same in 1.8.0
// and 1.9.1. Library checks at run time that what it loaded is laid out like this.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rewardshift::llguidance {

struct LlgTokenizer;  ///< a vocabulary; may be used from several threads
struct LlgMatcher;    ///< a grammar and where a text is in it; one thread at a time

struct LlgParserLimits {
  std::size_t max_items_in_row;
  std::uint64_t initial_lexer_fuel;
  std::uint64_t step_lexer_fuel;
  std::size_t step_max_items;
  std::size_t max_lexer_states;
  std::size_t max_grammar_size;
  bool precompute_large_lexemes;
  bool verbose_errors;
};

struct LlgConstraintInit {
  const LlgTokenizer* tokenizer;
  std::uint32_t log_buffer_level;
  std::uint32_t log_stderr_level;
  bool ff_tokens_ok;
  bool backtrack_ok;
  LlgParserLimits limits;
};

/// Says its own size: fields that later versions append read as 0.
struct LlgTokenizerInitV2 {
  std::size_t struct_size;
  std::uint32_t vocab_size;
  std::uint32_t tok_eos;
  const std::uint32_t* token_lens;
  const std::uint8_t* token_bytes;
  const char* tokenizer_json;
  bool tokenize_assumes_string;
  std::size_t (*tokenize_fn)(const void*, const std::uint8_t*, std::size_t, std::uint32_t*,
                             std::size_t);
  bool use_approximate_greedy_tokenize_fn;
  const void* tokenize_user_data;
  const char* const* slices;
  const std::uint32_t* tok_eos_extra;
  std::uint32_t tok_eos_extra_count;
};

inline constexpr std::uint32_t kNoToken = 0xffffffff;

/// The functions. Those that return int return -1 for an error, which get_error then tells. All of
/// them turn Rust's panics into errors.
struct Functions {
  const char* (*get_version)();
  void (*constraint_init_set_defaults)(LlgConstraintInit*, const LlgTokenizer*);
  LlgTokenizer* (*new_tokenizer_v2)(const LlgTokenizerInitV2*, char*, std::size_t);
  void (*free_tokenizer)(LlgTokenizer*);
  LlgMatcher* (*new_matcher)(const LlgConstraintInit*, const char*, const char*);
  LlgMatcher* (*clone_matcher)(const LlgMatcher*);
  void (*free_matcher)(LlgMatcher*);
  const char* (*matcher_get_error)(LlgMatcher*);
  bool (*matcher_is_error)(const LlgMatcher*);
  bool (*matcher_is_stopped)(const LlgMatcher*);
  bool (*matcher_is_accepting)(LlgMatcher*);
  std::int32_t (*matcher_compute_mask_into)(LlgMatcher*, std::uint32_t*, std::size_t);
  std::int32_t (*matcher_validate_tokens)(LlgMatcher*, const std::uint32_t*, std::size_t);
  std::int32_t (*matcher_consume_tokens)(LlgMatcher*, const std::uint32_t*, std::size_t);
  std::int32_t (*matcher_rollback)(LlgMatcher*, std::size_t);
};

}  // namespace rewardshift::llguidance
