#include "rewardshift/llama/gguf_check.h"

#include <gguf.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include "rewardshift/error.h"
#include "rewardshift/llama/log.h"

namespace rewardshift::llama {
namespace {

namespace fs = std::filesystem;

struct FreeGguf {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
using Gguf = std::unique_ptr<gguf_context, FreeGguf>;

void require_magic(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) throw ModelLoadError(path + ": no such file");
  if (fs::is_directory(path, error)) throw ModelLoadError(path + " is a directory, not a GGUF");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ModelLoadError(path + " cannot be read");
  std::array<char, 4> magic{};
  file.read(magic.data(), magic.size());
  if (std::string_view(magic.data(), magic.size()) != "GGUF") {
    throw ModelLoadError(path + " is not a GGUF file");
  }
}

void require_distinct_tokens(const std::string& path, const gguf_context* gguf) {
  const std::int64_t key = gguf_find_key(gguf, "tokenizer.ggml.tokens");
  if (key < 0 || gguf_get_kv_type(gguf, key) != GGUF_TYPE_ARRAY ||
      gguf_get_arr_type(gguf, key) != GGUF_TYPE_STRING) {
    return;
  }
  const std::size_t count = gguf_get_arr_n(gguf, key);
  std::unordered_map<std::string_view, std::size_t> first;
  first.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view text = gguf_get_arr_str(gguf, key, i);
    if (text.empty()) continue;  // llama.cpp names these apart
    const auto [earlier, is_new] = first.emplace(text, i);
    if (!is_new) {
      throw ModelLoadError(path + " lists the token '" + std::string(text) + "' twice, as " +
                           std::to_string(earlier->second) + " and " + std::to_string(i));
    }
  }
}

Gguf read_header(const std::string& path) {
  return Gguf(gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, /*ctx=*/nullptr}));
}

}  // namespace

void require_gguf(const std::string& path) {
  require_magic(path);
  const ErrorScope errors;
  const Gguf gguf = read_header(path);
  if (gguf == nullptr) {
    throw ModelLoadError(
        path + " cannot be loaded: it is damaged: " + errors.reason("llama.cpp gave no reason"));
  }
  require_distinct_tokens(path, gguf.get());
}

bool is_whole_gguf(const std::string& path) {
  const Gguf gguf = read_header(path);
  if (gguf == nullptr) return false;
  std::size_t end = 0;
  for (std::int64_t i = 0; i < gguf_get_n_tensors(gguf.get()); ++i) {
    end =
        std::max(end, gguf_get_tensor_offset(gguf.get(), i) + gguf_get_tensor_size(gguf.get(), i));
  }
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return !error && size >= gguf_get_data_offset(gguf.get()) + end;
}

}  // namespace rewardshift::llama
