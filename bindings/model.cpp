#include "rewardshift/llama/model.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "rewardshift/llama/gguf_cuda.h"
#include "rewardshift/llama/quantize.h"
#include "rewardshift/llama/system.h"

namespace rewardshift::bindings {

using namespace nb::literals;
using llama::Adapter;
using llama::Model;
using llama::ModelFacts;
using llama::Monitor;

namespace {

nb::bytes to_bytes(const std::string& text) { return nb::bytes(text.data(), text.size()); }

void register_facts(nb::module_& m) {
  nb::class_<ModelFacts>(m, "ModelFacts", "What a model file says of itself.")
      .def_prop_ro("description", [](const ModelFacts& f) { return to_str(f.description); })
      .def_prop_ro("architecture", [](const ModelFacts& f) { return to_str(f.architecture); })
      .def_ro("vocabulary_type", &ModelFacts::vocabulary_type)
      .def_ro("parameters", &ModelFacts::parameters)
      .def_ro("bytes", &ModelFacts::bytes, "Of all tensors.")
      .def_ro("vocab_size", &ModelFacts::vocab_size)
      .def_ro("context_size_trained", &ModelFacts::context_size_trained, "Tokens.")
      .def_ro("layers", &ModelFacts::layers)
      .def_ro("embedding_size", &ModelFacts::embedding_size)
      .def_ro("heads", &ModelFacts::heads)
      .def_ro("kv_heads", &ModelFacts::kv_heads)
      .def_prop_ro(
          "memory",
          [](const ModelFacts& facts) {
            switch (facts.memory) {
              case llama::MemoryKind::recurrent:
                return "recurrent";
              case llama::MemoryKind::hybrid:
                return "hybrid";
              default:
                return "attention";
            }
          },
          "What is remembered of a history: 'attention' (each token's keys and values), "
          "'recurrent' (a state) or 'hybrid' (both).")
      .def_ro("stored_heads", &ModelFacts::stored_heads,
              "That store a key and a value of each token, in all layers.")
      .def_ro("state_bytes", &ModelFacts::state_bytes,
              "Of one history's recurrent state; 0 is none.")
      .def_ro("sliding_window", &ModelFacts::sliding_window, "Tokens; 0 is none.")
      .def_ro("key_size", &ModelFacts::key_size, "Values of a head's key.")
      .def_ro("value_size", &ModelFacts::value_size, "Values of a head's value.")
      .def_ro("bos", &ModelFacts::bos)
      .def_ro("eos", &ModelFacts::eos)
      .def_ro("end_of_generation", &ModelFacts::end_of_generation);
}

}  // namespace

void register_model(nb::module_& m) {
  register_facts(m);
  m.def("cuda_lacks", &llama::cuda_lacks, "path"_a,
        "What a model has that CUDA's kernels were not compiled for; None is nothing. Raises "
        "ModelLoadError.");

  nb::class_<Monitor>(m, "Monitor", "Watches and ends a long call from another thread.")
      .def(nb::init<>())
      .def_prop_ro(
          "progress", [](const Monitor& w) { return w.progress.load(); }, "0 to 1.")
      .def("cancel", [](Monitor& w) { w.cancelled = true; });

  nb::class_<Model>(m, "Model", "Weights and vocabulary of a GGUF file.")
      .def_static("load", &Model::load, "path"_a, "options"_a, "monitor"_a.none(),
                  nb::call_guard<nb::gil_scoped_release>(),
                  "Raises ModelLoadError or CancelledError.")
      .def_prop_ro("path", &Model::path)
      .def_prop_ro("facts", &Model::facts)
      .def_prop_ro(
          "metadata",
          [](const Model& model) {
            nb::typed<nb::dict, nb::str, nb::str> items;
            for (const auto& [key, value] : model.metadata()) items[to_str(key)] = to_str(value);
            return items;
          },
          "Scalar metadata as text, by key.")
      .def_prop_ro("chat_template",
                   [](const Model& model) {
                     const auto source = model.chat_template();
                     return source ? std::optional<nb::str>(to_str(*source)) : std::nullopt;
                   })
      .def_prop_ro("is_on_cpu", &Model::is_on_cpu, "Whether no layer is on another device.")
      .def_prop_ro("is_encoder", &Model::is_encoder,
                   "Whether it is an encoder with a classification head.")
      .def_prop_ro("has_dense_head", &Model::has_dense_head,
                   "Whether a classification head has a dense layer before its outputs.")
      .def_prop_ro("second_separator", &Model::second_separator,
                   "What stands before the second of two texts besides the end of the first.")
      .def_prop_ro("class_outputs", &Model::class_outputs,
                   "Outputs of the classification head, where there is one.")
      .def_prop_ro(
          "class_labels",
          [](const Model& model) {
            nb::typed<nb::list, nb::str> names;
            for (const std::string& label : model.class_labels()) names.append(to_str(label));
            return names;
          },
          "Their names; empty where the file has none.")
      .def("require_decodable", &Model::require_decodable)
      .def("require_classifying", &Model::require_classifying)
      .def(
          "tokenize",
          [](const Model& model, std::string_view text, bool add_special, bool parse_special) {
            return model.tokenizer().tokenize(text, add_special, parse_special);
          },
          "text"_a, "add_special"_a, "parse_special"_a, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "detokenize",
          [](const Model& model, const std::vector<Token>& tokens, bool special) {
            return to_bytes(model.tokenizer().detokenize(tokens, special));
          },
          "tokens"_a, "special"_a, "Bytes, which may hold partial UTF-8 characters.")
      .def("is_end_of_generation", [](const Model& model, Token token) {
        return model.tokenizer().is_end_of_generation(token);
      });

  nb::class_<Adapter>(m, "Adapter", "A LoRA adapter for one model.")
      .def(
          "__init__",
          [](Adapter* self, std::shared_ptr<Model> model, const std::string& path) {
            const nb::gil_scoped_release released;
            new (self) Adapter(std::move(model), path);
          },
          "model"_a, "path"_a, "Raises ModelLoadError.")
      .def_prop_ro("path", &Adapter::path);

  m.def("quantization_types", &llama::quantization_types);
  m.def(
      "quantize",
      [](const std::string& source, const std::string& destination, const std::string& type,
         int n_threads, bool allow_requantize, Monitor* monitor) {
        llama::quantize(source, destination, {type, n_threads, allow_requantize}, monitor);
      },
      "source"_a, "destination"_a, "type"_a, "n_threads"_a, "allow_requantize"_a,
      "monitor"_a.none(), nb::call_guard<nb::gil_scoped_release>(),
      "Writes a model again with weights of another type. Raises ModelLoadError, Error or "
      "CancelledError.");
  m.def("require_same_vocabulary", &llama::require_same_vocabulary, "a"_a, "name_a"_a, "b"_a,
        "name_b"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Raises VocabularyMismatchError, naming the first token that differs.");
}

}  // namespace rewardshift::bindings
