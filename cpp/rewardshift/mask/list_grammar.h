// The simplest grammar: a list of responses.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "rewardshift/mask/mask.h"

namespace rewardshift {

/// Allows the responses it was given, token by token, each followed by any end-of-generation token.
/// To rehearse with: what may follow is told by looking at the list.
class ListGrammar : public Grammar {
 public:
  /// Throws std::invalid_argument for no sequences, an id outside [0, vocab_size), or a sequence
  /// that holds an end-of-generation token.
  ListGrammar(const std::vector<std::vector<Token>>& sequences, int vocab_size,
              std::set<Token> end_of_generation);

  std::unique_ptr<MaskWalk> start() const override;
  int vocab_size() const override;

  struct Trie;

 private:
  std::shared_ptr<const Trie> trie_;  ///< walks live on after the grammar
};

}  // namespace rewardshift
