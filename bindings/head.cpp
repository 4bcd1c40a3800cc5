#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <utility>
#include <vector>

#include "bindings.h"
#include "rewardshift/llama/head_file.h"
#include "rewardshift/math/base_head.h"
#include "rewardshift/math/bottleneck.h"
#include "rewardshift/shift/base_head_model.h"
#include "rewardshift/shift/shift_head_model.h"

namespace rewardshift::bindings {

using namespace nb::literals;
using llama::HeadFile;

namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class Array>
auto values_of(const Array& array) {
  return std::vector(array.data(), array.data() + array.size());
}

/// Weights, and the scale of each column.
using Bytes = std::pair<Matrix<std::int8_t>, Vector<float>>;

ByteMatrix matrix_of(const Matrix<std::int8_t>& weights, const Vector<float>& scale,
                     const char* what) {
  return {weights.shape(0), values_of(weights), values_of(scale), what};
}

ByteMatrix matrix_of(const Bytes& bytes, const char* what) {
  return matrix_of(bytes.first, bytes.second, what);
}

}  // namespace

void register_head(nb::module_& m) {
  nb::class_<Bottleneck>(m, "ShiftHead", "What features of a target say of every token.")
      .def(
          "__init__",
          [](Bottleneck* self, const Matrix<float>& down, const Vector<float>& bias,
             const Matrix<std::int8_t>& up, const Vector<float>& scale) {
            new (self) Bottleneck({down.shape(1), values_of(down), values_of(bias),
                                   matrix_of(up, scale, "up.weight")});
          },
          "down"_a, "bias"_a, "up"_a, "scale"_a,
          "lambda = scale * (tanh(down @ h + bias) @ up): float32 of shapes (rank, feature_size) "
          "and (rank,), int8 of (rank, vocab_size), and float32 of (vocab_size,).")
      .def_prop_ro("feature_size", &Bottleneck::feature_size)
      .def_prop_ro("rank", &Bottleneck::rank)
      .def_prop_ro("vocab_size", &Bottleneck::vocab_size);

  nb::class_<BaseHead>(m, "BaseHead", "A guess of what a target says next, from its features.")
      .def(
          "__init__",
          [](BaseHead* self, std::size_t vocab_size, const Vector<Token>& tokens,
             const Bytes& output, const Vector<float>& input_scale, const Bytes& mix,
             const Vector<float>& mix_bias, const Bytes& out, const Vector<float>& out_bias,
             const Vector<float>& keep) {
            new (self)
                BaseHead({vocab_size, values_of(tokens), matrix_of(output, "output.weight"),
                          values_of(input_scale), matrix_of(mix, "mix.weight"), values_of(mix_bias),
                          matrix_of(out, "out.weight"), values_of(out_bias), values_of(keep)});
          },
          "vocab_size"_a, "tokens"_a, "output"_a, "input_scale"_a, "mix"_a, "mix_bias"_a, "out"_a,
          "out_bias"_a, "keep"_a,
          "`tokens` ascend; `output`, `mix` and `out` are pairs: int8 of shapes (feature_size, "
          "tokens), (2 * feature_size, hidden) and (hidden, feature_size), and the float32 scale "
          "of each column.")
      .def_prop_ro("feature_size", &BaseHead::feature_size)
      .def_prop_ro("hidden_size", &BaseHead::hidden_size)
      .def_prop_ro("vocab_size", &BaseHead::vocab_size)
      .def_prop_ro(
          "known", [](const BaseHead& head) { return head.tokens().size(); }, "Tokens it guesses.");

  nb::class_<HeadFile>(m, "HeadFile", "A head, and what its file says of it.")
      .def_prop_ro("head", [](const HeadFile& file) { return file.head; })
      .def_ro("strength", &HeadFile::strength, "Of a shift, where a request names none.")
      .def_prop_ro("target", [](const HeadFile& file) { return to_str(file.target); });
  m.def("read_head", &llama::read_head, "path"_a,
        "Reads a GGUF file with a head of either kind. Raises ModelLoadError.");
  m.def("is_head_file", &llama::is_head_file, "path"_a,
        "Whether a GGUF file holds a head rather than a model. Raises ModelLoadError.");

  nb::class_<ShiftHeadModel, LanguageModel>(m, "ShiftHeadModel",
                                            "A head that shifts a target, as a model.")
      .def(nb::init<LanguageModel&, std::shared_ptr<const Bottleneck>>(), "target"_a, "head"_a,
           nb::keep_alive<1, 2>());
  nb::class_<BaseHeadModel, LanguageModel>(m, "BaseHeadModel",
                                           "A head that drafts for a target, as a model.")
      .def(nb::init<LanguageModel&, std::shared_ptr<const BaseHead>>(), "target"_a, "head"_a,
           nb::keep_alive<1, 2>());
}

}  // namespace rewardshift::bindings
