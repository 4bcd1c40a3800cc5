#include "rewardshift/mask/llguidance/grammar.h"

#include <cstddef>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/large_stack.h"
#include "rewardshift/mask/llguidance/walk.h"

namespace rewardshift::llguidance {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 20;

const char* name_of(Language language) {
  switch (language) {
    case Language::kLark:
      return "lark";
    case Language::kJsonSchema:
      return "json_schema";
    case Language::kRegex:
      return "regex";
  }
  return "";
}

/// llguidance's own limits, its defaults but for what is said here. They bound work and memory, and
/// so time: its header says how fast each is spent.
LlgConstraintInit limits_for(const Vocabulary& vocabulary) {
  LlgConstraintInit init{};
  vocabulary.call().constraint_init_set_defaults(&init, vocabulary.tokenizer());
  init.log_stderr_level = 0;
  init.limits.max_lexer_states = 50'000;         // of 1 to 2 kB each, a walk
  init.limits.precompute_large_lexemes = false;  // it walks the vocabulary for each of them
  init.limits.verbose_errors = false;
  return init;
}

class LlguidanceGrammar : public Grammar {
 public:
  explicit LlguidanceGrammar(std::shared_ptr<const Compiled> compiled)
      : compiled_(std::move(compiled)) {}

  std::unique_ptr<MaskWalk> start() const override { return std::make_unique<Walk>(compiled_); }
  int vocab_size() const override { return compiled_->vocabulary->size(); }

 private:
  std::shared_ptr<const Compiled> compiled_;
};

/// A rule that only leads to itself has no sentence, nor has one that this vocabulary cannot write.
void require_a_beginning(const std::shared_ptr<const Compiled>& compiled) {
  try {
    if (count_allowed(Walk(compiled).allowed_after({})) > 0) return;
  } catch (const EvaluationError& error) {
    throw GrammarError(error.what());
  }
  throw GrammarError("no response is allowed: no token begins one");
}

}  // namespace

std::shared_ptr<const Grammar> compile(std::shared_ptr<const Vocabulary> vocabulary,
                                       Language language, const std::string& text) {
  check_text(language, text);
  const Functions& call = vocabulary->call();
  const LlgConstraintInit init = limits_for(*vocabulary);
  LlgMatcher* made = nullptr;
  run_on_large_stack(kStackBytes,
                     [&] { made = call.new_matcher(&init, name_of(language), text.c_str()); });
  Matcher matcher(made, FreeMatcher{&call});
  if (call.matcher_is_error(matcher.get())) throw GrammarError(error_of(call, matcher.get()));
  auto compiled = std::make_shared<Compiled>(std::move(vocabulary), std::move(matcher));
  require_a_beginning(compiled);
  return std::make_shared<LlguidanceGrammar>(std::move(compiled));
}

}  // namespace rewardshift::llguidance
