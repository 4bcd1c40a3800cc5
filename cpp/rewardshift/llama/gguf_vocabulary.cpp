#include "rewardshift/llama/gguf_vocabulary.h"

#include <string>
#include <unordered_map>
#include <utility>

namespace rewardshift::llama {
namespace {

constexpr std::int64_t kByteToken = 6;  // LLAMA_TOKEN_TYPE_BYTE

void require_distinct(const GgufFile& file, const std::vector<std::string_view>& tokens) {
  std::unordered_map<std::string_view, std::size_t> first;
  first.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty()) continue;  // llama.cpp names these apart
    const auto [earlier, is_new] = first.emplace(tokens[i], i);
    if (!is_new) {
      file.refuse("lists the token '" + std::string(tokens[i]) + "' twice, as " +
                  std::to_string(earlier->second) + " and " + std::to_string(i));
    }
  }
}

/// llama.cpp reads the byte from the fourth and fifth character; in WordPiece there are none.
void require_byte_texts(const GgufFile& file, std::string_view model,
                        const std::vector<std::string_view>& tokens) {
  const auto types = file.naturals("tokenizer.ggml.token_type");
  for (std::size_t i = 0; i < tokens.size() && i < types.size(); ++i) {
    const std::string_view text = tokens[i];
    if (types[i] != kByteToken) continue;
    if (model == "bert" || text.size() != 6 || !text.starts_with("<0x")) {
      file.refuse("says that token " + std::to_string(i) + " ('" + std::string(text) +
                  "') is a byte, which its tokenizer would not read from that");
    }
  }
}

std::int64_t embedding_rows(const GgufFile& file) {
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name == "token_embd.weight") return tensor.shape[1];
  }
  return 0;
}

}  // namespace

void require_sound_vocabulary(const GgufFile& file) {
  const std::string_view model = file.text("tokenizer.ggml.model").value_or("");
  if (model == "rwkv") {  // where a token's beginning is no token, it never ends
    file.refuse("has the tokenizer of RWKV, a recurrent model");
  }
  if (model == "none" || model == "no_vocab") {  // llama.cpp makes as many tokens as it is told
    const std::int64_t size = file.natural(file.key("vocab_size")).value_or(0);
    const std::int64_t rows = embedding_rows(file);
    if (size != rows) {
      file.refuse("says " + file.key("vocab_size") + " is " + std::to_string(size) + ", but has " +
                  std::to_string(rows) + " embeddings");
    }
  }
  const auto tokens = file.texts("tokenizer.ggml.tokens");
  require_distinct(file, tokens);
  require_byte_texts(file, model, tokens);
}

bool is_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[at]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || at + length > bytes.size()) return false;
    for (std::size_t i = 1; i < length; ++i) {
      if ((static_cast<unsigned char>(bytes[at + i]) & 0xC0) != 0x80) return false;
    }
    const auto second = length > 1 ? static_cast<unsigned char>(bytes[at + 1]) : 0x80;
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second >= 0xA0) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second >= 0x90)) {
      return false;  // overlong, a surrogate, or beyond U+10FFFF
    }
    at += length;
  }
  return true;
}

}  // namespace rewardshift::llama
