// Randomness as a pure function: which number is drawn depends only on what it decides.
#pragma once

#include <cstdint>

namespace rewardshift {

/// What a uniform number decides. One number is drawn per (position, purpose, index), never twice
/// used.
enum class Purpose : std::uint32_t { proposal = 0, accept = 1, residual = 2, goal = 3 };

/// The uniform numbers of one request: Philox4x32-10 (Salmon et al., SC 2011) keyed by the seed,
/// counted by (substream, position, purpose, index).
///
/// A draw depends neither on the order of draws, nor on what else is decoded at the same time,
/// nor on how long the drafts are. Requests that share a seed differ by their substream.
class Uniforms {
 public:
  Uniforms(std::uint64_t seed, std::uint32_t substream) : seed_(seed), substream_(substream) {}

  /// Uniform in [0, 1) with 53 random bits. `position` counts the tokens of the response from 0;
  /// `index`, below 2^24, tells apart what a tree decides at one position.
  double operator()(std::uint64_t position, Purpose purpose, std::uint32_t index = 0) const;

 private:
  std::uint64_t seed_;
  std::uint32_t substream_;
};

}  // namespace rewardshift
