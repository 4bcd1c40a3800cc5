#include "rewardshift/mask/llguidance/vocabulary.h"

#include <array>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/require.h"

namespace rewardshift::llguidance {
namespace {

void allow(std::vector<std::uint32_t>& mask, std::size_t token) {
  mask[token / 32] |= 1U << (token % 32);
}

/// llguidance marks control tokens by this byte; none are known to it by name here.
constexpr char kNeverInText = '\xff';

LlgTokenizer* build(const Functions& call, const std::vector<std::string>& pieces, Token end) {
  std::vector<std::uint32_t> lengths;
  std::string bytes;
  for (const std::string& piece : pieces) {
    lengths.push_back(static_cast<std::uint32_t>(piece.size()));
    bytes += piece;
  }
  LlgTokenizerInitV2 init{};
  init.struct_size = sizeof(init);
  init.vocab_size = static_cast<std::uint32_t>(pieces.size());
  init.tok_eos = end < 0 ? kNoToken : static_cast<std::uint32_t>(end);
  init.token_lens = lengths.data();
  init.token_bytes = reinterpret_cast<const std::uint8_t*>(bytes.c_str());
  // Never tokenizes: masks say what may follow, and leave to the models how text is cut.
  init.use_approximate_greedy_tokenize_fn = true;
  std::array<char, 1024> reason{};
  LlgTokenizer* tokenizer = call.new_tokenizer_v2(&init, reason.data(), reason.size());
  if (tokenizer == nullptr)
    throw Error(std::string("no grammar over this vocabulary: ") + reason.data());
  return tokenizer;
}

}  // namespace

Vocabulary::Vocabulary(std::shared_ptr<const Library> library, std::vector<std::string> pieces,
                       const std::set<Token>& end_of_generation)
    : library_(std::move(library)),
      size_(static_cast<int>(pieces.size())),
      text_(mask_words(size_)),
      end_of_generation_(mask_words(size_)) {
  require(!pieces.empty(), "pieces", "at least one", "none");
  for (const Token token : end_of_generation) {
    require(token >= 0 && token < size_, "a token that ends generation", "in the vocabulary",
            token);
    pieces[static_cast<std::size_t>(token)].clear();
    allow(end_of_generation_, static_cast<std::size_t>(token));
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].find(kNeverInText) != std::string::npos) pieces[i].clear();
    if (!pieces[i].empty()) allow(text_, i);
  }
  tokenizer_ = build(call(), pieces, end_of_generation.empty() ? -1 : *end_of_generation.begin());
}

Vocabulary::~Vocabulary() { call().free_tokenizer(tokenizer_); }

}  // namespace rewardshift::llguidance
