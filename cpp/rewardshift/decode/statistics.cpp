#include "rewardshift/decode/statistics.h"

#include <algorithm>

namespace rewardshift {

void Statistics::count_round(Source source, std::size_t drafted_tokens, std::size_t accepted_tokens,
                             std::size_t rejected_tokens, std::size_t emitted) {
  const std::size_t kept = std::min(accepted_tokens, emitted);
  const std::size_t decided = std::min(accepted_tokens + rejected_tokens, emitted);
  ++rounds;
  drafted += static_cast<std::int64_t>(drafted_tokens);
  accepted += static_cast<std::int64_t>(kept);
  drafted_by[static_cast<std::size_t>(source)] += static_cast<std::int64_t>(drafted_tokens);
  accepted_by[static_cast<std::size_t>(source)] += static_cast<std::int64_t>(kept);
  if (drafted_at.size() < decided) {
    drafted_at.resize(decided);
    accepted_at.resize(decided);
  }
  for (std::size_t i = 0; i < decided; ++i) {
    ++drafted_at[i];
    if (i < kept) ++accepted_at[i];
  }
}

}  // namespace rewardshift
