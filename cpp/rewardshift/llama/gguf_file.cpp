#include "rewardshift/llama/gguf_file.h"

#include <gguf.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "rewardshift/error.h"
#include "rewardshift/llama/log.h"

namespace rewardshift::llama {
namespace {

namespace fs = std::filesystem;

struct FreeContext {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

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

}  // namespace

void GgufFile::Free::operator()(gguf_context* context) const { gguf_free(context); }

GgufFile::GgufFile(const std::string& path) : path_(path) {
  require_magic(path);
  const ErrorScope errors;
  ggml_context* tensors = nullptr;
  gguf_.reset(gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, &tensors}));
  const std::unique_ptr<ggml_context, FreeContext> owner(tensors);
  if (gguf_ == nullptr) {
    throw ModelLoadError(
        path + " cannot be loaded: it is damaged: " + errors.reason("llama.cpp gave no reason"));
  }
  const std::size_t data = gguf_get_data_offset(gguf_.get());
  std::int64_t index = 0;
  for (ggml_tensor* t = ggml_get_first_tensor(tensors); t != nullptr;
       t = ggml_get_next_tensor(tensors, t)) {
    const std::size_t offset = data + gguf_get_tensor_offset(gguf_.get(), index++);
    tensors_.push_back(
        {ggml_get_name(t), t->type, {t->ne[0], t->ne[1], t->ne[2], t->ne[3]}, offset});
  }
}

void GgufFile::refuse(const std::string& why) const { throw ModelLoadError(path_ + " " + why); }

std::string GgufFile::architecture() const {
  return std::string(text("general.architecture").value_or(""));
}

const GgufTensor* GgufFile::tensor(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &GgufTensor::name);
  return found == tensors_.end() ? nullptr : &*found;
}

std::size_t GgufFile::end_of_tensors() const {
  std::size_t end = 0;
  for (std::int64_t i = 0; i < gguf_get_n_tensors(gguf_.get()); ++i) {
    end = std::max(end,
                   gguf_get_tensor_offset(gguf_.get(), i) + gguf_get_tensor_size(gguf_.get(), i));
  }
  return gguf_get_data_offset(gguf_.get()) + end;
}

std::string GgufFile::key(std::string_view name) const {
  return architecture() + "." + std::string(name);
}

std::optional<std::int64_t> GgufFile::find(const std::string& key, int type) const {
  const std::int64_t index = gguf_find_key(gguf_.get(), key.c_str());
  if (index < 0 || gguf_get_kv_type(gguf_.get(), index) != type) return std::nullopt;
  return index;
}

bool GgufFile::has(const std::string& key) const {
  return gguf_find_key(gguf_.get(), key.c_str()) >= 0;
}

std::optional<std::uint32_t> GgufFile::natural(const std::string& key) const {
  const auto index = find(key, GGUF_TYPE_UINT32);
  if (!index) return std::nullopt;
  return gguf_get_val_u32(gguf_.get(), *index);
}

std::optional<std::uint16_t> GgufFile::short_natural(const std::string& key) const {
  const auto index = find(key, GGUF_TYPE_UINT16);
  if (!index) return std::nullopt;
  return gguf_get_val_u16(gguf_.get(), *index);
}

std::optional<float> GgufFile::real(const std::string& key) const {
  const auto index = find(key, GGUF_TYPE_FLOAT32);
  if (!index) return std::nullopt;
  return gguf_get_val_f32(gguf_.get(), *index);
}

std::optional<bool> GgufFile::flag(const std::string& key) const {
  const auto index = find(key, GGUF_TYPE_BOOL);
  if (!index) return std::nullopt;
  return gguf_get_val_bool(gguf_.get(), *index);
}

std::optional<std::string_view> GgufFile::text(const std::string& key) const {
  const auto index = find(key, GGUF_TYPE_STRING);
  if (!index) return std::nullopt;
  return gguf_get_val_str(gguf_.get(), *index);
}

std::vector<std::int64_t> GgufFile::naturals(const std::string& key) const {
  if (const auto one = natural(key)) return {*one};
  const auto index = find(key, GGUF_TYPE_ARRAY);
  if (!index) return {};
  const gguf_type type = gguf_get_arr_type(gguf_.get(), *index);
  if (type != GGUF_TYPE_UINT32 && type != GGUF_TYPE_INT32 && type != GGUF_TYPE_BOOL) return {};
  const std::size_t count = gguf_get_arr_n(gguf_.get(), *index);
  const void* data = gguf_get_arr_data(gguf_.get(), *index);
  if (type == GGUF_TYPE_BOOL) {
    const auto* values = static_cast<const std::int8_t*>(data);
    return {values, values + count};
  }
  if (type == GGUF_TYPE_INT32) {
    const auto* values = static_cast<const std::int32_t*>(data);
    return {values, values + count};
  }
  const auto* values = static_cast<const std::uint32_t*>(data);
  return {values, values + count};
}

std::vector<std::string_view> GgufFile::texts(const std::string& key) const {
  const auto index = find(key, GGUF_TYPE_ARRAY);
  if (!index || gguf_get_arr_type(gguf_.get(), *index) != GGUF_TYPE_STRING) return {};
  std::vector<std::string_view> values(gguf_get_arr_n(gguf_.get(), *index));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = gguf_get_arr_str(gguf_.get(), *index, i);
  }
  return values;
}

std::vector<std::pair<std::string_view, float>> GgufFile::reals() const {
  std::vector<std::pair<std::string_view, float>> all;
  for (std::int64_t i = 0; i < gguf_get_n_kv(gguf_.get()); ++i) {
    if (gguf_get_kv_type(gguf_.get(), i) != GGUF_TYPE_FLOAT32) continue;
    all.emplace_back(gguf_get_key(gguf_.get(), i), gguf_get_val_f32(gguf_.get(), i));
  }
  return all;
}

std::vector<std::pair<std::string_view, std::string_view>> GgufFile::scalar_texts() const {
  std::vector<std::pair<std::string_view, std::string_view>> all;
  for (std::int64_t i = 0; i < gguf_get_n_kv(gguf_.get()); ++i) {
    const bool is_text = gguf_get_kv_type(gguf_.get(), i) == GGUF_TYPE_STRING;
    all.emplace_back(gguf_get_key(gguf_.get(), i),
                     is_text ? gguf_get_val_str(gguf_.get(), i) : std::string_view());
  }
  return all;
}

}  // namespace rewardshift::llama
