#include "runtime/plan/known_shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "runtime/gguf/sibling_header.h"

namespace lm {
namespace {

constexpr std::array kShapes = {
    KnownShape{"Qwen3-0.6B", "qwen3", 0.6, 28, 1024, 3072, 16, 8, 128, 151936, 40960, true},
    KnownShape{"Llama-3.2-1B", "llama", 1.24, 16, 2048, 8192, 32, 8, 64, 128256, 131072, true},
    KnownShape{"Llama-3.2-3B", "llama", 3.2, 28, 3072, 8192, 24, 8, 128, 128256, 131072, true},
    KnownShape{"Qwen3-4B", "qwen3", 4.0, 36, 2560, 9728, 32, 8, 128, 151936, 40960, true},
    KnownShape{"Llama-3.1-8B", "llama", 8.0, 32, 4096, 14336, 32, 8, 128, 128256, 131072},
    KnownShape{"Qwen3-8B", "qwen3", 8.2, 36, 4096, 12288, 32, 8, 128, 151936, 40960},
    KnownShape{"Qwen3-14B", "qwen3", 14.8, 40, 5120, 17408, 40, 8, 128, 151936, 40960},
    KnownShape{"Qwen3-32B", "qwen3", 32.8, 64, 5120, 25600, 64, 8, 128, 151936, 40960},
    KnownShape{"Llama-3.3-70B", "llama", 70.6, 80, 8192, 28672, 64, 8, 128, 128256, 131072},
    KnownShape{"Qwen3-30B-A3B", "qwen3moe", 30.5, 48, 2048, 768, 32, 4, 128, 151936, 40960, false,
               128, 8},
};

/// Types of one quant by the part a tensor plays.
struct Mix {
  std::string_view name;
  DType base;
  DType output;            ///< output matrix and a tied embedding
  DType attn_v, attn_out;  ///< where no rule lifts them
  DType lifted;            ///< attn_v and ffn_down of the layers that matter most
};

constexpr std::array kMixes = {
    Mix{"F16", DType::f16, DType::f16, DType::f16, DType::f16, DType::f16},
    Mix{"Q8_0", DType::q8_0, DType::q8_0, DType::q8_0, DType::q8_0, DType::q8_0},
    Mix{"Q6_K", DType::q6_k, DType::q6_k, DType::q6_k, DType::q6_k, DType::q6_k},
    Mix{"Q5_K_M", DType::q5_k, DType::q6_k, DType::q5_k, DType::q5_k, DType::q6_k},
    Mix{"Q4_K_M", DType::q4_k, DType::q6_k, DType::q4_k, DType::q4_k, DType::q6_k},
    Mix{"Q4_0", DType::q4_0, DType::q6_k, DType::q4_0, DType::q4_0, DType::q4_0},
    Mix{"Q3_K_M", DType::q3_k, DType::q6_k, DType::q4_k, DType::q4_k, DType::q4_k},
    Mix{"Q2_K", DType::q2_k, DType::q6_k, DType::q4_k, DType::q3_k, DType::q3_k},
};

/// The first and last eighth of the layers and every third between them.
bool is_lifted(std::uint32_t layer, std::uint32_t n_layer) {
  return layer < n_layer / 8 || layer >= 7 * n_layer / 8 || (layer - n_layer / 8) % 3 == 2;
}

/// Writes a header and counts the bytes that its data would take.
class HeaderWriter {
 public:
  void key(std::string_view name, std::uint32_t value) {
    text(keys_, name);
    number(keys_, std::uint32_t{4});
    number(keys_, value);
    ++n_key_;
  }
  void key(std::string_view name, float value) {
    text(keys_, name);
    number(keys_, std::uint32_t{6});
    number(keys_, value);
    ++n_key_;
  }
  void key(std::string_view name, std::string_view value) {
    text(keys_, name);
    number(keys_, std::uint32_t{8});
    text(keys_, value);
    ++n_key_;
  }
  void tensor(const std::string& name, DType type, std::initializer_list<std::uint64_t> ne) {
    text(table_, name);
    number(table_, static_cast<std::uint32_t>(ne.size()));
    std::uint64_t rows = 1;
    for (const std::uint64_t n : ne) {
      number(table_, n);
      rows *= n;
    }
    rows /= *ne.begin();
    number(table_, static_cast<std::uint32_t>(type));
    number(table_, data_bytes_);
    data_bytes_ += (row_bytes(type, *ne.begin()) * rows + kAlignment - 1) / kAlignment * kAlignment;
    ++n_tensor_;
  }
  /// The file: its header, and zeros for data.
  Result<GgufFile> file(const std::string& name) const {
    std::vector<std::byte> head;
    for (const char c : std::string_view("GGUF")) {
      head.push_back(static_cast<std::byte>(c));
    }
    number(head, std::uint32_t{3});
    number(head, n_tensor_);
    number(head, n_key_);
    head.insert(head.end(), keys_.begin(), keys_.end());
    head.insert(head.end(), table_.begin(), table_.end());
    head.resize((head.size() + kAlignment - 1) / kAlignment * kAlignment);
    const std::uint64_t size = head.size() + data_bytes_;
    return read_header(name, size, known_header(std::move(head)));
  }

