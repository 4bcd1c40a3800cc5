// What a request cost and how its decisions fell.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "rewardshift/decode/acceptance.h"

namespace rewardshift {

/// Where an emitted token came from. Plain decoding emits only bonus tokens; a forced one is the
/// only token that the grammar allowed.
enum class Origin { draft, correction, bonus, forced };

/// Counts of one request. A round drafts 0 or more tokens and emits at least one.
struct Statistics {
  std::int64_t rounds = 0;
  std::int64_t drafted = 0;
  std::int64_t accepted = 0;
  std::array<std::int64_t, kSources> drafted_by{};   ///< by source
  std::array<std::int64_t, kSources> accepted_by{};  ///< by source
  std::vector<std::int64_t> drafted_at;   ///< by position in the draft: tokens that were decided on
  std::vector<std::int64_t> accepted_at;  ///< of these, the accepted ones
  std::int64_t empty_residuals = 0;       ///< corrections drawn from pi* for want of a residual

  /// Seconds spent on each reader, and in our own code; the time of a step is divided equally among
  /// the requests that were under way. Prefill included.
  std::vector<double> reader_seconds;
  double own_seconds = 0.0;

  /// Counts a round of which `emitted` tokens became part of the response, all but those behind
  /// the end of the text.
  void count_round(Source source, std::size_t drafted_tokens, std::size_t accepted_tokens,
                   std::size_t rejected_tokens, std::size_t emitted);
};

}  // namespace rewardshift
