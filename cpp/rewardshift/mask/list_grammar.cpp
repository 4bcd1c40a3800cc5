#include "rewardshift/mask/list_grammar.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "rewardshift/require.h"

namespace rewardshift {

struct ListGrammar::Trie {
  struct Node {
    std::map<Token, std::size_t> next;  ///< by token, the node's index
    bool complete = false;
  };

  int vocab_size;
  std::set<Token> end_of_generation;
  std::vector<Node> nodes{Node{}};

  void require_token(Token token) const {
    require(token >= 0 && token < vocab_size, "a token", "in the vocabulary", token);
  }

  void add(const std::vector<Token>& sequence) {
    std::size_t at = 0;
    for (const Token token : sequence) {
      require_token(token);
      require(!end_of_generation.contains(token), "a token of a sequence",
              "none that ends generation", token);
      const auto [found, is_new] = nodes[at].next.try_emplace(token, nodes.size());
      at = found->second;
      if (is_new) nodes.emplace_back();
    }
    nodes[at].complete = true;
  }

  const Node* find(std::span<const Token> response) const {
    const Node* node = nodes.data();
    for (const Token token : response) {
      const auto found = node->next.find(token);
      if (found == node->next.end()) return nullptr;
      node = &nodes[found->second];
    }
    return node;
  }
};

namespace {

class ListWalk : public MaskWalk {
 public:
  explicit ListWalk(std::shared_ptr<const ListGrammar::Trie> trie)
      : trie_(std::move(trie)), words_(mask_words(trie_->vocab_size)) {}

  Mask allowed_after(std::span<const Token> response) override {
    std::ranges::fill(words_, 0U);
    if (const ListGrammar::Trie::Node* node = trie_->find(response)) {
      for (const auto& [token, _] : node->next) allow(token);
      if (node->complete)
        std::ranges::for_each(trie_->end_of_generation, [&](Token t) { allow(t); });
    }
    return words_;
  }

 private:
  void allow(Token token) {
    const auto bit = static_cast<std::size_t>(token);
    words_[bit / 32] |= 1U << (bit % 32);
  }

  std::shared_ptr<const ListGrammar::Trie> trie_;
  std::vector<std::uint32_t> words_;
};

}  // namespace

ListGrammar::ListGrammar(const std::vector<std::vector<Token>>& sequences, int vocab_size,
                         std::set<Token> end_of_generation) {
  require(vocab_size > 0, "vocab_size", "at least 1", vocab_size);
  require(!sequences.empty(), "sequences", "at least one", "an empty list");
  auto trie = std::make_shared<Trie>(Trie{vocab_size, std::move(end_of_generation)});
  for (const Token token : trie->end_of_generation) trie->require_token(token);
  for (const std::vector<Token>& sequence : sequences) trie->add(sequence);
  trie_ = std::move(trie);
}

std::unique_ptr<MaskWalk> ListGrammar::start() const { return std::make_unique<ListWalk>(trie_); }

int ListGrammar::vocab_size() const { return trie_->vocab_size; }

}  // namespace rewardshift
