#include "rewardshift/llama/head_file.h"

#include <cmath>
#include <fstream>
#include <ios>
#include <stdexcept>
#include <utility>
#include <vector>

#include "rewardshift/error.h"
#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {
namespace {

constexpr const char* kShift = "shift";

std::size_t size_of(const GgufFile& file, const char* name) {
  const auto value = file.natural(file.key(name));
  if (!value || *value == 0) {
    file.refuse("is no head: it has no " + file.key(name) + " of at least 1");
  }
  return *value;
}

/// A tensor of `rows` rows of `width` values.
template <class T>
std::vector<T> read_tensor(const GgufFile& file, std::ifstream& bytes, const std::string& name,
                           ggml_type type, std::size_t width, std::size_t rows) {
  const GgufTensor* tensor = file.tensor(name);
  if (tensor == nullptr || tensor->type != type ||
      tensor->shape[0] != static_cast<std::int64_t>(width) ||
      tensor->shape[1] != static_cast<std::int64_t>(rows) || tensor->shape[2] != 1 ||
      tensor->shape[3] != 1) {
    file.refuse("is no head: it has no tensor " + name + " of type " + ggml_type_name(type) +
                " and shape " + std::to_string(width) + " x " + std::to_string(rows));
  }
  bytes.seekg(static_cast<std::streamoff>(tensor->offset));
  std::vector<T> values(width * rows);
  bytes.read(reinterpret_cast<char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!bytes) file.refuse("is cut short");
  return values;
}

}  // namespace

bool is_head_file(const std::string& path) {
  return GgufFile(path).architecture() == kHeadArchitecture;
}

HeadFile read_head(const std::string& path) {
  const GgufFile file(path);
  if (file.architecture() != kHeadArchitecture) {
    file.refuse("is no head, but a model of the architecture '" + file.architecture() + "'");
  }
  const std::string kind(file.text(file.key("kind")).value_or(""));
  if (kind != kShift) file.refuse("is a head of a kind that is not known here: '" + kind + "'");
  std::ifstream bytes(path, std::ios::binary);
  Bottleneck::Weights weights;
  weights.feature_size = size_of(file, "feature_length");
  weights.rank = size_of(file, "rank");
  weights.vocab_size = size_of(file, "vocab_size");
  const auto read = [&]<class T>(std::vector<T>& into, const char* name, ggml_type type,
                                 std::size_t width, std::size_t rows) {
    into = read_tensor<T>(file, bytes, name, type, width, rows);
  };
  read(weights.down, "down.weight", GGML_TYPE_F32, weights.feature_size, weights.rank);
  read(weights.bias, "down.bias", GGML_TYPE_F32, weights.rank, 1);
  read(weights.up, "up.weight", GGML_TYPE_I8, weights.vocab_size, weights.rank);
  read(weights.scale, "up.scale", GGML_TYPE_F32, weights.vocab_size, 1);
  const float strength = file.real(file.key("strength")).value_or(1.0F);
  if (!std::isfinite(strength)) file.refuse("is no head: its usual strength is not finite");
  try {
    return {std::make_shared<const Bottleneck>(std::move(weights)), strength,
            std::string(file.text(file.key("target")).value_or(""))};
  } catch (const std::invalid_argument& error) {
    file.refuse(std::string("is damaged: ") + error.what());
  }
}

}  // namespace rewardshift::llama
