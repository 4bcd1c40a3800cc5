#include "rewardshift/decode/statistics.h"

namespace rewardshift {

void Statistics::count_round(int decided, int accepted_tokens, int drafted_tokens) {
  ++rounds;
  drafted += drafted_tokens;
  accepted += accepted_tokens;
  const auto positions = static_cast<std::size_t>(decided);
  if (drafted_at.size() < positions) {
    drafted_at.resize(positions);
    accepted_at.resize(positions);
  }
  for (std::size_t i = 0; i < positions; ++i) {
    ++drafted_at[i];
    if (static_cast<int>(i) < accepted_tokens) ++accepted_at[i];
  }
}

}  // namespace rewardshift
