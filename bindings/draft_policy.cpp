#include "rewardshift/decode/draft_policy.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bindings.h"
#include "rewardshift/require.h"

namespace rewardshift::bindings {

using namespace nb::literals;

namespace {

using Numbers = std::vector<std::size_t>;

DraftOutcome outcome(DraftKind kind, std::size_t drafted, const Numbers& accepted, bool rejected) {
  const std::size_t end = is_chain(kind) ? std::min(drafted, accepted.size()) : drafted;
  for (const std::size_t number : accepted) {
    require(number < end, "a number of an accepted draft", "below drafted", number);
  }
  return {kind, drafted, accepted, rejected};
}

}  // namespace

void register_draft_policy(nb::module_& m) {
  nb::class_<CostCurve>(m, "CostCurve", "Seconds of a batch by its number of rows.")
      .def(
          "__init__",
          [](CostCurve* self, const std::vector<std::pair<std::size_t, double>>& pairs) {
            std::vector<Cost> costs;
            for (const auto& [rows, seconds] : pairs) costs.push_back({rows, seconds});
            new (self) CostCurve(costs);
          },
          "costs"_a, "Pairs of rows and seconds, ascending.")
      .def("seconds", &CostCurve::seconds, "rows"_a)
      .def("observe", &CostCurve::observe, "rows"_a, "seconds"_a,
           "Notes what a batch took just now.");

  nb::enum_<DraftKind>(m, "DraftKind", "How a round's drafts are made.")
      .value("chain", DraftKind::chain)
      .value("shifted_chain", DraftKind::shifted_chain)
      .value("tree", DraftKind::tree)
      .value("shifted_tree", DraftKind::shifted_tree)
      .value("after_1", DraftKind::after_1)
      .value("after_2", DraftKind::after_2)
      .value("after_3", DraftKind::after_3)
      .value("after_4", DraftKind::after_4)
      .value("quote_short", DraftKind::quote_short)
      .value("quote_long", DraftKind::quote_long);

  nb::class_<Acceptances>(m, "Acceptances", "How often drafts are accepted, by kind and number.")
      .def(nb::init<double>(), "memory"_a)
      .def(
          "count",
          [](Acceptances& self, DraftKind kind, std::size_t drafted, const Numbers& accepted,
             bool rejected) { self.count(outcome(kind, drafted, accepted, rejected)); },
          "kind"_a, "drafted"_a, "accepted"_a, "rejected"_a = false,
          "Notes a round by the numbers of its drafts that were accepted.")
      .def(
          "at",
          [](const Acceptances& self, DraftKind kind, std::size_t number, double prior,
             double weight) { return self.of(kind).at(number, prior, weight); },
          "kind"_a, "number"_a, "prior"_a, "weight"_a);

  nb::class_<WayCosts>(m, "WayCosts", "What a way to draft asks of the models.")
      .def(
          "__init__",
          [](WayCosts* self, DraftKind kind, Numbers drafting, Numbers scoring) {
            new (self) WayCosts{kind, std::move(drafting), std::move(scoring)};
          },
          "kind"_a, nb::kw_only(), "drafting"_a, "scoring"_a,
          "Models by number, one entry for each reader: asked in each turn, and for the block.");

  nb::class_<RoundPlan>(m, "RoundPlan", "A request that may play the next round.")
      .def(
          "__init__",
          [](RoundPlan* self, const Acceptances& acceptances, Numbers goal,
             std::vector<WayCosts> ways, bool is_free, std::size_t most) {
            new (self)
                RoundPlan{&acceptances, std::move(goal), std::move(ways), is_free, most, most};
          },
          "acceptances"_a, nb::kw_only(), "goal"_a, "ways"_a, "is_free"_a, "most"_a,
          nb::keep_alive<1, 2>());

  nb::class_<AdaptivePolicy>(m, "AdaptivePolicy", "Chooses draft lengths.")
      .def(nb::init<>())
      .def(
          "learn",
          [](AdaptivePolicy& self, DraftKind kind, std::size_t drafted, const Numbers& accepted,
             bool rejected) { self.learn(outcome(kind, drafted, accepted, rejected)); },
          "kind"_a, "drafted"_a, "accepted"_a, "rejected"_a = false)
      .def(
          "choose",
          [](AdaptivePolicy& self, const std::vector<RoundPlan>& given,
             const std::vector<const CostCurve*>& models, double row_seconds,
             std::vector<std::size_t> takes_back) {
            std::vector<RoundPlan> plans = given;
            self.choose(plans, {models, row_seconds, std::move(takes_back)});
            std::vector<std::pair<std::size_t, std::size_t>> chosen;
            for (const RoundPlan& plan : plans) chosen.emplace_back(plan.way, plan.length);
            return chosen;
          },
          "plans"_a, nb::kw_only(), "models"_a, "row_seconds"_a = 0.0, "takes_back"_a = Numbers{},
          "Ways, by number, and lengths for the plans; those that are not free keep theirs.");
}

}  // namespace rewardshift::bindings
