#include "rewardshift/llama/quantize.h"

#include <llama.h>

#include <array>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "rewardshift/error.h"
#include "rewardshift/llama/gguf_check.h"
#include "rewardshift/llama/log.h"
#include "rewardshift/llama/system.h"

namespace rewardshift::llama {
namespace {

constexpr std::array<std::pair<const char*, llama_ftype>, 14> kTypes = {{
    {"F32", LLAMA_FTYPE_ALL_F32},
    {"F16", LLAMA_FTYPE_MOSTLY_F16},
    {"BF16", LLAMA_FTYPE_MOSTLY_BF16},
    {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},
    {"Q6_K", LLAMA_FTYPE_MOSTLY_Q6_K},
    {"Q5_K_M", LLAMA_FTYPE_MOSTLY_Q5_K_M},
    {"Q5_1", LLAMA_FTYPE_MOSTLY_Q5_1},
    {"Q5_0", LLAMA_FTYPE_MOSTLY_Q5_0},
    {"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M},
    {"Q4_K_S", LLAMA_FTYPE_MOSTLY_Q4_K_S},
    {"Q4_1", LLAMA_FTYPE_MOSTLY_Q4_1},
    {"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0},
    {"Q3_K_M", LLAMA_FTYPE_MOSTLY_Q3_K_M},
    {"Q2_K", LLAMA_FTYPE_MOSTLY_Q2_K},
}};

}  // namespace

std::vector<std::string> quantization_types() {
  std::vector<std::string> names;
  for (const auto& [name, type] : kTypes) names.emplace_back(name);
  return names;
}

void quantize(const std::string& source, const std::string& destination, const std::string& type,
              int n_threads) {
  initialise();
  require_loadable_model(source);
  std::error_code unknown;
  if (std::filesystem::equivalent(source, destination, unknown)) {
    throw std::invalid_argument("a model cannot be written over itself: " + source);
  }
  if (n_threads < 1) {
    throw std::invalid_argument("n_threads must be at least 1, not " + std::to_string(n_threads));
  }
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.nthread = n_threads;
  params.allow_requantize = true;
  bool known = false;
  for (const auto& [name, ftype] : kTypes) {
    if (type != name) continue;
    params.ftype = ftype;
    known = true;
  }
  if (!known) throw std::invalid_argument("there is no quantisation type '" + type + "'");

  const ErrorScope errors;
  std::string reason;
  std::uint32_t status = 1;
  try {
    status = llama_model_quantize(source.c_str(), destination.c_str(), &params);
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (status != 0) {
    throw ModelLoadError(source + " cannot be quantised to " + destination + ": " +
                         (reason.empty() ? errors.reason("llama.cpp gave no reason") : reason));
  }
}

}  // namespace rewardshift::llama
