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
  refuse_if({"arwkv7", "bailingmoe3", "deepseek4", "glm5-next", "kimi-k3", "minimax-01", "qwen4exp",
             "rwkv6qwen2"},
            "is a (partly) recurrent model of a kind that was never seen to go back right after a "
            "rejected draft");
  refuse_if({"dream", "llada", "llada-moe", "rnd1"},
            "is a diffusion model: it has no next-token law");
  refuse_if(
      {"clip", "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
       "jina-bert-v3", "eurobert", "gemma-embedding", "llama-embed", "t5", "t5encoder",
       "wavtokenizer-dec", "pockettts", "qwen3tts", "eagle3", "dflash", "gemma4-assistant"},
      "is not a decoder-only language model");
}

}  // namespace rewardshift::llama
