// What was seen to follow the last few tokens: drafts without a model.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "rewardshift/math/distribution.h"

namespace rewardshift {

/// From the last few tokens to the law of the next one, averaged over what was seen (STAND, Song et
/// al., EMNLP 2025).
///
/// The samples of one prompt resemble each other: those that share a table draft for each other. It
/// learns from every token they emit. Safe to use from several threads.
class NgramTable {
 public:
  static constexpr std::size_t kLongest = 4;  ///< tokens of the longest n-gram
  static constexpr std::size_t kKept = 10;    ///< most probable next tokens that are remembered

  /// Notes a sighting: `next` are the most probable tokens after `history`, with probabilities.
  void add(std::span<const Token> history, std::span<const WeightedToken> next);

  /// The law that followed the longest ending of the history that was ever seen: the average of its
  /// sightings, most probable first, lower ids first among equals. Empty where none was seen.
  std::vector<WeightedToken> after(std::span<const Token> history) const;

  /// How many tokens that ending has; 0 where none was seen.
  std::size_t longest_seen(std::span<const Token> history) const;

  /// How many n-grams were seen.
  std::size_t size() const;

 private:
  using Ngram = std::array<Token, kLongest>;  ///< shorter ones begin with -1
  struct Hash {
    std::size_t operator()(const Ngram& ngram) const;
  };
  struct Sightings {
    double count = 0.0;
    std::vector<WeightedToken> sums;  ///< of probabilities, largest first
  };

  std::size_t longest(std::span<const Token> history) const;
  static Ngram ending(std::span<const Token> history, std::size_t n);

  mutable std::mutex mutex_;
  std::unordered_map<Ngram, Sightings, Hash> seen_;
};

}  // namespace rewardshift
