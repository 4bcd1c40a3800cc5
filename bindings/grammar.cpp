#include <nanobind/stl/optional.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <set>
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
}

}  // namespace rewardshift::bindings
