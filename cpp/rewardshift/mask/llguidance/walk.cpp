#include "rewardshift/mask/llguidance/walk.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "rewardshift/error.h"

namespace rewardshift::llguidance {

std::string error_of(const Functions& call, LlgMatcher* matcher) {
  const char* told = call.matcher_get_error(matcher);
  std::string_view error = told == nullptr ? "no reason given" : told;
  for (const std::string_view noise : {"\n<backtrace>", "\n<state>", "\n<non-verbose/>"}) {
    error = error.substr(0, error.find(noise));
  }
  return std::string(error);
}

Matcher Compiled::clone() const {
  const std::scoped_lock lock(cloning);
  return {vocabulary->call().clone_matcher(fresh.get()), FreeMatcher{&vocabulary->call()}};
}

Walk::Walk(std::shared_ptr<const Compiled> compiled)
    : compiled_(std::move(compiled)),
      matcher_(compiled_->clone()),
      nothing_(mask_words(compiled_->vocabulary->size())) {}

Mask Walk::allowed_after(std::span<const Token> response) {
  if (!gave_up_.empty()) give_up();
  const auto [ours, theirs] = std::ranges::mismatch(path_, response);
  const auto common = static_cast<std::size_t>(ours - path_.begin());
  if (common < response.size()) {
    leave_path_at(common);
    if (!follow(response)) return nothing_;
  }
  return compute(response.size());
}

/// Forgets what follows the first `length` tokens of the path.
void Walk::leave_path_at(std::size_t length) {
  path_.resize(length);
  for (Kept& kept : kept_) {
    if (kept.length && *kept.length > length) kept.length.reset();
  }
  if (at_ > length && matcher_) move_to(length);
}

/// Makes the response the path, or as much of it as begins a sentence; whether that is all of it.
bool Walk::follow(std::span<const Token> response) {
  while (path_.size() < response.size()) {
    const Kept& known = kept(path_.size());
    // Told from the mask, as every refusal is: that a text is too costly to read is not said by the
    // function that reads several tokens.
    std::size_t allowed = 0;
    if (known.length != path_.size()) {
      move_to(path_.size());
      allowed = read(response.subspan(path_.size()));
    }
    if (allowed == 0) {
      const Token next = response[path_.size()];
      if (!is_allowed(compute(path_.size()), next)) return false;
      if (!is_allowed(compiled_->vocabulary->text(), next)) return false;  // it ends the response
      allowed = 1;
    }
    const auto begin = response.begin() + static_cast<std::ptrdiff_t>(path_.size());
    path_.insert(path_.end(), begin, begin + static_cast<std::ptrdiff_t>(allowed));
  }
  return true;
}

/// How many of the tokens, which follow the path, surely begin sentences: the matcher is at its
/// end.
std::size_t Walk::read(std::span<const Token> tokens) {
  const Mask text = compiled_->vocabulary->text();
  const auto end = std::ranges::find_if(tokens, [&](Token t) { return !is_allowed(text, t); });
  const std::vector<std::uint32_t> ids(tokens.begin(), end);
  const auto& call = compiled_->vocabulary->call();
  const std::int32_t valid = call.matcher_validate_tokens(matcher_.get(), ids.data(), ids.size());
  if (valid < 0) give_up();
  return static_cast<std::size_t>(valid);
}

/// Takes the matcher to the end of the first `length` tokens of the path.
void Walk::move_to(std::size_t length) {
  const auto& call = compiled_->vocabulary->call();
  if (!matcher_) {
    matcher_ = compiled_->clone();
    at_ = 0;
  }
  std::int32_t status = 0;
  if (at_ > length) {
    status = call.matcher_rollback(matcher_.get(), at_ - length);
  } else if (at_ < length) {
    const std::vector<std::uint32_t> ids(path_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         path_.begin() + static_cast<std::ptrdiff_t>(length));
    status = call.matcher_consume_tokens(matcher_.get(), ids.data(), ids.size());
  }
  if (status < 0) give_up();
  at_ = length;
}

/// The mask after the first `length` tokens of the path, as remembered or computed.
Mask Walk::compute(std::size_t length) {
  Kept& slot = kept(length);
  if (slot.length == length) return slot.mask;
  slot.length.reset();
  move_to(length);
  mask_of_matcher(slot.mask);
  slot.length = length;
  return slot.mask;
}

void Walk::mask_of_matcher(std::vector<std::uint32_t>& mask) {
  const Vocabulary& vocabulary = *compiled_->vocabulary;
  const Functions& call = vocabulary.call();
  mask.assign(nothing_.size(), 0U);
  const bool stopped = call.matcher_is_stopped(matcher_.get());
  const bool complete = stopped || call.matcher_is_accepting(matcher_.get());
  if (!stopped) {
    const std::size_t bytes = mask.size() * sizeof(mask[0]);
    if (call.matcher_compute_mask_into(matcher_.get(), mask.data(), bytes) < 0) {
      // No token of this vocabulary goes on: an empty mask, and a matcher that is of no more use.
      if (!error_of(call, matcher_.get()).starts_with("NoExtensionBias")) give_up();
      matcher_.reset();
    }
  }
  for (std::size_t i = 0; i < mask.size(); ++i) {
    mask[i] &= vocabulary.text()[i];
    if (complete) mask[i] |= vocabulary.end_of_generation()[i];
  }
}

void Walk::give_up() {
  if (gave_up_.empty()) {
    gave_up_ = "the grammar cannot tell what may follow: " +
               error_of(compiled_->vocabulary->call(), matcher_.get());
  }
  throw EvaluationError(gave_up_);
}

}  // namespace rewardshift::llguidance
