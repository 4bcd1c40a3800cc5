// The metadata and tensor list of a GGUF file, for the checks before llama.cpp takes it.
#pragma once

#include <ggml.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct gguf_context;

namespace rewardshift::llama {

/// What a file says of a tensor.
struct GgufTensor {
  std::string name;
  ggml_type type;
  std::array<std::int64_t, GGML_MAX_DIMS> shape;  ///< unused dimensions are 1
  std::size_t offset;                             ///< of its bytes in the file

  bool is_vector() const { return shape[1] == 1 && shape[2] == 1 && shape[3] == 1; }
};

/// A file that gguf.cpp could read; no weights are. Getters yield nothing for a key that is absent
/// or of a type that llama.cpp would not take there either: it says so itself.
class GgufFile {
 public:
  /// Throws ModelLoadError, in plain words, if the file is missing or damaged.
  explicit GgufFile(const std::string& path);

  const std::string& path() const { return path_; }
  std::string architecture() const;
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  /// The tensor of a name; null where there is none. It lives as long as the file.
  const GgufTensor* tensor(std::string_view name) const;
  bool has_tensor(std::string_view name) const { return tensor(name) != nullptr; }

  /// Bytes that a file with these tensors has at least.
  std::size_t end_of_tensors() const;

  /// Throws ModelLoadError: the path, and what is wrong.
  [[noreturn]] void refuse(const std::string& why) const;

  /// `name` with the architecture before it, as hyper-parameters are called.
  std::string key(std::string_view name) const;

  bool has(const std::string& key) const;                              ///< of whatever type
  std::optional<std::uint32_t> natural(const std::string& key) const;  ///< of type u32
  std::optional<std::uint16_t> short_natural(const std::string& key) const;
  std::optional<float> real(const std::string& key) const;
  std::optional<bool> flag(const std::string& key) const;
  std::optional<std::string_view> text(const std::string& key) const;

  /// The elements of an array of u32, i32 or bool, or a u32 as the only element; empty without the
  /// key.
  std::vector<std::int64_t> naturals(const std::string& key) const;

  /// The elements of an array of strings; they live as long as the file. Empty without the key.
  std::vector<std::string_view> texts(const std::string& key) const;

  /// The keys of every scalar of type f32, and their values.
  std::vector<std::pair<std::string_view, float>> reals() const;

  /// Keys, and the values of strings (none for other types).
  std::vector<std::pair<std::string_view, std::string_view>> scalar_texts() const;

 private:
  struct Free {
    void operator()(gguf_context* context) const;
  };

  /// The index of a key whose value has a gguf_type; nothing otherwise.
  std::optional<std::int64_t> find(const std::string& key, int type) const;

  std::string path_;
  std::unique_ptr<gguf_context, Free> gguf_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace rewardshift::llama
