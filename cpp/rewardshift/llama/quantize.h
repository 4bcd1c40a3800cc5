// Writing a model again with other types of weights.
#pragma once

#include <string>
#include <vector>

#include "rewardshift/llama/monitor.h"

namespace rewardshift::llama {

/// Names of the types quantize() can write, such as "Q4_0".
std::vector<std::string> quantization_types();

struct QuantizeOptions {
  std::string type;               ///< one of quantization_types()
  int n_threads = 1;              ///< threads to compute with
  bool allow_requantize = false;  ///< weights that are quantised already may be so again, at a loss
};

/// Writes `source` to `destination` with weights of another type. On failure and after
/// cancellation, which takes effect between tensors, `destination` may hold a part of the file.
/// `monitor` may be null.
///
/// Throws std::invalid_argument for an unknown type, ModelLoadError if the source cannot be read or
/// not be quantised so, Error if the destination cannot be written, CancelledError.
void quantize(const std::string& source, const std::string& destination,
              const QuantizeOptions& options, Monitor* monitor);

}  // namespace rewardshift::llama
