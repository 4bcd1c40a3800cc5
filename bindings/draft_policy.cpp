#include "rewardshift/decode/draft_policy.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"

namespace rewardshift::bindings {

using namespace nb::literals;

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

  nb::class_<Acceptance>(m, "Acceptance", "How often drafts are accepted, by position.")
      .def(nb::init<double>(), "memory"_a)
      .def("count_round", &Acceptance::count_round, "accepted"_a, "rejected"_a)
      .def("at", &Acceptance::at, "position"_a, "prior"_a, "weight"_a);

  nb::class_<RoundPlan>(m, "RoundPlan", "A request that may play the next round.")
      .def(
          "__init__",
          [](RoundPlan* self, const Acceptance& acceptance, bool is_aligned, bool is_free,
             std::size_t most) {
            new (self) RoundPlan{&acceptance, is_aligned, is_free, most, most};
          },
          "acceptance"_a, nb::kw_only(), "is_aligned"_a, "is_free"_a, "most"_a,
          nb::keep_alive<1, 2>());

  nb::class_<AdaptivePolicy>(m, "AdaptivePolicy", "Chooses draft lengths.")
      .def(nb::init<>())
      .def("learn", &AdaptivePolicy::learn, "accepted"_a, "rejected"_a)
      .def(
          "choose",
          [](AdaptivePolicy& self, const std::vector<RoundPlan>& given, const CostCurve& target,
             const CostCurve& draft, const CostCurve& reference, bool share_batches,
             double own_seconds) {
            std::vector<RoundPlan> plans = given;
            self.choose(plans, {&target, &draft, &reference, share_batches, own_seconds});
            std::vector<std::size_t> lengths;
            for (const RoundPlan& plan : plans) lengths.push_back(plan.length);
            return lengths;
          },
          "plans"_a, nb::kw_only(), "target"_a, "draft"_a, "reference"_a, "share_batches"_a = false,
          "own_seconds"_a = 0.0, "The lengths for the plans; those that are not free keep theirs.");
}

}  // namespace rewardshift::bindings
