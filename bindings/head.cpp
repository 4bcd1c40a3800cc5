#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <utility>
#include <vector>

#include "bindings.h"
#include "rewardshift/llama/head_file.h"
#include "rewardshift/math/bottleneck.h"
#include "rewardshift/shift/head_model.h"

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

}  // namespace

void register_head(nb::module_& m) {
  nb::class_<Bottleneck>(m, "Head", "What features of a target say of every token.")
      .def(
          "__init__",
          [](Bottleneck* self, const Matrix<float>& down, const Vector<float>& bias,
             const Matrix<std::int8_t>& up, const Vector<float>& scale) {
            new (self) Bottleneck({down.shape(1), down.shape(0), up.shape(1), values_of(down),
                                   values_of(bias), values_of(up), values_of(scale)});
          },
          "down"_a, "bias"_a, "up"_a, "scale"_a,
          "lambda = scale * (tanh(down @ h + bias) @ up): float32 of shapes (rank, feature_size) "
          "and (rank,), int8 of (rank, vocab_size), and float32 of (vocab_size,).")
      .def_prop_ro("feature_size", &Bottleneck::feature_size)
      .def_prop_ro("rank", &Bottleneck::rank)
      .def_prop_ro("vocab_size", &Bottleneck::vocab_size);

  nb::class_<HeadFile>(m, "HeadFile", "A head, and what its file says of it.")
      .def_ro("head", &HeadFile::head)
      .def_ro("strength", &HeadFile::strength, "Where a request names none.")
      .def_prop_ro("target", [](const HeadFile& file) { return to_str(file.target); });
  m.def("read_head", &llama::read_head, "path"_a,
        "Reads a GGUF file with a head. Raises ModelLoadError.");
  m.def("is_head_file", &llama::is_head_file, "path"_a,
        "Whether a GGUF file holds a head rather than a model. Raises ModelLoadError.");

  nb::class_<HeadModel, LanguageModel>(m, "HeadModel", "A head on a target's features, as a model.")
      .def(nb::init<LanguageModel&, std::shared_ptr<const Bottleneck>>(), "target"_a, "head"_a,
           nb::keep_alive<1, 2>());
}

}  // namespace rewardshift::bindings
