#include "rewardshift/llama/gguf_architecture.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "rewardshift/llama/head_file.h"

namespace rewardshift::llama {
namespace {

bool is_among(std::string_view architecture, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, architecture) != names.end();
}

}  // namespace

bool is_classifying_encoder(std::string_view architecture) {
  return is_among(architecture, {"bert", "jina-bert-v2", "modern-bert", "neo-bert"});
}

std::string_view head_tensor(std::string_view architecture) {
  return architecture == "jina-bert-v2" ? "cls.weight" : "cls.output.weight";
}

void require_usable_architecture(const GgufFile& file) {
  const std::string architecture = file.architecture();
  const auto refuse_if = [&](std::initializer_list<std::string_view> names, const char* why) {
    if (is_among(architecture, names)) file.refuse(why);
  };
  refuse_if({"arwkv7", "bailingmoe3", "deepseek4", "glm5-next", "kimi-k3", "minimax-01", "qwen4exp",
             "rwkv6qwen2"},
            "is a (partly) recurrent model of a kind that was never seen to go back right after a "
            "rejected draft");
  refuse_if({"dream", "llada", "llada-moe", "rnd1"},
            "is a diffusion model: it has no next-token law");
  refuse_if({"nomic-bert", "nomic-bert-moe", "jina-bert-v3", "eurobert", "gemma-embedding",
             "llama-embed", "t5encoder"},
            "is an encoder of an architecture that llama.cpp reads no classification head of: it "
            "can be neither a target nor a reward");
  refuse_if({"clip", "t5", "wavtokenizer-dec", "pockettts", "qwen3tts", "eagle3", "dflash",
             "gemma4-assistant"},
            "is not a decoder-only language model");
  refuse_if({kHeadArchitecture},
            "is a head, which shifts a target and is no model: name it as a shift's head");
  if (is_classifying_encoder(architecture) && !file.has_tensor(head_tensor(architecture))) {
    file.refuse("is an encoder without a classification head (" +
                std::string(head_tensor(architecture)) +
                "): it can be neither a target nor a reward");
  }
}

}  // namespace rewardshift::llama
