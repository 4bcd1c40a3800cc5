// Writing a model again with other types of weights.
#pragma once

#include <string>
#include <vector>

namespace rewardshift::llama {

/// Names of the types quantize() can write, such as "Q4_0".
std::vector<std::string> quantization_types();

/// Writes `source` to `destination` with weights of a type; a file that is quantised already may be
/// quantised again, at some loss. Throws std::invalid_argument for an unknown type, ModelLoadError
/// if the source cannot be read or the destination cannot be written.
void quantize(const std::string& source, const std::string& destination, const std::string& type,
              int n_threads);

}  // namespace rewardshift::llama
