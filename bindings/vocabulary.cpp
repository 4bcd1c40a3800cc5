#include "rewardshift/vocabulary/vocabulary.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.h"
#include "interrupt.h"
#include "rewardshift/llama/vocabulary.h"
#include "rewardshift/math/distribution.h"
#include "rewardshift/require.h"
#include "rewardshift/vocabulary/canonical.h"
#include "rewardshift/vocabulary/map.h"
#include "rewardshift/vocabulary/mapped_model.h"
#include "rewardshift/vocabulary/rank_tokenizer.h"
#include "rewardshift/vocabulary/reading.h"

namespace rewardshift::bindings {

using namespace nb::literals;

namespace {

using Row = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::string_view view_of(const nb::bytes& bytes) {
  return {static_cast<const char*>(bytes.data()), bytes.size()};
}

void require_token(Token token, int end) {
  require(token >= 0 && token < end, "a token", "in the vocabulary", token);
}

Vocabulary make_vocabulary(const std::vector<nb::bytes>& pieces,
                           const std::map<Token, TokenRole>& roles, std::optional<Token> begin) {
  Vocabulary all;
  for (const nb::bytes& piece : pieces) all.bytes.emplace_back(view_of(piece));
  all.roles.assign(pieces.size(), TokenRole::text);
  if (begin) require_token(*begin, all.size());
  for (const auto& [token, role] : roles) {
    require_token(token, all.size());
    all.roles[static_cast<std::size_t>(token)] = role;
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    TokenRole& role = all.roles[i];
    if (role == TokenRole::text && all.bytes[i].empty()) role = TokenRole::none;
    if (role != TokenRole::text && role != TokenRole::byte) all.bytes[i].clear();
  }
  all.begin = begin;
  all.tokenizer = std::make_shared<const RankTokenizer>(all.bytes);
  return all;
}

double share_of(const VocabularyMap& map, const Row& logits) {
  const std::span row(logits.data(), logits.size());
  require(row.size() == static_cast<std::size_t>(map.target().size()), "a row", "the target's",
          row.size());
  const double log_normaliser = log_normalisers(row, 1.0).at_one;
  require(std::isfinite(log_normaliser), "a row", "a distribution", log_normaliser);
  return map.share_of(row, log_normaliser);
}

std::vector<std::vector<std::pair<Token, float>>> refine(
    LanguageModel& model,
    const std::vector<std::tuple<int, std::vector<Token>, std::vector<Token>>>& histories) {
  std::vector<Refinement> requests;
  for (const auto& [sequence, tokens, likely] : histories) {
    requests.push_back({sequence, tokens, likely});
  }
  std::vector<std::vector<std::pair<Token, float>>> all;
  for (const auto& corrections : run_interruptibly([&] { return model.refine(requests); })) {
    auto& pairs = all.emplace_back();
    for (const auto& [token, more] : corrections) pairs.emplace_back(token, more);
  }
  return all;
}

/// A reading that does not trust who asks.
class BoundReading {
 public:
  explicit BoundReading(std::shared_ptr<const VocabularyMap> map)
      : end_(map->target().size() + map->foreign().size()), reading_(std::move(map)) {}

  void read(const std::vector<Token>& history) {
    for (const Token token : history) require_token(token, end_);
    reading_.read(history);
  }

  std::vector<Token> after(std::size_t n) const {
    require_read(n);
    return reading_.after(n);
  }

  std::vector<Token> settled_after(std::size_t n) const {
    require_read(n);
    const auto settled = reading_.settled_after(n);
    return {settled.begin(), settled.end()};
  }

 private:
  void require_read(std::size_t n) const {
    require(n <= reading_.size(), "n", "at most " + std::to_string(reading_.size()), n);
  }

