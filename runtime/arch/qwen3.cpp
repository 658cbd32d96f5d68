// Qwen3: a llama block with rotary halves and an RMS norm on every head of q and k before rope; no
// biases. The head size is a key of its own: n_head * head_dim may differ from n_embd. Source:
// Qwen3 technical report (2025).
#include "runtime/model/architecture.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys, const Metadata& metadata) {
  return read_common_hparams(keys, metadata, "attention.layer_norm_rms_epsilon");
}

BlockSpec block(const Hparams&, std::uint32_t) {
  return {.rope = RopeKind::halves, .qk_norm = true};
}

}  // namespace

extern const Architecture qwen3;
const Architecture qwen3{.name = "qwen3", .read = read, .block = block};

}  // namespace lm::arch
