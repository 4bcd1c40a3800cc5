#include "rewardshift/mask/llguidance/grammar.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "rewardshift/mask/list_grammar.h"
#include "rewardshift/mask/mask.h"

namespace rewardshift::bindings {

using namespace nb::literals;

namespace {

/// A mask as the tokens it allows: for tests and for people; decoding reads the bits.
std::vector<Token> tokens_of(Mask mask) {
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < mask.size() * 32; ++i) {
    if (is_allowed(mask, static_cast<Token>(i))) tokens.push_back(static_cast<Token>(i));
  }
  return tokens;
}

void register_walk(nb::module_& m) {
  nb::class_<MaskWalk>(m, "MaskWalk", "Where one response is in its grammar.")
      .def(
          "allowed_after",
          [](MaskWalk& walk, const std::vector<Token>& response) {
            return tokens_of(walk.allowed_after(response));
          },
          "response"_a,
          "The tokens that may follow these, ascending; none where the response is ended or has "
          "left the grammar. Raises EvaluationError where that is too costly to tell.")
      .def(
          "count_after",
          [](MaskWalk& walk, const std::vector<Token>& response) {
            return count_allowed(walk.allowed_after(response));
          },
          "response"_a, "How many they are.")
      .def(
          "forced_after",
          [](MaskWalk& walk, const std::vector<Token>& response) {
            return forced_token(walk.allowed_after(response));
          },
          "response"_a, "The token that must follow, where it is the only one that may.");
}

void init_vocabulary(llguidance::Vocabulary* self, const std::string& library,
                     const nb::typed<nb::list, nb::bytes>& pieces,
                     const std::set<Token>& end_of_generation) {
  std::vector<std::string> bytes;
  for (const nb::handle piece : pieces) {
    const auto held = nb::cast<nb::bytes>(piece);
    bytes.emplace_back(held.c_str(), held.size());
  }
  const nb::gil_scoped_release released;
  new (self) llguidance::Vocabulary(std::make_shared<llguidance::Library>(library),
                                    std::move(bytes), end_of_generation);
}

void register_llguidance(nb::module_& m) {
  using llguidance::Language;
  using llguidance::Vocabulary;
  nb::enum_<Language>(m, "GrammarLanguage", "What a grammar is written in.")
      .value("LARK", Language::kLark)
      .value("JSON_SCHEMA", Language::kJsonSchema)
      .value("REGEX", Language::kRegex);

  nb::class_<Vocabulary>(m, "GrammarVocabulary", "Tokens as bytes, for the grammars over them.")
      .def("__init__", init_vocabulary, "library"_a, "pieces"_a, "end_of_generation"_a,
           "Opens llguidance's library. Pieces are the bytes of each token, empty for those that "
           "text never is. Raises Error where the library is not one that is known.")
      .def_prop_ro("size", &Vocabulary::size, "How many tokens there are.")
      .def(
          "compile",
          [](std::shared_ptr<Vocabulary> self, Language language, const std::string& text) {
            const nb::gil_scoped_release released;
            return std::const_pointer_cast<Grammar>(
                llguidance::compile(std::move(self), language, text));
          },
          "language"_a, "text"_a, "A grammar over these tokens. Raises GrammarError.");
}

}  // namespace

void register_grammar(nb::module_& m) {
  register_walk(m);
  nb::class_<Grammar>(m, "Grammar", "What a response may be, over one vocabulary.")
      .def("start", &Grammar::start, "A walk at the beginning of a response.")
      .def_prop_ro("vocab_size", &Grammar::vocab_size);

  nb::class_<ListGrammar, Grammar>(m, "ListGrammar", "A grammar of the responses in a list.")
      .def(nb::init<const std::vector<std::vector<Token>>&, int, std::set<Token>>(), "sequences"_a,
           "vocab_size"_a, "end_of_generation"_a,
           "Allows these sequences of tokens, each followed by any of the tokens that end "
           "generation.");
  register_llguidance(m);
}

}  // namespace rewardshift::bindings