  int end_;
  Reading reading_;
};

void register_tokens(nb::module_& m) {
  nb::enum_<TokenRole>(m, "TokenRole", "What a token is for.")
      .value("text", TokenRole::text)
      .value("byte", TokenRole::byte)
      .value("end_of_text", TokenRole::end_of_text)
      .value("end_of_turn", TokenRole::end_of_turn)
      .value("other_end", TokenRole::other_end)
      .value("none", TokenRole::none);

  nb::class_<Vocabulary>(m, "Vocabulary", "Tokens as bytes, and how text is cut into them.")
      .def(
          "__init__",
          [](Vocabulary* self, const std::vector<nb::bytes>& pieces,
             const std::map<Token, TokenRole>& roles, std::optional<Token> begin) {
            new (self) Vocabulary(make_vocabulary(pieces, roles, begin));
          },
          "pieces"_a, nb::kw_only(), "roles"_a = std::map<Token, TokenRole>{},
          "begin"_a = nb::none(),
          "Tokens as given, of role `text` unless they are empty or `roles` has another. Text is "
          "cut by byte-pair encoding, whose merges are ranked by token id.")
      .def_static(
          "of_model",
          [](std::shared_ptr<llama::Model> model) { return llama::vocabulary_of(model); },
          "model"_a, nb::call_guard<nb::gil_scoped_release>(),
          "A GGUF model's, with its own tokenizer. Raises ModelLoadError where it has none.")
      .def("__len__", &Vocabulary::size)
      .def_ro("begin", &Vocabulary::begin, "What its texts begin with.")
      .def(
          "bytes_of",
          [](const Vocabulary& vocabulary, Token token) {
            require_token(token, vocabulary.size());
            const std::string_view bytes = vocabulary.bytes_of(token);
            return nb::bytes(bytes.data(), bytes.size());
          },
          "token"_a)
      .def(
          "role_of",
          [](const Vocabulary& vocabulary, Token token) {
            require_token(token, vocabulary.size());
            return vocabulary.role_of(token);
          },
          "token"_a);

  nb::class_<CanonicalTokenizer>(m, "CanonicalTokenizer", "Bytes to tokens, in one way only.")
      .def(nb::init<std::shared_ptr<const Vocabulary>>(), "vocabulary"_a)
      .def_ro_static("longest", &CanonicalTokenizer::kLongest,
                     "Bytes without a boundary that are not cut.")
      .def(
          "tokens_of",
          [](const CanonicalTokenizer& tokenizer, const nb::bytes& text) {
            return tokenizer.tokens_of(view_of(text));
          },
          "text"_a)
      .def(
          "tokens_between",
          [](const CanonicalTokenizer& tokenizer, const nb::bytes& text) {
            return tokenizer.tokens_between(view_of(text));
          },
          "text"_a, "Without looking for boundaries.");
}

void register_map(nb::module_& m) {
  nb::class_<VocabularyMap>(m, "VocabularyMap", "What a target's tokens are in a foreign one.")
      .def(nb::init<std::shared_ptr<const Vocabulary>, std::shared_ptr<const Vocabulary>>(),
           "target"_a, "foreign"_a, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "pieces",
          [](const VocabularyMap& map, Token token) {
            require_token(token, map.target().size());
            const auto pieces = map.pieces(token);
            return std::vector<Token>(pieces.begin(), pieces.end());
          },
          "token"_a,
          "Its twin, or its bytes' canonical tokenisation; empty for what corresponds to nothing.")
      .def(
          "has_twin",
          [](const VocabularyMap& map, Token token) {
            require_token(token, map.target().size());
            return map.has_twin(token);
          },
          "token"_a)
      .def_prop_ro("share", &VocabularyMap::share,
                   "Of the target's text tokens, how many have a twin.")
      .def("share_of", share_of, "logits"_a,
           "Of the mass of a target's row of logits, how much lies on tokens with a twin.")
      .def_prop_ro("expansion", &VocabularyMap::expansion,
                   "Foreign tokens for a text token of the target, on average.");

  nb::class_<BoundReading>(m, "Reading", "A history of the target's tokens as foreign ones.")
      .def(nb::init<std::shared_ptr<const VocabularyMap>>(), "map"_a)
      .def("read", &BoundReading::read, "history"_a,
           "Tokens of the target, or its size plus a foreign token.")
      .def("after", &BoundReading::after, "n"_a, "Foreign tokens for the history's first n tokens.")
      .def("settled_after", &BoundReading::settled_after, "n"_a,
           "Those of them that no text to come can change.");
}

}  // namespace

void register_vocabulary(nb::module_& m) {
  register_tokens(m);
  register_map(m);

  nb::class_<MappedModel, LanguageModel>(m, "MappedModel", "A model seen through a VocabularyMap.")
      .def(nb::init<LanguageModel&, std::shared_ptr<const VocabularyMap>, int>(), "model"_a,
           "map"_a, "spare"_a = 0, nb::keep_alive<1, 2>(),
           "The model's last `spare` sequences are kept for refining many tokens at once.")
      .def("refine", refine, "histories"_a,
           "For each (sequence, tokens, likely tokens): pairs of those tokens and what is to be "
           "added to what the row after the history says of them, where logits() is rough.");
}

}  // namespace rewardshift::bindings
