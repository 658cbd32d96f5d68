// Qwen2 and Qwen2.5: a llama block with rotary halves and biases on q, k and v. Small sizes tie the
// output to the embedding. Source: Qwen2 technical report (2024).
#include "runtime/model/architecture.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys, const Metadata& metadata) {
  return read_common_hparams(keys, metadata, "attention.layer_norm_rms_epsilon");
}

BlockSpec block(const Hparams&, std::uint32_t) {
  return {.rope = RopeKind::halves, .qkv_bias = Need::required};
}

}  // namespace

extern const Architecture qwen2;
const Architecture qwen2{.name = "qwen2", .read = read, .block = block};

}  // namespace lm::arch
