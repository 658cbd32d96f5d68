// Llama and what is built like it (Mistral 7B, TinyLlama, SmolLM, Yi, Nemo): RMS norms, rotary
// pairs, grouped queries, gated SiLU. Converters permuted q and k at export, so rotating neighbours
// (2i, 2i+1) is right. Sources: Touvron et al. 2023; Llama 3.1's frequency factors come as the
// tensor rope_freqs.weight.
#include <fmt/core.h>

#include "runtime/model/architecture.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys, const Metadata& metadata) {
  LM_TRY(Hparams h, read_common_hparams(keys, metadata, "attention.layer_norm_rms_epsilon"));
  LM_TRY(const auto n_expert, keys.int_or("expert_count", 0, 0, 1024));
  if (n_expert > 0) {
    return fail(
        ErrorCode::unsupported_arch, keys.name("expert_count"),
        fmt::format("is {}: mixture-of-experts models are not supported by this version", n_expert),
        "use a dense model");
  }
  if (h.n_rot != h.head_dim_k) {
    return fail(ErrorCode::bad_value, keys.name("rope.dimension_count"),
                fmt::format("is {}, must equal the head size {}", h.n_rot, h.head_dim_k));
  }
  return h;
}

BlockSpec block(const Hparams&, std::uint32_t) {
  return {.qkv_bias = Need::optional, .output_bias = Need::optional, .ffn_bias = Need::optional};
}

}  // namespace

extern const Architecture llama;
const Architecture llama{.name = "llama", .read = read, .block = block};

}  // namespace lm::arch
