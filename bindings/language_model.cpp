#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bindings.h"
#include "interrupt.h"
#include "rewardshift/llama/classifier.h"
#include "rewardshift/llama/context.h"
#include "rewardshift/shift/cost_curve.h"
#include "rewardshift/table_model.h"
#include "rewardshift/told_features.h"

namespace rewardshift::bindings {

using namespace nb::literals;
using llama::Adapter;
using llama::Classifier;
using llama::Context;
using llama::Model;
using llama::Threadpool;

namespace {

using Table = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

Rows copy_rows(std::span<const float* const> rows, int vocab_size) {
  const auto width = static_cast<std::size_t>(vocab_size);
  auto* values = new std::vector<float>(rows.size() * width);
  const nb::capsule owner(values,
                          [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(rows[i], width, values->data() + i * width);
  }
  return Rows(values->data(), {rows.size(), width}, owner);
}

using Histories = std::vector<std::tuple<int, std::vector<Token>, int>>;

/// One history per sequence: (sequence, tokens, rows wanted), and how many tokens are drafts.
Rows drafted_logits(LanguageModel& model, const Histories& histories,
                    const std::vector<int>& drafts) {
  std::vector<LogitsRequest> requests;
  for (const auto& [sequence, tokens, n_rows] : histories) {
    const std::size_t i = requests.size();
    requests.push_back({sequence, tokens, n_rows, i < drafts.size() ? drafts[i] : 0});
  }
  const auto rows = run_interruptibly([&] { return model.logits(requests); });
  return copy_rows(rows, model.vocab_size());
}

/// What they are told of, if the latest call of logits() was about the same; else it is asked for.
Rows bound_features(LanguageModel& model, const Histories& histories) {
  if (model.feature_size() == 0) throw std::invalid_argument("this model tells no features");
  std::vector<LogitsRequest> requests;
  for (const auto& [sequence, tokens, n_rows] : histories) {
    requests.push_back({sequence, tokens, n_rows});
  }
  const auto rows = run_interruptibly([&] { return features_of(model, requests); });
  return copy_rows(rows, static_cast<int>(model.feature_size()));
}

Rows bound_logits(LanguageModel& model, const Histories& histories) {
  return drafted_logits(model, histories, {});
}

std::vector<std::pair<std::size_t, double>> bound_measure_costs(LanguageModel& model,
                                                                std::vector<std::size_t> rows,
                                                                int passes) {
  const CostMeasurement how{std::move(rows), 0.0, passes, passes};
  const auto costs = run_interruptibly([&] { return measure_costs(model, how, steady_seconds); });
  std::vector<std::pair<std::size_t, double>> pairs;
  for (const Cost& cost : costs) pairs.emplace_back(cost.rows, cost.seconds);
  return pairs;
}

}  // namespace

void register_language_model(nb::module_& m) {
  nb::class_<LanguageModel>(m, "LanguageModel", "Anything that turns token histories into logits.")
      .def_prop_ro("vocab_size", &LanguageModel::vocab_size)
      .def_prop_ro("max_sequences", &LanguageModel::max_sequences)
      .def_prop_ro("context_size", &LanguageModel::context_size)
      .def_prop_ro("history_vocab_size", &LanguageModel::history_vocab_size,
                   "Histories hold ids below it; those beyond vocab_size only histories know.")
      .def("piece",
           [](const LanguageModel& model, Token token) {
             const std::string bytes = model.piece(token);
             return nb::bytes(bytes.data(), bytes.size());
           })
      .def(
          "spelling",
          [](const LanguageModel& model, Token token) {
            const std::string bytes = model.spelling(token);
            return nb::bytes(bytes.data(), bytes.size());
          },
          "token"_a, "As piece, but for control tokens what they are written as.")
      .def("logits", bound_logits, "histories"_a,
           "Logits of the last n positions of (sequence, tokens, n) histories: float32 of shape "
           "(sum of n, vocab_size).")
      .def("drafted_logits", drafted_logits, "histories"_a, "drafts"_a,
           "The same, where of each history so many last tokens may be taken back soon.")
      .def_prop_ro("feature_size", &LanguageModel::feature_size,
                   "Values of a feature; 0 where the model tells none.")
      .def("features", bound_features, "histories"_a,
           "The last hidden states behind the rows that logits() has: float32 of shape (sum of n, "
           "feature_size). Nothing is evaluated where the latest call was about the same.")
      .def_prop_ro("tells_log_probabilities", &LanguageModel::tells_log_probabilities,
                   "Whether rows are log-probabilities of each token by itself.")
      .def_prop_ro("is_rough", &LanguageModel::is_rough,
                   "Whether rows are rough about tokens that have no twin.")
      .def("is_end_of_generation", &LanguageModel::is_end_of_generation, "token"_a)
      .def(
          "put_aside",
          [](LanguageModel& model, const std::vector<int>& sequences) {
            model.put_aside(sequences);
          },
          "sequences"_a,
          "What these sequences hold should cost others nothing; histories that begin like it may "
          "have it back.")
      .def("forget", &LanguageModel::forget, "Drops all remembered work.")
      .def_prop_ro("evaluated_tokens", &LanguageModel::evaluated_tokens,
                   "Tokens evaluated since construction: what memory could not answer.")
      .def_prop_ro("evaluated_batches", &LanguageModel::evaluated_batches,
                   "Batches that took: calls of the network, each of one or more tokens.");

  m.def("measure_costs", bound_measure_costs, "model"_a, "rows"_a, "passes"_a,
        "Seconds of one batch by its number of rows, the fastest of several: pairs, ascending. "
        "Batches that do not fit half the context are left out.");

  nb::class_<TableModel, LanguageModel>(m, "TableModel", "A Markov chain whose logits are a table.")
      .def(
          "__init__",
          [](TableModel* self, const Table& logits, int order, std::set<Token> end_of_generation,
             std::vector<std::string> pieces, std::set<Token> fails_on, int max_sequences,
             std::size_t context_size, double batch_seconds, std::optional<Table> features) {
            std::vector<float> told;
            if (features) told.assign(features->data(), features->data() + features->size());
            new (self)
                TableModel({logits.data(), logits.data() + logits.size()},
                           static_cast<int>(logits.shape(1)), order,
                           {std::move(end_of_generation), std::move(pieces), std::move(fails_on),
                            max_sequences, context_size, batch_seconds, std::move(told)});
          },
          "logits"_a, nb::kw_only(), "order"_a = 0, "end_of_generation"_a = std::set<Token>{},
          "pieces"_a = std::vector<std::string>{}, "fails_on"_a = std::set<Token>{},
          "max_sequences"_a = 16, "context_size"_a = 4096, "batch_seconds"_a = 0.0,
          "features"_a.none() = nb::none(),
          "float32 logits of shape (vocab_size ** order, vocab_size); the row of a history is the "
          "number its last `order` tokens spell in base vocab_size. Evaluating a history with a "
          "token of `fails_on` raises EvaluationError, and each batch takes at least "
          "`batch_seconds`, to rehearse failures and slow models. Row i of `features`, float32, is "
          "told with row i of the table.");

  nb::class_<Threadpool>(m, "Threadpool", "Worker threads shared by contexts.")
      .def(nb::init<int, int>(), "n_threads"_a, "poll"_a = llama::kPoll);

  nb::class_<Context, LanguageModel>(m, "Context", "A GGUF model with its key-value cache.")
      .def(
          "__init__",
          [](Context* self, std::shared_ptr<Model> model, const llama::ContextOptions& options,
             std::shared_ptr<Threadpool> pool) {
            const nb::gil_scoped_release released;
            new (self) Context(std::move(model), options, std::move(pool), &interrupted);
          },
          "model"_a, "options"_a, "pool"_a)
      .def(
          "apply",
          [](Context& self, std::shared_ptr<Adapter> adapter, float scale) {
            const nb::gil_scoped_release released;
            self.apply(std::move(adapter), scale);
          },
          "adapter"_a, "scale"_a, "Decodes with a LoRA adapter from now on.")
      .def(
          "keep", [](Context& self, const std::vector<Token>& tokens) { return self.keep(tokens); },
          "tokens"_a,
          "Drops everything but what sequence 0 holds of the beginning `tokens`; returns how many "
          "tokens of it that is.");

  nb::class_<Classifier>(m, "Classifier", "A GGUF model with a classification head.")
      .def(
          "__init__",
          [](Classifier* self, std::shared_ptr<Model> model, const llama::ContextOptions& options,
             std::shared_ptr<Threadpool> pool) {
            const nb::gil_scoped_release released;
            new (self) Classifier(std::move(model), options, std::move(pool), &interrupted);
          },
          "model"_a, "options"_a, "pool"_a, "Raises ModelLoadError or OutOfMemoryError.")
      .def_prop_ro("outputs", &Classifier::outputs, "Outputs of the head, at least 1.")
      .def(
          "classify",
          [](Classifier& self, const std::vector<std::vector<Token>>& texts) {
            return run_interruptibly([&] { return self.classify(texts); });
          },
          "texts"_a, "The head's outputs for each text of token ids.");
}

}  // namespace rewardshift::bindings
