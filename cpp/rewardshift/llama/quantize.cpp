#include "rewardshift/llama/quantize.h"

#include <llama.h>

#include <array>
#include <cstdio>
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

llama_ftype type_named(const std::string& name) {
  for (const auto& [known, type] : kTypes) {
    if (name == known) return type;
  }
  throw std::invalid_argument("there is no quantisation type '" + name + "'");
}

/// Hears "[  12/ 272] blk.0.attn_q.weight ..." as llama.cpp takes up a tensor: the only sign of
/// life that it gives, and the only moment to stop it. It has no threads running then, and catches
/// what is thrown.
void follow(const char* text, Monitor* monitor) {
  int number = 0;
  int count = 0;
  if (monitor == nullptr || std::sscanf(text, "[%d/%d]", &number, &count) != 2) return;
  if (monitor->cancelled) throw CancelledError("cancelled");
  if (count > 0) monitor->progress = static_cast<float>(number - 1) / static_cast<float>(count);
}

}  // namespace

std::vector<std::string> quantization_types() {
  std::vector<std::string> names;
  for (const auto& [name, type] : kTypes) names.emplace_back(name);
  return names;
}

void quantize(const std::string& source, const std::string& destination,
              const QuantizeOptions& options, Monitor* monitor) {
  initialise();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = type_named(options.type);
  if (options.n_threads < 1) {
    throw std::invalid_argument("n_threads must be at least 1, not " +
                                std::to_string(options.n_threads));
  }
  params.nthread = options.n_threads;
  params.allow_requantize = options.allow_requantize;
  require_loadable_model(source);
  std::error_code unknown;
  if (std::filesystem::equivalent(source, destination, unknown)) {
    throw std::invalid_argument("a model cannot be written over itself: " + source);
  }

  const ErrorScope errors;
  std::string reason;
  bool done = false;
  try {
    const ListenScope listen([monitor](const char* text) { follow(text, monitor); });
    done = llama_model_quantize(source.c_str(), destination.c_str(), &params) == 0;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (done && is_whole_gguf(destination)) {
    if (monitor != nullptr) monitor->progress = 1.0F;
    return;
  }
  if (reason.empty()) reason = errors.reason("llama.cpp gave no reason");
  if (monitor != nullptr && monitor->cancelled) {
    throw CancelledError("quantising " + source + " was cancelled");
  }
  if (done || reason.find("iostream") != std::string::npos) {
    throw Error(source + " cannot be written as " + options.type +
                ": writing failed; is the disk full?");
  }
  if (reason.find("requantizing") != std::string::npos) {
    reason += "; allow_requantize allows it, at some loss against a source of full precision";
  }
  throw ModelLoadError(source + " cannot be quantised to " + options.type + ": " + reason);
}

}  // namespace rewardshift::llama
