#include "rewardshift/decode/shaper.h"

namespace rewardshift {

Shaping Shaper::after(Request& request, std::span<const Token> drafts) {
  const RequestParams& params = request.params;
  text_.clear();
  if (params.penalises() || request.walk != nullptr) {  // else nobody reads it
    const auto before = request.text_so_far();
    text_.assign(before.begin(), before.end());
    text_.insert(text_.end(), drafts.begin(), drafts.end());
  }
  adjustments_at(params, text_, adjustments_);
  Shaping shaping{params.temperature, {params.top_k, params.top_p, params.min_p}, adjustments_, {}};
  if (request.walk != nullptr) {
    const auto response = std::span<const Token>(text_).subspan(request.prompt_size.front());
    shaping.allowed = request.walk->allowed_after(response);
  }
  return shaping;
}

}  // namespace rewardshift
