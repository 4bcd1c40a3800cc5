#include "rewardshift/vocabulary/rank_tokenizer.h"

namespace rewardshift {

RankTokenizer::RankTokenizer(const std::vector<std::string>& bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (!bytes[i].empty()) ranks_.emplace(bytes[i], static_cast<Token>(i));
  }
}

std::vector<Token> RankTokenizer::tokens_of(std::string_view text) const {
  std::vector<std::string> parts;
  for (const char byte : text) parts.emplace_back(1, byte);
  while (true) {
    auto best = ranks_.end();
    std::size_t place = 0;
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const auto found = ranks_.find(parts[i - 1] + parts[i]);
      if (found == ranks_.end() || (best != ranks_.end() && found->second >= best->second))
        continue;
      best = found;
      place = i;
    }
    if (best == ranks_.end()) break;
    parts[place - 1] = best->first;
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(place));
  }
  std::vector<Token> tokens;
  for (const std::string& part : parts) {
    if (const auto found = ranks_.find(part); found != ranks_.end())
      tokens.push_back(found->second);
  }
  return tokens;
}

}  // namespace rewardshift
