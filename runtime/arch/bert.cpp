// Encoders of BERT's family: BERT itself (BGE, MiniLM, E5, XLM-R style such as bge-m3), nomic-bert
// (rotary halves, gated SiLU, no biases) and jina-bert-v2 (ALiBi, gated GELU). Every token sees
// every other one; norms follow the residual; a pooled vector is the result. Sources: Devlin et al.
// 2019, Nomic Embed (2024), Jina Embeddings 2 (2023).
#include "runtime/model/forward.h"

namespace lm::arch {
namespace {

Result<Hparams> read(const ArchKeys& keys) {
  LM_TRY(Hparams h, read_common_hparams(keys, kLayerNormEps));
  h.causal = false;
  h.pooling = h.pooling == Pooling::none ? Pooling::mean : h.pooling;
  return h;
}

Result<Hparams> read_nomic(const ArchKeys& keys) {
  LM_TRY(const auto moe_every, keys.u32_or("moe_every_n_layers", 0, 0, 1024));
  if (moe_every > 0) {
    return fail(ErrorCode::unsupported, keys.name("moe_every_n_layers"),
                "is above 0: this architecture's mixture of experts is not supported",
                "use nomic-embed-text v1.5");
  }
  return read(keys);
}

/// What the three have in common around their parts.
void build_with(Forward& f, bool positions, const AttentionSpec& attention, const FfnSpec& ffn) {
  Value x = f.embed(positions, true);
  x = f.norm(x, "token_embd_norm", kLayerNorm);
  for (std::uint32_t il = 0; il < f.h.n_layer; ++il) {
    f.enter(x, il, Part::attention);
    const Value before = x;
    Value y = f.project(f.attention(x, attention));
    f.add(y, x);
    x = f.norm(y, "attn_output_norm", kLayerNorm);
    if (f.has("attn_norm_2")) {
      f.add(x, before);
      x = f.norm(x, "attn_norm_2", kLayerNorm);
    }
    f.enter(x, il, Part::ffn);
    f.add(x, f.ffn(x, ffn));
    x = f.norm(x, "layer_output_norm", kLayerNorm);
  }
  f.finish_with(x, "");
}

void build_bert(Forward& f) {
  build_with(f, true,
             {.rope = RopeKind::none, .qkv_bias = Need::required, .output_bias = Need::required},
             {.act = Activation::gelu_tanh, .gated = false, .bias = Need::required});
}

void build_nomic(Forward& f) {
  build_with(f, false,
             {.rope = RopeKind::halves, .qkv_bias = Need::optional, .output_bias = Need::optional},
             {.bias = Need::optional});
}

void build_jina(Forward& f) {
  build_with(f, false,
             {.rope = RopeKind::none,
              .qkv_bias = Need::optional,
              .output_bias = Need::optional,
              .qk_norm = QkNorm::row_layer,
              .qk_norm_need = Need::optional,
              .alibi = true},
             {.act = Activation::gelu_tanh, .bias = Need::optional});
}

}  // namespace

extern const Architecture bert;
extern const Architecture nomic_bert;
extern const Architecture jina_bert_v2;
const Architecture bert{.name = "bert", .read = read, .build = build_bert};
const Architecture nomic_bert{.name = "nomic-bert", .read = read_nomic, .build = build_nomic};
const Architecture jina_bert_v2{.name = "jina-bert-v2", .read = read, .build = build_jina};

}  // namespace lm::arch
