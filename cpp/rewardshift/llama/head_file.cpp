#include "rewardshift/llama/head_file.h"

#include <cmath>
#include <fstream>
#include <ios>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "rewardshift/error.h"
#include "rewardshift/llama/gguf_file.h"

namespace rewardshift::llama {
namespace {

constexpr const char* kShift = "shift";
constexpr const char* kBase = "base";

/// Reads the tensors of one file.
class TensorReader {
 public:
  explicit TensorReader(const GgufFile& file)
      : file_(file), bytes_(file.path(), std::ios::binary) {}

  /// A size that the file states.
  std::size_t size(const char* name) const {
    const auto value = file_.natural(file_.key(name));
    if (!value || *value == 0) {
      file_.refuse("is no head: it has no " + file_.key(name) + " of at least 1");
    }
    return *value;
  }

  /// A tensor of `rows` rows of `width` values.
  template <class T>
  std::vector<T> read(const std::string& name, std::size_t width, std::size_t rows = 1) {
    const GgufTensor* tensor = file_.tensor(name);
    const ggml_type type = type_of<T>();
    if (tensor == nullptr || tensor->type != type ||
        tensor->shape[0] != static_cast<std::int64_t>(width) ||
        tensor->shape[1] != static_cast<std::int64_t>(rows) || tensor->shape[2] != 1 ||
        tensor->shape[3] != 1) {
      file_.refuse("is no head: it has no tensor " + name + " of type " + ggml_type_name(type) +
                   " and shape " + std::to_string(width) + " x " + std::to_string(rows));
    }
    bytes_.seekg(static_cast<std::streamoff>(tensor->offset));
    std::vector<T> values(width * rows);
    bytes_.read(reinterpret_cast<char*>(values.data()),
                static_cast<std::streamsize>(values.size() * sizeof(T)));
    if (!bytes_) file_.refuse("is cut short");
    return values;
  }

  /// Weights in bytes, from `in` values to `out`.
  ByteMatrix matrix(const std::string& name, std::size_t in, std::size_t out) {
    auto weights = read<std::int8_t>(name + ".weight", out, in);
    return {in, std::move(weights), read<float>(name + ".scale", out), name.c_str()};
  }

  /// Values of a vector that states its own size.
  std::size_t length(const std::string& name) const {
    const GgufTensor* tensor = file_.tensor(name);
    return tensor == nullptr ? 1 : static_cast<std::size_t>(tensor->shape[0]);
  }

 private:
  template <class T>
  static ggml_type type_of() {
    if constexpr (std::is_same_v<T, std::int8_t>) return GGML_TYPE_I8;
    if constexpr (std::is_same_v<T, std::int32_t>) return GGML_TYPE_I32;
    return GGML_TYPE_F32;
  }

  const GgufFile& file_;
  std::ifstream bytes_;
};

std::shared_ptr<const Bottleneck> read_shift(TensorReader& file) {
  Bottleneck::Weights weights;
  const std::size_t rank = file.size("rank");
  weights.feature_size = file.size("feature_length");
  weights.down = file.read<float>("down.weight", weights.feature_size, rank);
  weights.bias = file.read<float>("down.bias", rank);
  weights.up = file.matrix("up", rank, file.size("vocab_size"));
  return std::make_shared<const Bottleneck>(std::move(weights));
}

std::shared_ptr<const BaseHead> read_base(TensorReader& file) {
  BaseHead::Weights weights;
  const std::size_t width = file.size("feature_length");
  const std::size_t hidden = file.size("hidden_length");
  weights.vocab_size = file.size("vocab_size");
  weights.tokens = file.read<Token>("tokens", file.length("tokens"));
  weights.output = file.matrix("output", width, weights.tokens.size());
  weights.input_scale = file.read<float>("input.scale", 2 * width);
  weights.mix = file.matrix("mix", 2 * width, hidden);
  weights.mix_bias = file.read<float>("mix.bias", hidden);
  weights.out = file.matrix("out", hidden, width);
  weights.out_bias = file.read<float>("out.bias", width);
  weights.keep = file.read<float>("keep", width);
  return std::make_shared<const BaseHead>(std::move(weights));
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
  const float strength = file.real(file.key("strength")).value_or(1.0F);
  if (!std::isfinite(strength)) file.refuse("is no head: its usual strength is not finite");
  TensorReader reader(file);
  try {
    Head head;
    if (kind == kShift) {
      head = read_shift(reader);
    } else if (kind == kBase) {
      head = read_base(reader);
    } else {
      file.refuse("is a head of a kind that is not known here: '" + kind + "'");
    }
    return {std::move(head), strength, std::string(file.text(file.key("target")).value_or(""))};
  } catch (const std::invalid_argument& error) {
    file.refuse(std::string("is damaged: ") + error.what());
  }
}

}  // namespace rewardshift::llama
