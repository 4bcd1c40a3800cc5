#include "rewardshift/llama/gguf_architecture.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace rewardshift::llama {

void require_decodable_architecture(const GgufFile& file) {
  const std::string architecture = file.architecture();
  const auto refuse_if = [&](std::initializer_list<std::string_view> names, const char* why) {
    if (std::find(names.begin(), names.end(), architecture) != names.end()) file.refuse(why);
  };
  refuse_if({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"},
            "is a recurrent model: its memory cannot take back a rejected draft");
  refuse_if({"jamba", "falcon-h1", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "nemotron_h",
             "nemotron_h_moe", "qwen3next", "kimi-linear", "bailingmoe3", "kimi-k3", "glm5-next",
             "qwen35", "qwen35moe", "qwen4exp", "deepseek4", "minimax-01"},
            "is a hybrid (partly recurrent) model: its memory cannot take back a rejected draft");
  refuse_if({"dream", "llada", "llada-moe", "rnd1"},
            "is a diffusion model: it has no next-token law");
  refuse_if(
      {"clip", "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
       "jina-bert-v3", "eurobert", "gemma-embedding", "llama-embed", "t5", "t5encoder",
       "wavtokenizer-dec", "pockettts", "qwen3tts", "eagle3", "dflash", "gemma4-assistant"},
      "is not a decoder-only language model");
}

}  // namespace rewardshift::llama
