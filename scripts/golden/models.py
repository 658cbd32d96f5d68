"""Tiny random models, one for each way in which an architecture can be built. `models()` gives
name -> function(seed) -> (metadata, tensors)."""

import numpy as np

from tiny import Tiny


def llama_like(arch, seed, tied=False, bias=False, fused=False, fused_up=False, qk=None,
               output_bias=False, ffn_bias=False, logit_bias=False, **keys):
    t = Tiny(arch, seed, **keys)
    t.embedding()
    for p in t.blocks():
        t.norm(p + "attn_norm", t.embd)
        t.attention(p, bias, output_bias, fused, qk)
        t.norm(p + "ffn_norm", t.embd)
        t.glu(p, fused_up, ffn_bias)
    t.output(tied, logit_bias)
    return t


def llama_biases(seed):
    return llama_like("llama", seed, tied=True, bias=True, output_bias=True, ffn_bias=True).finish()


def llama_yarn(seed):
    return llama_like("llama", seed, tied=True, d=24, **{
        "rope.dimension_count": 24, "rope.freq_base": 50000.0, "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64,
        "rope.scaling.attn_factor": 1.1}).finish()


def llama_linear(seed):
    """The key of old files; the type is linear by default."""
    return llama_like("llama", seed, tied=True, **{"rope.scale_linear": 4.0}).finish()


