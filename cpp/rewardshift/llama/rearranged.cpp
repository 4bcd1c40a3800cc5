#include "rewardshift/llama/rearranged.h"

#include <ggml-backend.h>
#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace rewardshift::llama {
namespace {

template <auto function>
struct Call {
  template <typename T>
  void operator()(T* object) const {
    function(object);
  }
};
using TensorContext = std::unique_ptr<ggml_context, Call<ggml_free>>;
using Buffer = std::unique_ptr<ggml_backend_buffer, Call<ggml_backend_buffer_free>>;

/// Where the CPU backend keeps weights in other orders; ends with a null pointer.
ggml_backend_buffer_type_t* other_orders(ggml_backend_dev_t cpu) {
  const auto get =
      reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
          ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts"));
  return get == nullptr ? nullptr : get(cpu);
}

/// Asks as llama.cpp does while it loads: could the weight be multiplied by from there?
bool can_multiply(ggml_backend_dev_t cpu, ggml_backend_buffer_type_t order,
                  const GgufTensor& weight) {
  const TensorContext tensors(ggml_init({8 * ggml_tensor_overhead(), nullptr, true}));
  const Buffer nothing(ggml_backend_buft_alloc_buffer(order, 0));
  if (tensors == nullptr || nothing == nullptr) return false;
  ggml_tensor* w = ggml_new_tensor(tensors.get(), weight.type, 2, weight.shape.data());
  w->buffer = nothing.get();
  constexpr std::int64_t kRows = 512;
  ggml_tensor* rows = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, weight.shape[0], kRows);
  return ggml_backend_dev_supports_op(cpu, ggml_mul_mat(tensors.get(), w, rows));
}

bool is_rearranged(const GgufTensor& weight) {
  ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  const bool is_matrix = !weight.is_vector() && weight.shape[2] == 1 && weight.shape[3] == 1;
  if (cpu == nullptr || !is_matrix) return false;
  for (auto* order = other_orders(cpu); order != nullptr && *order != nullptr; ++order) {
    if (can_multiply(cpu, *order, weight)) return true;
  }
  return false;
}

}  // namespace

bool is_mostly_rearranged(const GgufFile& file) {
  std::size_t all = 0;
  std::size_t rearranged = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    const auto rows = tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
    const std::size_t bytes =
        ggml_row_size(tensor.type, tensor.shape[0]) * static_cast<std::size_t>(rows);
    all += bytes;
    if (is_rearranged(tensor)) rearranged += bytes;
  }
  return 2 * rearranged > all;
}

}  // namespace rewardshift::llama
