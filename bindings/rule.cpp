// The mathematics, for tests and for whoever wants to see the rule at work on arrays.
#include "rewardshift/math/rule.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "bindings.h"
#include "rewardshift/math/rng.h"

namespace rewardshift::bindings {
namespace {

using Logits = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Probs = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using NewArray = nb::ndarray<nb::numpy, double, nb::ndim<1>>;

template <class Array>
auto span_of(const Array& array) {
  return std::span(array.data(), array.size());
}

NewArray give(std::vector<double>&& values) {
  auto* owned = new std::vector<double>(std::move(values));
  const nb::capsule owner(owned,
                          [](void* p) noexcept { delete static_cast<std::vector<double>*>(p); });
  return NewArray(owned->data(), {owned->size()}, owner);
}

void require(bool ok, const char* message) {
  if (!ok) throw std::invalid_argument(message);
}

void require_same_length(std::size_t a, std::size_t b) {
  require(a == b, "the arrays must have one length");
}

void require_token(Token token, std::size_t vocab_size) {
  require(token >= 0 && static_cast<std::size_t>(token) < vocab_size,
          "a token is outside the arrays");
}

std::tuple<NewArray, double, double> bound_goal(
    const Logits& target, const std::optional<Logits>& draft,
    const std::optional<Logits>& reference, double strength, double temperature, int top_k,
    double top_p, double min_p, const std::vector<std::pair<Token, double>>& logit_bias) {
  RoleLogits roles{span_of(target), {}, {}};
  if (draft) roles.draft = span_of(*draft);
  if (reference) roles.reference = span_of(*reference);
  if (strength != 0.0) {
    require_same_length(roles.target.size(), roles.draft.size());
    require_same_length(roles.target.size(), roles.reference.size());
  }
  require(target.size() > 0, "the arrays must not be empty");
  std::vector<Adjustment> adjustments;
  for (const auto& [token, bias] : logit_bias) {
    require_token(token, target.size());
    adjustments.push_back({token, bias, 1.0});
  }
  Workspace workspace;
  std::vector<double> probs(target.size());
  const Goal result =
      goal(roles, strength, {temperature, {top_k, top_p, min_p}, adjustments}, workspace, probs);
  return {give(std::move(probs)), result.log_z, result.paper_scale};
}

NewArray bound_law(const Probs& goal, const Probs& proposal, double scale) {
  require_same_length(goal.size(), proposal.size());
  std::vector<double> out(goal.size());
  law(span_of(goal), span_of(proposal), scale, out);
  return give(std::move(out));
}

std::tuple<Token, bool, bool> bound_decide(Token drafted, const Probs& goal, const Probs& proposal,
                                           double scale, double accept_uniform,
                                           double residual_uniform) {
  require_same_length(goal.size(), proposal.size());
  require_token(drafted, goal.size());
  const Decision d =
      decide(drafted, span_of(goal), span_of(proposal), scale, accept_uniform, residual_uniform);
  return {d.token, d.accepted, d.empty_residual};
}

std::tuple<Token, bool> bound_decide_one_of(const std::vector<Token>& drafted, const Probs& goal,
                                            const std::vector<std::pair<Token, double>>& proposal,
                                            const std::vector<double>& accept_uniforms,
                                            double residual_uniform) {
  std::vector<double> left;
  std::vector<WeightedToken> proposal_left;
  for (const auto& [token, weight] : proposal) {
    require_token(token, goal.size());
    proposal_left.emplace_back(weight, token);
  }
  require(drafted.size() == accept_uniforms.size(), "each drafted token needs a uniform");
  for (const Token token : drafted) {
    const auto found = std::ranges::find(proposal_left, token, &WeightedToken::second);
    require(found != proposal_left.end() && found->first > 0.0,
            "a drafted token must have weight in the proposal");
  }
  const Decision d =
      decide_one_of(drafted, span_of(goal), proposal_left, accept_uniforms, residual_uniform, left);
  return {d.token, d.accepted};
}

}  // namespace

void register_rule(nb::module_& m) {
  using namespace nb::literals;
  m.def("goal", bound_goal, "target"_a, "draft"_a.none(), "reference"_a.none(), "strength"_a = 1.0,
        "temperature"_a = 1.0, "top_k"_a = 0, "top_p"_a = 1.0, "min_p"_a = 0.0,
        "logit_bias"_a = std::vector<std::pair<Token, double>>{},
        "pi* of float32 logits of shape (vocabulary,): probabilities, log Z, the paper's scale.");
  m.def("law", bound_law, "goal"_a, "proposal"_a, "scale"_a = 1.0,
        "The law of one decision over float64 probabilities of shape (vocabulary,).");
  m.def("decide", bound_decide, "drafted"_a, "goal"_a, "proposal"_a, "scale"_a, "accept_uniform"_a,
        "residual_uniform"_a,
        "Accepts or corrects a drafted token: token, accepted, residual was empty.");
  m.def("decide_one_of", bound_decide_one_of, "drafted"_a, "goal"_a, "proposal"_a,
        "accept_uniforms"_a, "residual_uniform"_a,
        "Accepts one of several tokens drafted without replacement from a proposal, pairs of token "
        "and weight, or corrects them all: token, accepted.");
  m.def(
      "sample",
      [](const Probs& weights, double u) {
        require(weights.size() > 0, "the arrays must not be empty");
        return sample(span_of(weights), u);
      },
      "weights"_a, "u"_a, "The first token whose cumulative weight exceeds u times the total.");
  m.def(
      "uniform",
      [](std::uint64_t seed, std::uint32_t stream, std::uint64_t position, std::uint32_t purpose,
         std::uint32_t index) {
        return Uniforms(seed, stream)(position, static_cast<Purpose>(purpose), index);
      },
      "seed"_a, "stream"_a, "position"_a, "purpose"_a, "index"_a = 0,
      "The uniform number of a decision; purposes: 0 proposal, 1 accept, 2 residual, 3 goal.");
}

}  // namespace rewardshift::bindings