def llama_longrope(seed):
    t = llama_like("llama", seed, tied=True, **{"rope.scaling.original_context_length": 128,
                                     "rope.scaling.type": "longrope",
                                     "rope.scaling.attn_factor": 1.19})
    t.put("rope_factors_long.weight", np.linspace(1.2, 6.0, t.d // 2))
    t.put("rope_factors_short.weight", np.linspace(1.0, 1.6, t.d // 2))
    return t.finish()


def mistral3(seed):
    return llama_like("mistral3", seed, tied=True, d=24, **{
        "rope.dimension_count": 24, "rope.freq_base": 1000.0, "rope.scaling.type": "yarn",
        "rope.scaling.factor": 16.0, "rope.scaling.original_context_length": 16,
        "rope.scaling.yarn_beta_fast": 0.7, "rope.scaling.yarn_beta_slow": 0.1,
        "rope.scaling.yarn_log_multiplier": 0.7, "attention.temperature_scale": 0.4}).finish()


def qwen2_fused(seed):
    return llama_like("qwen2", seed, bias=True, fused=True, logit_bias=True).finish()


def qwen3_embedding(seed):
    return llama_like("qwen3", seed, tied=True, qk="head", d=16, pooling_type=3).finish()


def phi3_short(seed):
    t = llama_like("phi3", seed, tied=True, fused=True, fused_up=True, **{
        "rope.dimension_count": 10, "rope.scaling.original_context_length": 384,
        "rope.scaling.attn_factor": 1.19, "attention.sliding_window": 8})
    t.put("rope_factors_long.weight", np.linspace(2.0, 9.0, 5))
    t.put("rope_factors_short.weight", np.linspace(1.0, 2.5, 5))
    return t.finish()


GRANITE = {"logit_scale": 1.7, "residual_scale": 0.6, "embedding_scale": 3.0,
           "attention.scale": 0.21}


def granite_norope(seed):
    return llama_like("granite", seed, tied=True, **GRANITE,
                      **{"rope.scaling.finetuned": False}).finish()


def granitemoe(seed, shared=True):
    keys = GRANITE | {"expert_count": 4, "expert_used_count": 2}
    if shared:
        keys |= {"expert_shared_feed_forward_length": 40}
    t = Tiny("granitemoe", seed, ff=32, **keys)
    t.embedding()
    for p in t.blocks():
        t.norm(p + "attn_norm", t.embd)
        t.attention(p)
        t.norm(p + "ffn_norm", t.embd)
        t.experts(p, 4, 32)
        if shared:
            t.glu(p, suffix="_shexp", ff=40)
    t.output(tied=True)
    return t.finish()


def gemma(seed):
    t = Tiny("gemma", seed, kv=1, d=20, eps=5e-2, **{"rope.dimension_count": 20})
    t.embedding(0.3)
    for p in t.blocks():
        t.norm(p + "attn_norm", t.embd)
        t.attention(p)
        t.norm(p + "ffn_norm", t.embd)
        t.glu(p)
    t.output(tied=True)
    return t.finish()


def sandwich(arch, seed, qk=None, **keys):
    t = Tiny(arch, seed, **({"eps": 5e-2} | keys))
    t.embedding(0.3)
    for p in t.blocks():
        t.norm(p + "attn_norm", t.embd)
        t.attention(p, qk=qk)
        t.norm(p + "post_attention_norm", t.embd, gain=t.branch)
        t.norm(p + "ffn_norm", t.embd)
        t.glu(p)
        t.norm(p + "post_ffw_norm", t.embd, gain=t.branch)
    t.output(tied=True)
    return t


def gemma2_27b(seed):
    """46 layers scale scores by the model's width instead of the head's."""
    return sandwich("gemma2", seed, layers=46, embd=16, heads=2, kv=1, ff=12, d=12, branch=0.15, **{
        "rope.dimension_count": 12, "attention.sliding_window": 9,
        "attn_logit_softcapping": 4.0, "final_logit_softcapping": 6.0}).finish()


def gemma3_27b(seed):
    """62 layers scale scores by the model's width; the context was stretched eight times."""
    return sandwich("gemma3", seed, qk="head", layers=62, embd=12, heads=2, kv=1, ff=8, d=12, branch=0.15, **{
        "rope.dimension_count": 12, "rope.freq_base": 1e6, "attention.sliding_window": 9,
        "rope.scaling.type": "linear", "rope.scaling.factor": 8.0}).finish()


def gemma_embedding(seed):
    t = sandwich("gemma-embedding", seed, qk="head", layers=7, embd=32, heads=2, kv=1, ff=24, d=16, **{
        "rope.dimension_count": 16, "rope.freq_base": 1e6, "rope.freq_base_swa": 5000.0,
        "attention.sliding_window": 8, "pooling_type": 1, "attention.causal": False})
    return t.finish()


def gemma_embedding_dense(seed):
    """With the two products that follow pooling; an odd window."""
    t = sandwich("gemma-embedding", seed, qk="head", layers=3, embd=32, heads=4, kv=2, ff=24, d=12, **{
        "rope.dimension_count": 12, "rope.freq_base": 1e6, "attention.sliding_window": 9,
        "attention.sliding_window_pattern": 2, "pooling_type": 1, "attention.causal": False,
        "dense_2_feat_in": 32, "dense_2_feat_out": 80, "dense_3_feat_in": 80,
        "dense_3_feat_out": 32})
    t.matrix("dense_2", 32, 80)
    t.matrix("dense_3", 80, 32)
    return t.finish()


def gemma4_moe(seed):
    """Experts beside the dense FFN, and full layers whose values are their keys."""
    pattern = [True, True, False]
    t = Tiny("gemma4", seed, layers=3, kv=2, ff=24, d=24, eps=5e-2, **{
        "attention.key_length_swa": 16, "attention.value_length_swa": 16,
        "rope.dimension_count": 24, "rope.dimension_count_swa": 16, "rope.freq_base": 1e6,
        "attention.sliding_window": 9, "attention.sliding_window_pattern": pattern,
        "attention.shared_kv_layers": 0, "embedding_length_per_layer_input": 0,
        "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 16})
    t.embedding(0.3)
    t.put("rope_freqs.weight", [1.0, 1.0, 1.0, 1.0] + [1e30] * 8)
    for p, windowed in zip(t.blocks(), pattern):
        t.norm(p + "attn_norm", t.embd)
        t.attention(p, qk="head", d=16 if windowed else 24)
        if not windowed:
            del t.tensors[p + "attn_v.weight"]
        t.norm(p + "post_attention_norm", t.embd)
        for name in ("ffn_norm", "pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2",
                     "post_ffw_norm"):
            t.norm(p + name, t.embd)
        t.glu(p)
        t.experts(p, 4, 16, fused=True)
        t.put(p + "ffn_gate_inp.scale", t.rng.uniform(3, 9, t.embd))
        t.put(p + "ffn_down_exps.scale", t.rng.uniform(0.5, 1.5, 4))
        t.put(p + "layer_output_scale.weight", [t.rng.uniform(0.7, 1.2)])
    t.output(tied=True)
    return t.finish()


def olmo(seed, **keys):
    t = Tiny("olmo2", seed, **keys)
    t.embedding()
    for p in t.blocks():
        t.attention(p, qk="row")
        t.norm(p + "post_attention_norm", t.embd)
        t.glu(p)
        t.norm(p + "post_ffw_norm", t.embd)
    t.output()
    return t.finish()


def olmo2(seed):
    return olmo(seed, kv=4)


def olmo3(seed):
    return olmo(seed, layers=4, embd=32, ff=40, **{
        "attention.sliding_window": 9, "rope.freq_base": 500000.0, "rope.scaling.type": "yarn",
        "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 32,
        "rope.scaling.attn_factor": 1.2})


def glm4_plain(seed):
    """Without biases, and with a block for further tokens that isn't run."""
    t = sandwich("glm4", seed, layers=3, eps=2e-3, **{"rope.dimension_count": 6, "nextn_predict_layers": 1})
    for p in t.blocks():
        for name in ("ffn_gate", "ffn_up"):
            del t.tensors[f"{p}{name}.weight"]
        t.matrix(p + "ffn_up", t.embd, 2 * t.ff, 1.5)
    p = t.blocks()[-1] + "nextn."
    t.matrix(p + "eh_proj", 2 * t.embd, t.embd)
    t.norm(p + "enorm", t.embd)
    t.norm(p + "hnorm", t.embd)
    return t.finish()


def layer_normed(arch, seed, norm_bias=True, ffn_norm=True, attn_norm_2=False, attention=None,
                 gated=False, ffn_bias=True, tied=False, output_bias=False, **keys):
    t = Tiny(arch, seed, layer_norm=True, **keys)
    t.embedding()
    for p in t.blocks():
        t.norm(p + "attn_norm", t.embd, norm_bias)
        if attn_norm_2:
            t.norm(p + "attn_norm_2", t.embd, norm_bias)
        t.attention(p, **(attention or {}))
        if ffn_norm:
            t.norm(p + "ffn_norm", t.embd, norm_bias)
        t.glu(p) if gated else t.mlp(p, ffn_bias)
    t.output(tied, output_bias, norm_bias=norm_bias)
    return t.finish()


BIASES = {"bias": True, "output_bias": True}


def phi2(seed):
    return layer_normed("phi2", seed, ffn_norm=False, attention=BIASES, output_bias=True, kv=4,
                        **{"rope.dimension_count": 4})


def starcoder2(seed):
    return layer_normed("starcoder2", seed, attention=BIASES, tied=True,
                        **{"rope.freq_base": 1e5})


def gptneox_parallel(seed):
    return layer_normed("gptneox", seed, attention=BIASES | {"fused": True}, kv=4,
                        use_parallel_residual=True, **{"rope.dimension_count": 4})


def gptneox_sequential(seed):
    return layer_normed("gptneox", seed, attention=BIASES | {"fused": True}, kv=4,
                        use_parallel_residual=False, **{"rope.dimension_count": 6})


def falcon_7b(seed):
    return layer_normed("falcon", seed, ffn_norm=False, attention={"fused": True}, ffn_bias=False,
                        tied=True, kv=1)


def falcon_40b(seed):
    return layer_normed("falcon", seed, ffn_norm=False, attn_norm_2=True,
                        attention={"fused": True}, ffn_bias=False)


def stablelm(seed):
    return layer_normed("stablelm", seed, attention={"bias": True}, gated=True, kv=4,
                        use_parallel_residual=False, **{"rope.dimension_count": 4})


def stablelm_12b(seed):
    return layer_normed("stablelm", seed, ffn_norm=False, attention={"qk": "layer"}, gated=True,
                        use_parallel_residual=True, **{"rope.dimension_count": 4})


def command_r(seed):
    return layer_normed("command-r", seed, norm_bias=False, ffn_norm=False, gated=True, tied=True,
                        logit_scale=0.25, **{"rope.freq_base": 8e6})


def command_r_plus(seed):
    """Heads are normalised from 64 layers on."""
    return layer_normed("command-r", seed, norm_bias=False, ffn_norm=False, gated=True, tied=True,
                        attention={"qk": "layer"}, layers=64, embd=16, heads=2, kv=1, ff=8, branch=0.3,
                        logit_scale=0.4)


def gpt_oss(seed):
    """F32 experts, no scaling of the context."""
    t = Tiny("gpt-oss", seed, d=16, ff=32, **{
        "rope.dimension_count": 16, "rope.freq_base": 150000.0, "attention.sliding_window": 9,
        "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32})
    t.embedding()
    for p in t.blocks():
        t.norm(p + "attn_norm", t.embd)
        t.attention(p, bias=True, output_bias=True)
        t.put(p + "attn_sinks.weight", t.rng.standard_normal(t.heads))
        t.norm(p + "post_attention_norm", t.embd)
        t.experts(p, 4, 32, bias=True)
    t.output()
    return t.finish()


def qwen35moe(seed):
    k, v, s = 2, 4, 8
    t = Tiny("qwen35moe", seed, layers=4, embd=32, d=16, ff=24, **{
        "rope.dimension_count": 8, "rope.dimension_sections": [2, 1, 1, 0],
        "rope.freq_base": 1e6, "ssm.conv_kernel": 4, "ssm.inner_size": v * s,
        "ssm.state_size": s, "ssm.time_step_rank": v, "ssm.group_count": k,
        "full_attention_interval": 4, "expert_count": 4, "expert_used_count": 2,
        "expert_feed_forward_length": 16, "expert_shared_feed_forward_length": 24})
    t.embedding()
    for p in t.blocks():
        t.norm(p + "attn_norm", t.embd)
        if p == "blk.3.":
            t.attention(p, qk="head")
            t.matrix(p + "attn_q", t.embd, 2 * t.heads * t.d, 1.5)
        else:
            channels = (2 * k + v) * s
            t.matrix(p + "attn_qkv", t.embd, channels)
            t.matrix(p + "attn_gate", t.embd, v * s)
            t.put(p + "ssm_conv1d.weight", t.rng.standard_normal((channels, 4)) * 0.6)
            t.put(p + "ssm_dt.bias", t.rng.uniform(-1, 1, v))
            t.put(p + "ssm_a", -t.rng.uniform(0.05, 0.6, v))
            t.matrix(p + "ssm_beta", t.embd, v)
            t.matrix(p + "ssm_alpha", t.embd, v)
            t.norm(p + "ssm_norm", s)
            t.matrix(p + "ssm_out", v * s, t.embd)
        t.norm(p + "post_attention_norm", t.embd)
        t.experts(p, 4, 16)
        t.glu(p, suffix="_shexp", ff=24)
        t.put(p + "ffn_gate_inp_shexp.weight", t.rng.standard_normal(t.embd) * 0.3)
    t.output(tied=True)
    return t.finish()


def deepseek(seed, q_rank, absorbed, layers, dense, embd, heads, ff, **keys):
    nope, n_rot, rank, n_v = 12, 8, 16, 10
    names = ({"attention.key_length": rank + n_rot, "attention.value_length": rank,
              "attention.key_length_mla": nope + n_rot, "attention.value_length_mla": n_v}
             if absorbed else {"attention.key_length": nope + n_rot, "attention.value_length": n_v})
    if q_rank:
        names["attention.q_lora_rank"] = q_rank
    t = Tiny("deepseek2", seed, layers=layers, embd=embd, heads=heads, kv=1 if absorbed else heads,
             ff=ff, **names, **{
                 "attention.kv_lora_rank": rank, "rope.dimension_count": n_rot,
                 "leading_dense_block_count": dense, "expert_count": 4, "expert_used_count": 2,
                 "expert_feed_forward_length": 16, "expert_shared_count": 2}, **keys)
    t.embedding()
    for layer, p in enumerate(t.blocks()):
        t.norm(p + "attn_norm", embd)
        if q_rank:
            t.matrix(p + "attn_q_a", embd, q_rank)
            t.norm(p + "attn_q_a_norm", q_rank)
            t.matrix(p + "attn_q_b", q_rank, heads * (nope + n_rot), 1.5)
        else:
            t.matrix(p + "attn_q", embd, heads * (nope + n_rot), 1.5)
        t.matrix(p + "attn_kv_a_mqa", embd, rank + n_rot, 1.5)
        t.norm(p + "attn_kv_a_norm", rank)
        if absorbed:
            t.put(p + "attn_k_b.weight", t.rng.standard_normal((heads, rank, nope)) * 0.3)
            t.put(p + "attn_v_b.weight", t.rng.standard_normal((heads, n_v, rank)) * 0.25)
        else:
            t.matrix(p + "attn_kv_b", rank, heads * (nope + n_v), 1.2)
        t.matrix(p + "attn_output", heads * n_v, embd, t.branch)
        t.norm(p + "ffn_norm", embd)
        if layer < dense:
            t.glu(p)
        else:
            t.experts(p, 4, 16)
            t.glu(p, suffix="_shexp", ff=32)
    t.output(tied=False)
    return t.finish()


def deepseek2_kv_b(seed):
    """A file from before keys and values were split: attn_kv_b."""
    return deepseek(seed, 20, False, 2, 1, 40, 3, 40)


YARN = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 32, "rope.scaling.yarn_log_multiplier": 0.0707}


def deepseek2_lite(seed):
    """Without the low-rank query: 27 layers mark it. V2's softmax gating, not normalised."""
    return deepseek(seed, 0, True, 27, 26, 18, 2, 8, branch=0.25, **YARN)


def deepseek2_lite_kv_b(seed):
    return deepseek(seed, 0, False, 26, 25, 18, 2, 8, branch=0.25, expert_weights_scale=1.5, **YARN)


def encoder(arch, seed, types=2, positions=False, bias=True, fused=False, qk=None, norm_2=False,
            ffn=None, pooling=1, **keys):
    t = Tiny(arch, seed, kv=keys.get("heads", 4), layer_norm=True, pooling_type=pooling,
             **{"attention.causal": False}, **keys)
    t.metadata["tokenizer.ggml.token_type_count"] = types
    t.embedding()
    t.put("token_types.weight", t.rng.standard_normal((types, t.embd)) * 0.5)
    if positions:
        t.put("position_embd.weight", t.rng.standard_normal((keys["context_length"], t.embd)) * 0.5)
    t.norm("token_embd_norm", t.embd, True)
    for p in t.blocks():
        t.attention(p, bias, bias, fused, qk)
        t.norm(p + "attn_output_norm", t.embd, True)
        if norm_2:
            t.norm(p + "attn_norm_2", t.embd, True)
        ffn(t, p)
        t.norm(p + "layer_output_norm", t.embd, True)
    return t.finish()


def bert_mean(seed):
    """Like MiniLM and E5."""
    return encoder("bert", seed, positions=True, ffn=Tiny.mlp, context_length=256)


def bert_xlmr(seed):
    """Like bge-m3: one token type, the first token's state, q, k and v in one matrix."""
    return encoder("bert", seed, types=1, positions=True, fused=True, ffn=Tiny.mlp, pooling=2,
                   embd=32, context_length=256)


def geglu_with_bias(fused):
    def ffn(t, p):
        t.glu(p, fused)
        t.bias(p + "ffn_down", t.embd)
    return ffn


def jina_v2(seed):
    """Six heads: slopes of a count that is no power of two."""
    return encoder("jina-bert-v2", seed, embd=48, heads=6, ffn=geglu_with_bias(False))


def jina_v2_code(seed):
    """Norms over all of q and k, a second norm, gate and up in one matrix."""
    return encoder("jina-bert-v2", seed, qk="row_layer", norm_2=True, ffn=geglu_with_bias(True))


def models():
    return {
        "bert-mean": bert_mean, "bert-xlmr": bert_xlmr, "command-r": command_r,
        "command-r-plus": command_r_plus, "deepseek2-kv-b": deepseek2_kv_b,
        "deepseek2-lite": deepseek2_lite, "deepseek2-lite-kv-b": deepseek2_lite_kv_b,
        "falcon-7b": falcon_7b, "falcon-40b": falcon_40b, "gemma": gemma, "gemma2-27b": gemma2_27b,
        "gemma3-27b": gemma3_27b, "gemma4-moe": gemma4_moe, "gemma-embedding": gemma_embedding,
        "gemma-embedding-dense": gemma_embedding_dense, "glm4-plain": glm4_plain,
        "gpt-oss-f32": gpt_oss, "gptneox-parallel": gptneox_parallel,
        "gptneox-sequential": gptneox_sequential, "granite-norope": granite_norope,
        "granitemoe": granitemoe, "jina-bert-v2": jina_v2, "jina-bert-v2-code": jina_v2_code,
        "llama-biases": llama_biases, "llama-linear": llama_linear,
        "llama-longrope": llama_longrope, "llama-yarn": llama_yarn, "mistral3": mistral3,
        "olmo2": olmo2, "olmo3": olmo3, "phi2": phi2, "phi3-short": phi3_short,
        "qwen2-fused": qwen2_fused, "qwen3-embedding": qwen3_embedding, "qwen35moe": qwen35moe,
        "stablelm": stablelm, "stablelm-12b": stablelm_12b, "starcoder2": starcoder2,
    }
