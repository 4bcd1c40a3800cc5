// The mathematics, for tests and for whoever wants to see the rule at work on arrays.
#include "rewardshift/math/rule.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <tuple>

#include "bindings.h"
#include "rewardshift/math/block.h"
#include "rewardshift/math/rng.h"

namespace rewardshift::bindings {
namespace {

using Logits = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Mask = nb::ndarray<const std::uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using NewArray = nb::ndarray<nb::numpy, double, nb::ndim<1>>;
using View = nb::ndarray<nb::numpy, const float, nb::ndim<1>>;
using TermArray = std::pair<Logits, double>;
using AdjustmentTuple = std::tuple<Token, double, double>;
using NormaliserPair = std::pair<double, double>;

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

void require_token(Token token, std::size_t vocab_size) {
  require(token >= 0 && static_cast<std::size_t>(token) < vocab_size,
          "a token is outside the arrays");
}

/// Weights that own their array.
class OwnedWeights {
 public:
  OwnedWeights(std::vector<float>&& of, double sum) : of_(std::move(of)), sum_(sum) {}

  explicit OwnedWeights(const Logits& of)
      : of_(of.data(), of.data() + of.size()), sum_(std::accumulate(of_.begin(), of_.end(), 0.0)) {
    require(std::ranges::all_of(of_, [](float w) { return w >= 0.0F; }) && sum_ > 0.0,
            "weights must not be negative, nor all zero");
  }

  operator Weights() const { return {of_, sum_}; }
  const std::vector<float>& of() const { return of_; }
  double sum() const { return sum_; }
  std::size_t size() const { return of_.size(); }

 private:
  std::vector<float> of_;
  double sum_;
};

void require_same_length(const OwnedWeights& a, const OwnedWeights& b) {
  require(a.size() == b.size(), "the arrays must have one length");
}

void require_drafted(Token token, const OwnedWeights& goal, const OwnedWeights& proposal) {
  require_same_length(goal, proposal);
  require_token(token, goal.size());
}

/// Terms, and how to shape their sum, borrowed from arrays.
struct Given {
  Given(const std::vector<TermArray>& arrays, double temperature, int top_k, double top_p,
        double min_p, const std::vector<AdjustmentTuple>& adjusted,
        const std::optional<Mask>& allowed) {
    require(!arrays.empty() && arrays.front().first.size() > 0, "the arrays must not be empty");
    for (const auto& [logits, weight] : arrays) {
      require(logits.size() == arrays.front().first.size(), "the arrays must have one length");
      terms.push_back({span_of(logits), weight});
    }
    for (const auto& [token, bias, penalty] : adjusted) {
      require_token(token, vocab_size());
      adjustments.push_back({token, bias, penalty});
    }
    shaping = {temperature, {top_k, top_p, min_p}, adjustments, {}};
    if (!allowed) return;
    require(allowed->size() == (vocab_size() + 31) / 32, "the mask needs a bit for each token");
    shaping.allowed = span_of(*allowed);
  }
  Given(const Given&) = delete;

  std::size_t vocab_size() const { return terms.front().logits.size(); }

