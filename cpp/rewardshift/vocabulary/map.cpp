#include "rewardshift/vocabulary/map.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

#include "rewardshift/math/distribution.h"

namespace rewardshift {
namespace {

/// The foreign control token that plays the part of the target's.
std::optional<Token> counterpart(const Vocabulary& target, const Vocabulary& foreign, Token token) {
  const auto first_of = [&](std::initializer_list<TokenRole> roles) -> std::optional<Token> {
    for (const TokenRole role : roles) {
      if (const auto found = foreign.find(role)) return found;
    }
    return std::nullopt;
  };
  using enum TokenRole;
  switch (target.role_of(token)) {
    case end_of_text:
      return first_of({end_of_text, end_of_turn, other_end});
    case end_of_turn:
    case other_end:
      return first_of({end_of_turn, end_of_text, other_end});
    default:
      return token == target.begin ? foreign.begin : std::nullopt;
  }
}

}  // namespace

VocabularyMap::VocabularyMap(std::shared_ptr<const Vocabulary> target,
                             std::shared_ptr<const Vocabulary> foreign)
    : target_(std::move(target)), foreign_(std::move(foreign)), tokenizer_(foreign_) {
  const auto size = static_cast<std::size_t>(target_->size());
  std::vector<std::optional<Token>> twins(size);
  std::vector<std::string_view> others;
  for (std::size_t i = 0; i < size; ++i) {
    const auto token = static_cast<Token>(i);
    const std::string_view bytes = target_->bytes_of(token);
    twins[i] = bytes.empty() ? counterpart(*target_, *foreign_, token) : tokenizer_.find(bytes);
    if (!twins[i] && !bytes.empty()) others.push_back(bytes);
  }
  const auto cut = tokenizer_.tokens_of_each(others);
  auto next = cut.begin();
  std::size_t texts = 0;
  std::size_t matched = 0;
  std::size_t pieces_of_texts = 0;
  twins_.resize((size + 31) / 32);
  begins_.push_back(0);
  for (std::size_t i = 0; i < size; ++i) {
    const bool is_text = !target_->bytes[i].empty();
    if (twins[i]) twins_[i / 32] |= 1U << (i % 32);
    if (twins[i]) {
      pieces_.push_back(*twins[i]);
    } else if (is_text) {
      pieces_.insert(pieces_.end(), next->begin(), next->end());
      splits_ = splits_ || next->size() > 1;
      ++next;
    }
    begins_.push_back(static_cast<std::uint32_t>(pieces_.size()));
    if (!is_text) continue;
    ++texts;
    matched += twins[i] ? 1 : 0;
    pieces_of_texts += pieces(static_cast<Token>(i)).size();
  }
  if (texts == 0) return;
  share_ = static_cast<double>(matched) / static_cast<double>(texts);
  expansion_ = std::max(1.0, static_cast<double>(pieces_of_texts) / static_cast<double>(texts));
}

double VocabularyMap::share_of(std::span<const float> logits, double log_normaliser) const {
  return mass_of(logits, log_normaliser, twins_);
}

}  // namespace rewardshift
