// LFM2: most layers mix tokens by a short gated convolution with a state of a few rows, some by
// attention; head_count_kv 0 tells which. Source: LFM2 technical report (2025).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kRmsEps));
  LM_TRY(h.recurrent.n_tap, keys.get_u32("shortconv.l_cache", 2, 64));
  for (LayerParams& p : h.layers) {
    if (p.n_head_kv == 0) {
      p.state_bytes = std::uint64_t{h.recurrent.n_tap - 1} * h.n_embd * sizeof(float);
    }
  }
  return h;
}

void build(Forward& f) {
  Value x = f.embed();
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const Value n = f.norm(x, "attn_norm");
    f.add(x, f.lp().n_head_kv == 0
                 ? f.short_convolution(n)
                 : f.attention(n, {.rope = RopeKind::halves, .qk_norm = QkNorm::head}));
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(f.norm(x, "ffn_norm")));
  }
  f.finish_with(x, "token_embd_norm");
}

}  // namespace

extern const Architecture lfm2;
const Architecture lfm2{.name = "lfm2", .read = read, .build = build};

}  // namespace lm::arch
