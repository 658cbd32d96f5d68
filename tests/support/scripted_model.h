/// A model whose answer is known to the byte: an ordinary llama that recites a script after any
/// prompt.
///
/// Every piece of the script is a token with an axis of its own in the embedding; attention and FFN
/// are zero, so what stands at the end is the last token's axis, and the output row of the next
/// piece answers to it. Prompts have axis 0, which begins the script; behind it comes the end of
/// the text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/support/gguf_writer.h"

namespace lm::test {

/// One token: text, or a single byte that need not be UTF-8.
struct ScriptPiece {
  std::string text;
  bool is_byte = false;
};

/// Cuts a text into pieces of at least four characters, each only once (a token has one follower).
/// Pieces end between characters of UTF-8. Too short a rest joins the last piece.
inline std::vector<ScriptPiece> script_pieces(const std::string& text) {
  std::vector<ScriptPiece> out;
  const auto known = [&out](const std::string& piece) {
    return std::ranges::find(out, piece, &ScriptPiece::text) != out.end();
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t n = std::min<std::size_t>(5, text.size() - at);
    const auto inside = [&](std::size_t end) {
      return end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u;
    };
    while (at + n < text.size() &&
           (inside(at + n) || known(text.substr(at, n)) || text.size() - at - n < 4)) {
      ++n;
    }
    out.push_back({text.substr(at, n)});
    at += n;
  }
  return out;
}

/// Writes the model; its vocabulary is SPM with bytes and ASCII, like that of small llamas.
inline bool write_scripted_model(const std::filesystem::path& path,
                                 const std::vector<ScriptPiece>& script,
                                 std::uint32_t n_ctx = 2048) {
  std::vector<std::string> texts = {"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> kinds = {2, 3, 3};
  std::vector<float> scores = {0, 0, 0};
  const auto add = [&](std::string text, std::int32_t kind, float score) {
    texts.push_back(std::move(text));
    kinds.push_back(kind);
    scores.push_back(score);
    return texts.size() - 1;
  };
  for (int byte = 0; byte < 256; ++byte) {
    add(fmt::format("<0x{:02X}>", byte), 6, 0);
  }
  add("▁", 1, -1000);
  for (char c = '!'; c <= '~'; ++c) {
    add(std::string(1, c), 1, -1001.0f - static_cast<float>(c));
  }
  std::vector<std::size_t> ids;
  for (const ScriptPiece& piece : script) {
    if (piece.is_byte) {
      ids.push_back(3 + static_cast<unsigned char>(piece.text[0]));
      continue;
    }
    std::string text;
    for (const char c : piece.text) {
      text += c == ' ' ? "▁" : std::string(1, c);
    }
    ids.push_back(add(text, 1, -1));
  }
  const std::size_t n_embd = (script.size() + 64) / 64 * 64, n_vocab = texts.size();
  std::vector<float> embedding(n_embd * n_vocab, 0.0f), output(n_embd * n_vocab, 0.0f);
  for (std::size_t token = 0; token < n_vocab; ++token) {
    const auto place = std::ranges::find(ids, token);
    const std::size_t axis =
        place == ids.end() ? 0 : static_cast<std::size_t>(place - ids.begin()) + 1;
    embedding[token * n_embd + axis] = 1.0f;
  }
  for (std::size_t i = 0; i <= ids.size(); ++i) {
    output[(i < ids.size() ? ids[i] : 2) * n_embd + i] = 4.0f;
  }
  const auto e = static_cast<std::uint32_t>(n_embd);
  GgufWriter w;
  w.add_string("general.architecture", "llama")
      .add_string("general.name", "scripted")
      .add_u32("llama.context_length", n_ctx)
      .add_u32("llama.embedding_length", e)
      .add_u32("llama.block_count", 1)
      .add_u32("llama.feed_forward_length", 64)
      .add_u32("llama.attention.head_count", e / 64)
      .add_u32("llama.attention.head_count_kv", e / 64)
      .add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .add_u32("llama.rope.dimension_count", 64)
      .add_string("tokenizer.ggml.model", "llama")
      .add_strings("tokenizer.ggml.tokens", texts)
      .add_array("tokenizer.ggml.scores", scores)
      .add_array("tokenizer.ggml.token_type", kinds)
      .add_u32("tokenizer.ggml.bos_token_id", 1)
      .add_u32("tokenizer.ggml.eos_token_id", 2)
      .add_u32("tokenizer.ggml.unknown_token_id", 0)
      .add_bool("tokenizer.ggml.add_bos_token", true)
      .add_bool("tokenizer.ggml.add_space_prefix", false);
  const std::vector<float> ones(n_embd, 1.0f);
  w.add_tensor_f32("token_embd.weight", {n_embd, n_vocab}, embedding)
      .add_tensor_f32("output_norm.weight", {n_embd}, ones)
      .add_tensor_f32("output.weight", {n_embd, n_vocab}, output)
      .add_tensor_f32("blk.0.attn_norm.weight", {n_embd}, ones)
      .add_tensor_f32("blk.0.ffn_norm.weight", {n_embd}, ones);
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
    w.add_zeros(fmt::format("blk.0.{}.weight", name), DType::f32, {n_embd, n_embd});
  }
  w.add_zeros("blk.0.ffn_gate.weight", DType::f32, {n_embd, 64})
      .add_zeros("blk.0.ffn_up.weight", DType::f32, {n_embd, 64})
      .add_zeros("blk.0.ffn_down.weight", DType::f32, {64, n_embd});
  return w.save(path);
}

}  // namespace lm::test