  std::vector<Term> terms;
  std::vector<Adjustment> adjustments;
  Shaping shaping;
};

Workspace& workspace() {
  thread_local Workspace of_thread;
  return of_thread;
}

std::tuple<OwnedWeights, double, double, double> bound_shape(
    const std::vector<TermArray>& terms, double temperature, int top_k, double top_p, double min_p,
    const std::vector<AdjustmentTuple>& adjustments, const std::optional<Mask>& allowed) {
  const Given given(terms, temperature, top_k, top_p, min_p, adjustments, allowed);
  std::vector<float> weights(given.vocab_size());
  const Shaped shaped = shape(given.terms, given.shaping, workspace(), weights);
  return {OwnedWeights(std::move(weights), shaped.sum), shaped.log_normaliser, shaped.kept,
          shaped.log_best};
}

/// What goal() tells, owned.
struct OwnedGoal {
  OwnedWeights weights;
  double log_z;
  double paper_scale;
  double log_best;
  double log_normaliser;
  std::vector<NormaliserPair> normalisers;
};

OwnedGoal bound_goal(const std::vector<TermArray>& terms, double temperature, int top_k,
                     double top_p, double min_p, const std::vector<AdjustmentTuple>& adjustments,
                     const std::optional<Mask>& allowed) {
  const Given given(terms, temperature, top_k, top_p, min_p, adjustments, allowed);
  std::vector<float> weights(given.vocab_size());
  std::vector<LogNormalisers> normalisers(terms.size());
  const Goal made = goal(given.terms, given.shaping, workspace(), weights, normalisers);
  OwnedGoal result{{std::move(weights), made.weights.sum},
                   made.log_z,
                   made.paper_scale,
                   made.log_best,
                   made.log_normaliser,
                   {}};
  for (const auto& [at_one, tempered] : normalisers) {
    result.normalisers.emplace_back(at_one, tempered);
  }
  return result;
}

NewArray bound_law(const OwnedWeights& goal, const OwnedWeights& proposal, double scale) {
  require_same_length(goal, proposal);
  std::vector<double> out(goal.size());
  law(goal, proposal, scale, out);
  return give(std::move(out));
}

std::pair<double, double> bound_summary(const OwnedWeights& goal, const OwnedWeights& proposal,
                                        double scale, Token token) {
  require_drafted(token, goal, proposal);
  const LawSummary summary = summarise_law(goal, proposal, scale, token);
  return {summary.log_probability, summary.distance};
}

std::tuple<Token, bool, bool> bound_decide(Token drafted, const OwnedWeights& goal,
                                           const OwnedWeights& proposal, double scale,
                                           double accept_uniform, double residual_uniform) {
  require_drafted(drafted, goal, proposal);
  const Decision d = decide(drafted, goal, proposal, scale, accept_uniform, residual_uniform);
  return {d.token, d.accepted, d.empty_residual};
}

std::tuple<Token, bool> bound_decide_one_of(const std::vector<Token>& drafted,
                                            const OwnedWeights& goal,
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
      decide_one_of(drafted, goal, proposal_left, accept_uniforms, residual_uniform, left);
  return {d.token, d.accepted};
}

std::tuple<std::size_t, Token, bool> bound_decide_block(
    const std::vector<Token>& drafted, const std::vector<const OwnedWeights*>& goals,
    const std::vector<const OwnedWeights*>& proposals, const std::vector<double>& accept_uniforms,
    const std::vector<double>& residual_uniforms) {
  const std::size_t length = drafted.size();
  require(goals.size() == length && proposals.size() == length, "each draft needs a goal and a g");
  require(accept_uniforms.size() == length && residual_uniforms.size() == length,
          "each draft needs two uniforms");
  std::vector<Weights> goal_rows;
  std::vector<Weights> proposal_rows;
  for (std::size_t i = 0; i < length; ++i) {
    require_drafted(drafted[i], *goals[i], *proposals[i]);
    goal_rows.push_back(*goals[i]);
    proposal_rows.push_back(*proposals[i]);
    require(proposal_rows[i][drafted[i]] > 0.0, "a drafted token must have weight in its proposal");
  }
  const BlockDecision d =
      decide_block(drafted, goal_rows, proposal_rows, accept_uniforms, residual_uniforms);
  return {d.accepted, d.correction, d.empty_residual};
}

std::vector<std::pair<Token, double>> bound_most_probable(const OwnedWeights& weights,
                                                          std::size_t n) {
  std::vector<std::pair<Token, double>> best;
  for (const auto& [probability, token] : most_probable(weights, n, workspace())) {
    best.emplace_back(token, probability);
  }
  return best;
}

void register_weights(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<OwnedWeights>(m, "Weights",
                           "A distribution over the vocabulary: float32 weights, not negative, "
                           "that need not sum to one.")
      .def(nb::init<const Logits&>(), "of"_a)
      .def_prop_ro(
          "of", [](const OwnedWeights& self) { return View(self.of().data(), {self.size()}); },
          nb::rv_policy::reference_internal, "The weights, of shape (vocabulary,).")
      .def_prop_ro("sum", &OwnedWeights::sum);
  nb::class_<OwnedGoal>(m, "Goal", "pi* at one position, and what is told of it.")
      .def_ro("weights", &OwnedGoal::weights)
      .def_ro("log_z", &OwnedGoal::log_z)
      .def_ro("paper_scale", &OwnedGoal::paper_scale)
      .def_ro("log_best", &OwnedGoal::log_best)
      .def_ro("log_normaliser", &OwnedGoal::log_normaliser)
      .def_ro("normalisers", &OwnedGoal::normalisers,
              "Of each term's own logits, at temperature 1 and at that of the goal.");
}

void register_shaping(nb::module_& m) {
  using namespace nb::literals;
  const std::vector<AdjustmentTuple> none;
  m.def("shape", bound_shape, "terms"_a, "temperature"_a = 1.0, "top_k"_a = 0, "top_p"_a = 1.0,
        "min_p"_a = 0.0, "adjustments"_a = none, "allowed"_a.none() = nb::none(),
        "Weights of a sum of float32 logits of shape (vocabulary,), given with their factors: "
        "weights, log-normaliser, mass kept, log-probability of the best. Adjustments are a token, "
        "its bias and its penalty; the mask has a bit for each token in uint32 words.");
  m.def("goal", bound_goal, "terms"_a, "temperature"_a = 1.0, "top_k"_a = 0, "top_p"_a = 1.0,
        "min_p"_a = 0.0, "adjustments"_a = none, "allowed"_a.none() = nb::none(),
        "As shape(), and what is told of the goal.");
  m.def("most_probable", bound_most_probable, "weights"_a, "n"_a,
        "The n most probable tokens with their probabilities, lower ids first among equals.");
  m.def(
      "sample", [](const OwnedWeights& weights, double u) { return sample(weights, u); },
      "weights"_a, "u"_a, "The first token whose cumulative weight exceeds u times the total.");
  m.def(
      "entropy",
      [](const Logits& logits, double log_normaliser) {
        return entropy(span_of(logits), log_normaliser);
      },
      "logits"_a, "log_normaliser"_a, "Of a row at temperature 1, in nats.");
  m.def(
      "largest",
      [](const Logits& logits, std::size_t n) {
        std::vector<Token> found;
        largest(span_of(logits), n, workspace(), found);
        return found;
      },
      "logits"_a, "n"_a, "Tokens of the n largest logits, the largest first.");
  m.def(
      "mass_of",
      [](const Logits& logits, double log_normaliser, const Mask& tokens) {
        require(tokens.size() * 32 >= logits.size(), "the mask must be as long as the row");
        return mass_of(span_of(logits), log_normaliser, span_of(tokens));
      },
      "logits"_a, "log_normaliser"_a, "tokens"_a,
      "Of a row at temperature 1, what falls on tokens whose bit is 1.");
}

}  // namespace

void register_rule(nb::module_& m) {
  using namespace nb::literals;
  register_weights(m);
  register_shaping(m);
  m.def("law", bound_law, "goal"_a, "proposal"_a, "scale"_a = 1.0,
        "The law of one decision: float64 probabilities of shape (vocabulary,).");
  m.def("summarise_law", bound_summary, "goal"_a, "proposal"_a, "scale"_a, "token"_a,
        "A token's log-probability under the law of one decision; the law's distance from the "
        "goal.");
  m.def("decide", bound_decide, "drafted"_a, "goal"_a, "proposal"_a, "scale"_a, "accept_uniform"_a,
        "residual_uniform"_a,
        "Accepts or corrects a drafted token: token, accepted, residual was empty.");
  m.def("decide_one_of", bound_decide_one_of, "drafted"_a, "goal"_a, "proposal"_a,
        "accept_uniforms"_a, "residual_uniform"_a,
        "Accepts one of several tokens drafted without replacement from a proposal, pairs of token "
        "and weight, or corrects them all: token, accepted.");
  m.def("decide_block", bound_decide_block, "drafted"_a, "goals"_a, "proposals"_a,
        "accept_uniforms"_a, "residual_uniforms"_a,
        "Accepts the first tokens of a drafted chain and corrects the next: how many, the "
        "correction (-1 where all are accepted), residual was empty.");
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
