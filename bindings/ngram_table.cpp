#include "rewardshift/decode/ngram_table.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <utility>

#include "bindings.h"
#include "rewardshift/require.h"

namespace rewardshift::bindings {

using namespace nb::literals;

namespace {

using Pairs = std::vector<std::pair<Token, double>>;

void add(NgramTable& table, const std::vector<Token>& history, const Pairs& next) {
  std::vector<WeightedToken> weighted;
  for (const Token token : history) require(token >= 0, "a token", "at least 0", token);
  for (const auto& [token, probability] : next) {
    require(token >= 0, "a token", "at least 0", token);
    require(std::isfinite(probability) && probability > 0.0, "a probability", "finite and > 0",
            probability);
    weighted.emplace_back(probability, token);
  }
  table.add(history, weighted);
}

Pairs after(const NgramTable& table, const std::vector<Token>& history) {
  Pairs pairs;
  for (const auto& [probability, token] : table.after(history)) {
    pairs.emplace_back(token, probability);
  }
  return pairs;
}

}  // namespace

void register_ngram_table(nb::module_& m) {
  nb::class_<NgramTable>(m, "NgramTable", "What was seen to follow the last few tokens.")
      .def(nb::init<>())
      .def("add", add, "history"_a, "next"_a,
           "Notes a sighting, as pairs of the most probable tokens after a history and their "
           "probabilities.")
      .def("after", after, "history"_a,
           "The average of what followed the longest ending of the history, of 4 tokens at most, "
           "that was ever seen. Up to 10 pairs of token and probability, most probable first.")
      .def("__len__", &NgramTable::size, "How many n-grams were seen.");
}

}  // namespace rewardshift::bindings