 private:
  static constexpr std::uint64_t kAlignment = 32;
  template <class T>
  static void number(std::vector<std::byte>& to, T value) {
    const auto at = to.size();
    to.resize(at + sizeof value);
    std::memcpy(to.data() + at, &value, sizeof value);
  }
  static void text(std::vector<std::byte>& to, std::string_view value) {
    number(to, std::uint64_t{value.size()});
    const auto bytes = std::as_bytes(std::span(value));
    to.insert(to.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> keys_, table_;
  std::uint64_t n_key_ = 0, n_tensor_ = 0, data_bytes_ = 0;
};

void write_keys(HeaderWriter& out, const KnownShape& s) {
  const auto key = [&](std::string_view name, auto value) {
    out.key(fmt::format("{}.{}", s.arch, name), value);
  };
  out.key("general.architecture", s.arch);
  out.key("general.name", s.name);
  key("block_count", s.n_layer);
  key("embedding_length", s.n_embd);
  key("context_length", s.n_ctx);
  key("feed_forward_length", s.n_expert > 0 ? s.n_ff * s.n_used : s.n_ff);
  key("attention.head_count", s.n_head);
  key("attention.head_count_kv", s.n_head_kv);
  key("attention.key_length", s.head_dim);
  key("attention.value_length", s.head_dim);
  key("attention.layer_norm_rms_epsilon", 1e-5f);
  key("rope.freq_base", 500000.0f);
  if (s.n_expert > 0) {
    key("expert_count", s.n_expert);
    key("expert_used_count", s.n_used);
    key("expert_feed_forward_length", s.n_ff);
  }
}

void write_layer(HeaderWriter& out, const KnownShape& s, const Mix& mix, std::uint32_t il) {
  const auto name = [il](std::string_view part) {
    return fmt::format("blk.{}.{}.weight", il, part);
  };
  const std::uint64_t q = std::uint64_t{s.n_head} * s.head_dim;
  const std::uint64_t kv = std::uint64_t{s.n_head_kv} * s.head_dim;
  const bool lifted = is_lifted(il, s.n_layer);
  // Of the 70B shape attn_v is shared by eight heads and small: it gets a bit more.
  const bool is_70b = s.n_layer == 80 && mix.base == DType::q4_k;
  out.tensor(name("attn_norm"), DType::f32, {s.n_embd});
  out.tensor(name("attn_q"), mix.base, {s.n_embd, q});
  out.tensor(name("attn_k"), mix.base, {s.n_embd, kv});
  out.tensor(name("attn_v"),
             lifted   ? mix.lifted
             : is_70b ? DType::q5_k
                      : mix.attn_v,
             {s.n_embd, kv});
  out.tensor(name("attn_output"), mix.attn_out, {q, s.n_embd});
  if (s.arch != "llama") {
    out.tensor(name("attn_q_norm"), DType::f32, {s.head_dim});
    out.tensor(name("attn_k_norm"), DType::f32, {s.head_dim});
  }
  out.tensor(name("ffn_norm"), DType::f32, {s.n_embd});
  const DType down = lifted ? mix.lifted : mix.base;
  if (s.n_expert > 0) {
    out.tensor(name("ffn_gate_inp"), DType::f32, {s.n_embd, s.n_expert});
    out.tensor(name("ffn_gate_exps"), mix.base, {s.n_embd, s.n_ff, s.n_expert});
    out.tensor(name("ffn_up_exps"), mix.base, {s.n_embd, s.n_ff, s.n_expert});
    out.tensor(name("ffn_down_exps"), down, {s.n_ff, s.n_embd, s.n_expert});
  } else {
    out.tensor(name("ffn_gate"), mix.base, {s.n_embd, s.n_ff});
    out.tensor(name("ffn_up"), mix.base, {s.n_embd, s.n_ff});
    out.tensor(name("ffn_down"), down, {s.n_ff, s.n_embd});
  }
}

}  // namespace

std::span<const KnownShape> known_shapes() {
  return kShapes;
}

const KnownShape* find_known_shape(std::string_view name) {
  const auto found = std::ranges::find(kShapes, name, &KnownShape::name);
  return found == kShapes.end() ? nullptr : &*found;
}

const KnownShape& nearest_known_shape(double params_b) {
  const auto distance = [params_b](const KnownShape& s) {
    return std::abs(std::log(s.params_b / std::max(params_b, 1e-3))) +
           (s.n_expert > 0 ? 0.05 : 0.0);
  };
  return *std::ranges::min_element(kShapes, {}, distance);
}

std::string_view quant_of_bits(unsigned bits) {
  switch (bits) {
    case 2:
      return "Q2_K";
    case 3:
      return "Q3_K_M";
    case 4:
      return "Q4_K_M";
    case 5:
      return "Q5_K_M";
    case 6:
      return "Q6_K";
    case 8:
      return "Q8_0";
    case 16:
      return "F16";
    default:
      return {};
  }
}

Result<GgufFile> shape_file(const KnownShape& shape, std::string_view quant) {
  const auto mix = std::ranges::find(kMixes, quant, &Mix::name);
  if (mix == kMixes.end()) {
    return fail(
        ErrorCode::invalid_argument, "quant",
        fmt::format("'{}' is none of F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M, Q2_K", quant));
  }
  HeaderWriter out;
  write_keys(out, shape);
  out.tensor("token_embd.weight", shape.tied ? mix->output : mix->base,
             {shape.n_embd, shape.n_vocab});
  if (shape.arch == "llama") {
    out.tensor("rope_freqs.weight", DType::f32, {shape.head_dim / 2});
  }
  for (std::uint32_t il = 0; il < shape.n_layer; ++il) {
    write_layer(out, shape, *mix, il);
  }
  out.tensor("output_norm.weight", DType::f32, {shape.n_embd});
  if (!shape.tied) {
    out.tensor("output.weight", mix->output, {shape.n_embd, shape.n_vocab});
  }
  return out.file(fmt::format("{} {}", shape.name, quant));
}

}  // namespace lm
