"""Forward passes in float64 of every architecture that has a golden model: tokens in, logits of all
positions (or one pooled embedding) out."""

import numpy as np

import parts
from parts import gelu, glu, mask_of, mlp, rope_table, rotate, sigmoid, silu


def embed(m, tokens, scale=1.0):
    return m["token_embd.weight"][np.asarray(tokens)] * scale


def head(m, x):
    """Logits, from output.weight or the embedding."""
    return m.linear(x, "output") if "output.weight" in m else x @ m["token_embd.weight"].T


def head_norm(m, x, name):
    """Layer norm of each head with weights of its own."""
    y = x - x.mean(axis=-1, keepdims=True)
    return y / np.sqrt(np.mean(y * y, axis=-1, keepdims=True) + m.eps) * m[name + ".weight"]


def attention(m, x, layer, table=None, neighbours=True, norm="none", window=0, scale=None, cap=0.0,
              sinks=False):
    """The usual causal attention. `norm` of q and k: none, head (RMS), row (RMS of all heads
    together) or layer (layer norm a head)."""
    p = f"blk.{layer}."
    q, k, v = parts.qkv(m, x, p, layer)
    if norm == "head":
        q, k = m.rms(q, p + "attn_q_norm"), m.rms(k, p + "attn_k_norm")
    elif norm == "row":
        q = m.rms(q.reshape(len(x), -1), p + "attn_q_norm").reshape(q.shape)
        k = m.rms(k.reshape(len(x), -1), p + "attn_k_norm").reshape(k.shape)
    elif norm == "layer":
        q, k = head_norm(m, q, p + "attn_q_norm"), head_norm(m, k, p + "attn_k_norm")
    if table is not None:
        q, k = rotate(q, table, neighbours), rotate(k, table, neighbours)
    temperature = m.key("attention.temperature_scale", 0.0) if m.arch == "mistral3" else 0.0
    if temperature:
        original = m.key("rope.scaling.original_context_length", m.key("context_length"))
        warmth = 1 + temperature * np.log(np.floor(np.arange(len(x)) / original) + 1)
        q = q * warmth[:, None, None]
    out = parts.attend(q, k, v, 1 / np.sqrt(q.shape[2]) if scale is None else scale,
                       mask_of(len(x), window=window), cap,
                       m[p + "attn_sinks.weight"] if sinks else None)
    return m.linear(out, p + "attn_output")


def llama(m, tokens):
    """llama, mistral3, qwen2, qwen2moe, qwen3, qwen3moe, phi3, smollm3, gemma and granite(moe)."""
    neighbours = m.arch in ("llama", "mistral3", "smollm3", "granite", "granitemoe")
    per_head = "head" if m.arch in ("qwen3", "qwen3moe") else "none"
    granite = m.arch.startswith("granite")
    k = m.key("residual_scale", 0.0) or 1.0 if granite else 1.0
    scale = m.key("attention.scale", 0.0) or None if granite else None
    table = rope_table(m, m.n_rot())
    if granite and not m.key("rope.scaling.finetuned", True):
        table = None
    x = embed(m, tokens, np.sqrt(m.n_embd) if m.arch == "gemma"
              else m.key("embedding_scale", 0.0) or 1.0 if granite else 1.0)
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        here = None if m.arch == "smollm3" and (layer + 1) % 4 == 0 else table
        x = x + k * attention(m, m.rms(x, p + "attn_norm"), layer, here, neighbours, per_head,
                              scale=scale)
        n = m.rms(x, p + "ffn_norm")
        if p + "ffn_gate_inp.weight" in m:
            y = parts.moe(m, n, p, normalize=m.arch != "qwen2moe")
            if p + "ffn_up_shexp.weight" in m:
                shared = glu(m, n, p, silu, "_shexp")
                if p + "ffn_gate_inp_shexp.weight" in m:
                    shared = shared * sigmoid(n @ m[p + "ffn_gate_inp_shexp.weight"])[:, None]
                y = y + shared
        else:
            y = glu(m, n, p, gelu if m.arch == "gemma" else silu)
        x = x + k * y
    logits = head(m, m.rms(x, "output_norm"))
    return logits / m.key("logit_scale") if granite else logits


def qwen3_embedding(m, tokens):
    """qwen3 with pooling over the last token: the state behind output_norm."""
    table = rope_table(m, m.n_rot())
    x = embed(m, tokens)
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        x = x + attention(m, m.rms(x, p + "attn_norm"), layer, table, False, "head")
        x = x + glu(m, m.rms(x, p + "ffn_norm"), p)
    return pooled(m, m.rms(x, "output_norm"))


def gemma23(m, tokens):
    """Gemma 2 and 3: norms around each part, windows in most layers."""
    third = m.arch == "gemma3"
    period = 6 if third else 2
    window = m.key("attention.sliding_window", 0 if third else 4096)
    base_window = m.key("rope.freq_base_swa", 10000.0 if third else m.base)
    full = rope_table(m, m.n_rot())
    near = rope_table(m, m.n_rot(), base_window, scaled=not third, factors=not third)
    scale = None
    if m.n_layer == (62 if third else 46):
        scale = 1 / np.sqrt(m.n_embd / m.heads(0)[0])
    x = embed(m, tokens, np.sqrt(m.n_embd))
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        windowed = window and layer % period < period - 1
        y = attention(m, m.rms(x, p + "attn_norm"), layer, near if windowed else full, False,
                      "head" if third else "none", window if windowed else 0, scale,
                      0.0 if third else m.key("attn_logit_softcapping", 50.0))
        x = x + m.rms(y, p + "post_attention_norm")
        x = x + m.rms(glu(m, m.rms(x, p + "ffn_norm"), p, gelu), p + "post_ffw_norm")
    logits = head(m, m.rms(x, "output_norm"))
    cap = m.key("final_logit_softcapping", 0.0 if third else 30.0)
    return cap * np.tanh(logits / cap) if cap else logits


def gemma4_experts(m, x, p, dense):
    a = m.rms(dense, p + "post_ffw_norm_1")
    router = m.rms(x) / np.sqrt(m.n_embd) * m[p + "ffn_gate_inp.scale"]
    b = parts.moe(m, m.rms(x, p + "pre_ffw_norm_2"), p, router,
                  unit=lambda gate, up: gelu(gate) * up)
    return a + m.rms(b, p + "post_ffw_norm_2")


def gemma4(m, tokens):
    n_shared = m.key("attention.shared_kv_layers", 0)
    pattern = m.key("attention.sliding_window_pattern")
    window = m.key("attention.sliding_window")
    e = m.key("embedding_length_per_layer_input")
    x = embed(m, tokens, np.sqrt(m.n_embd))
    if e:
        shape = (len(tokens), m.n_layer, e)
        u = np.sqrt(e) * m["per_layer_token_embd.weight"][np.asarray(tokens)].reshape(shape)
        w = (m.linear(x, "per_layer_model_proj") / np.sqrt(m.n_embd)).reshape(shape)
        z = (u + m.rms(w, "per_layer_proj_norm")) / np.sqrt(2)
    kept = {}
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        suffix = "_swa" if pattern[layer] else ""
        d = m.key("attention.key_length" + suffix, m.head_dim())
        n_head, n_kv = m.heads(layer)
        n_rot = m.key("rope.dimension_count" + suffix, d)
        table = (rope_table(m, n_rot, m.key("rope.freq_base_swa", 10000.0), factors=False)
                 if pattern[layer] else rope_table(m, n_rot))
        n = m.rms(x, p + "attn_norm")
        q = m.linear(n, p + "attn_q").reshape(len(x), n_head, d)
        q = rotate(m.rms(q, p + "attn_q_norm"), table, False)
        if layer < m.n_layer - n_shared:
            k = m.linear(n, p + "attn_k").reshape(len(x), n_kv, d)
            v = m.linear(n, p + "attn_v").reshape(len(x), n_kv, d) if p + "attn_v.weight" in m else k
            kept[layer] = rotate(m.rms(k, p + "attn_k_norm"), table, False), m.rms(v)
        source = min(layer, m.n_layer - n_shared - (2 if pattern[layer] else 1))
        k, v = kept[layer] if layer in kept else kept[source]
        y = parts.attend(q, k, v, 1.0, mask_of(len(x), window=window if pattern[layer] else 0))
        x = x + m.rms(m.linear(y, p + "attn_output"), p + "post_attention_norm")
        y = glu(m, m.rms(x, p + "ffn_norm"), p, gelu)
        if p + "ffn_gate_inp.weight" in m:
            y = gemma4_experts(m, x, p, y)
        x = x + m.rms(y, p + "post_ffw_norm")
        if e:
            y = gelu(m.linear(x, p + "inp_gate")) * z[:, layer]
            x = x + m.rms(m.linear(y, p + "proj"), p + "post_norm")
        if p + "layer_output_scale.weight" in m:
            x = x * m[p + "layer_output_scale.weight"]
    logits = head(m, m.rms(x, "output_norm"))
    cap = m.key("final_logit_softcapping", 30.0)
    return cap * np.tanh(logits / cap) if cap else logits


def layer_normed(m, tokens):
    """phi2, starcoder2, gpt2, gptneox, falcon, stablelm, command-r and cohere2."""
    table = None if m.arch == "gpt2" else rope_table(m, m.n_rot())
    neighbours = m.arch in ("command-r", "cohere2")
    window = m.key("attention.sliding_window", 0) if m.arch == "cohere2" else 0
    x = embed(m, tokens)
    if "position_embd.weight" in m:
        x = x + m["position_embd.weight"][:len(tokens)]
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        n = m.layer_norm(x, p + "attn_norm")
        n_attention = m.layer_norm(x, p + "attn_norm_2") if p + "attn_norm_2.weight" in m else n
        windowed = window if layer % 4 < 3 else 0
        here = None if m.arch == "cohere2" and not windowed else table
        a = attention(m, n_attention, layer, here, neighbours,
                      "layer" if p + "attn_q_norm.weight" in m else "none", windowed)
        gated = p + "ffn_gate.weight" in m
        if p + "ffn_norm.weight" not in m:
            n_ffn = n
        elif m.arch == "gptneox" and m.key("use_parallel_residual"):
            n_ffn = m.layer_norm(x, p + "ffn_norm")
        else:
            n_ffn = m.layer_norm(x + a, p + "ffn_norm")
        x = x + a + (glu(m, n_ffn, p) if gated else mlp(m, n_ffn, p))
    logits = head(m, m.layer_norm(x, "output_norm"))
    return logits * (m.key("logit_scale", 0.0) or 1.0) if neighbours else logits


def post_normed(m, tokens):
    """olmo2 (norms behind the parts only) and glm4 (before and behind)."""
    olmo = m.arch == "olmo2"
    window = m.key("attention.sliding_window", 0) if olmo else 0
    full = rope_table(m, m.n_rot())
    near = rope_table(m, m.n_rot(), scaled=False)
    x = embed(m, tokens)
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        windowed = window if layer % 4 < 3 else 0
        n = x if olmo else m.rms(x, p + "attn_norm")
        y = attention(m, n, layer, near if windowed else full, not olmo, "row" if olmo else "none",
                      windowed)
        x = x + m.rms(y, p + "post_attention_norm")
        n = x if olmo else m.rms(x, p + "ffn_norm")
        x = x + m.rms(glu(m, n, p), p + "post_ffw_norm")
    return head(m, m.rms(x, "output_norm"))


def gpt_oss(m, tokens):
    table = rope_table(m, m.n_rot())
    x = embed(m, tokens)
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        window = m.key("attention.sliding_window") if layer % 2 == 0 else 0
        x = x + attention(m, m.rms(x, p + "attn_norm"), layer, table, False, window=window,
                          sinks=True)
        x = x + parts.moe(m, m.rms(x, p + "post_attention_norm"), p, gating="softmax_chosen",
                          unit=parts.clamped_swiglu)
    return head(m, m.rms(x, "output_norm"))


def qwen35(m, tokens):
    interval = m.key("full_attention_interval", 4)
    n_head, n_kv = m.heads(0)
    d, n = m.head_dim(), len(tokens)
    table = rope_table(m, m.n_rot())
    x = embed(m, tokens)
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        y = m.rms(x, p + "attn_norm")
        if (layer + 1) % interval:
            x = x + parts.delta_net(m, y, p)
        else:
            q, gate = np.split(m.linear(y, p + "attn_q").reshape(n, n_head, 2 * d), 2, axis=2)
            k = m.linear(y, p + "attn_k").reshape(n, n_kv, d)
            v = m.linear(y, p + "attn_v").reshape(n, n_kv, d)
            q = rotate(m.rms(q, p + "attn_q_norm"), table, False)
            k = rotate(m.rms(k, p + "attn_k_norm"), table, False)
            o = parts.attend(q, k, v, 1 / np.sqrt(d), mask_of(n)) * sigmoid(gate).reshape(n, -1)
            x = x + m.linear(o, p + "attn_output")
        y = m.rms(x, p + "post_attention_norm")
        if p + "ffn_gate_inp.weight" in m:
            shared = glu(m, y, p, silu, "_shexp")
            shared = shared * sigmoid(y @ m[p + "ffn_gate_inp_shexp.weight"])[:, None]
            x = x + parts.moe(m, y, p) + shared
        else:
            x = x + glu(m, y, p)
    return head(m, m.rms(x, "output_norm"))


def latent_attention(m, x, layer):
    """Keys and values expanded from the latent, never absorbed."""
    p = f"blk.{layer}."
    n, n_rot, rank = len(x), m.n_rot(), m.key("attention.kv_lora_rank")
    n_head = m.heads(layer)[0]
    width = m.key("attention.key_length_mla", m.key("attention.key_length"))
    n_v = m.key("attention.value_length_mla", m.key("attention.value_length"))
    n_nope = width - n_rot
    if p + "attn_q_a.weight" in m:
        q = m.linear(m.rms(m.linear(x, p + "attn_q_a"), p + "attn_q_a_norm"), p + "attn_q_b")
    else:
        q = m.linear(x, p + "attn_q")
    q = q.reshape(n, n_head, width)
    latent, k_rot = np.split(m.linear(x, p + "attn_kv_a_mqa"), [rank], axis=1)
    latent = m.rms(latent, p + "attn_kv_a_norm")
    if p + "attn_kv_b.weight" in m:
        both = m.linear(latent, p + "attn_kv_b").reshape(n, n_head, n_nope + n_v)
        k, v = both[..., :n_nope], both[..., n_nope:]
    else:
        k = np.einsum("hcn,tc->thn", m[p + "attn_k_b.weight"], latent)
        v = np.einsum("hvc,tc->thv", m[p + "attn_v_b.weight"], latent)
    table = rope_table(m, n_rot)
    q = np.concatenate([q[..., :n_nope], rotate(q[..., n_nope:], table, True)], axis=2)
    k_rot = np.repeat(rotate(k_rot[:, None, :], table, True), n_head, axis=1)
    mm = 1.0
    if m.key("rope.scaling.type") == "yarn":
        log_multiplier = m.key("rope.scaling.yarn_log_multiplier", 0.0) / 0.1
        mm = m.key("rope.scaling.attn_factor", 1.0) * (
            1 + 0.1 * log_multiplier * np.log(m.key("rope.scaling.factor")))
    out = parts.attend(q, np.concatenate([k, k_rot], axis=2), v, mm * mm / np.sqrt(width),
                       mask_of(n))
    return m.linear(out, p + "attn_output")


def deepseek2(m, tokens):
    gating = {0: "softmax", 1: "softmax", 2: "sigmoid", 3: "softmax_chosen"}[
        m.key("expert_gating_func", 0)]
    x = embed(m, tokens)
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        x = x + latent_attention(m, m.rms(x, p + "attn_norm"), layer)
        n = m.rms(x, p + "ffn_norm")
        if layer < m.key("leading_dense_block_count", 0):
            x = x + glu(m, n, p)
        else:
            x = x + glu(m, n, p, silu, "_shexp") + parts.moe(
                m, n, p, gating=gating, normalize=m.key("expert_weights_norm", False),
                scale=m.key("expert_weights_scale", 0.0) or 1.0)
    return head(m, m.rms(x, "output_norm"))


def lfm2(m, tokens):
    table = rope_table(m, m.n_rot())
    x = embed(m, tokens)
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        n = m.rms(x, p + "attn_norm")
        if m.heads(layer)[1]:
            x = x + attention(m, n, layer, table, False, "head")
        else:
            x = x + parts.short_convolution(m, n, p)
        x = x + glu(m, m.rms(x, p + "ffn_norm"), p)
    return head(m, m.rms(x, "token_embd_norm"))


def pooled(m, x):
    return {1: x.mean(axis=0), 2: x[0], 3: x[-1]}[m.key("pooling_type", 1)]


def bert(m, tokens):
    """bert, nomic-bert and jina-bert-v2."""
    n, n_head, d = len(tokens), m.heads(0)[0], m.head_dim()
    x = embed(m, tokens) + m["token_types.weight"][0]
    if "position_embd.weight" in m:
        x = x + m["position_embd.weight"][:n]
    x = m.layer_norm(x, "token_embd_norm")
    slopes = parts.alibi_slopes(n_head) if m.arch == "jina-bert-v2" else None
    table = rope_table(m, m.n_rot()) if m.arch == "nomic-bert" else None
    act = {"bert": gelu, "nomic-bert": silu, "jina-bert-v2": gelu}[m.arch]
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        q, k, v = parts.qkv(m, x, p, layer)
        if p + "attn_q_norm.weight" in m:
            q = m.layer_norm(q.reshape(n, -1), p + "attn_q_norm").reshape(q.shape)
            k = m.layer_norm(k.reshape(n, -1), p + "attn_k_norm").reshape(k.shape)
        if table is not None:
            q, k = rotate(q, table, False), rotate(k, table, False)
        a = parts.attend(q, k, v, 1 / np.sqrt(d), mask_of(n, causal=False), alibi=slopes)
        y = m.layer_norm(x + m.linear(a, p + "attn_output"), p + "attn_output_norm")
        if p + "attn_norm_2.weight" in m:
            y = m.layer_norm(x + y, p + "attn_norm_2")
        gated = m.arch != "bert"
        x = m.layer_norm(y + (glu if gated else mlp)(m, y, p, act), p + "layer_output_norm")
    return pooled(m, x)


def gemma_embedding(m, tokens):
    n, d, window = len(tokens), m.head_dim(), m.key("attention.sliding_window")
    period = m.key("attention.sliding_window_pattern", 6)
    full = rope_table(m, m.n_rot())
    near = rope_table(m, m.n_rot(), m.key("rope.freq_base_swa", 10000.0), scaled=False,
                      factors=False)
    x = embed(m, tokens, np.sqrt(m.n_embd))
    for layer in range(m.n_layer):
        p = f"blk.{layer}."
        windowed = (period[layer] if isinstance(period, list)
                    else layer % period < period - 1)
        table = near if windowed else full
        q, k, v = parts.qkv(m, m.rms(x, p + "attn_norm"), p, layer)
        q = rotate(m.rms(q, p + "attn_q_norm"), table, False)
        k = rotate(m.rms(k, p + "attn_k_norm"), table, False)
        hidden = mask_of(n, causal=False, window=window if windowed else 0, symmetric=True)
        y = m.linear(parts.attend(q, k, v, 1 / np.sqrt(d), hidden), p + "attn_output")
        x = x + m.rms(y, p + "post_attention_norm")
        x = x + m.rms(glu(m, m.rms(x, p + "ffn_norm"), p, gelu), p + "post_ffw_norm")
    y = pooled(m, m.rms(x, "output_norm"))
    for name in ("dense_2", "dense_3"):
        y = m.linear(y, name) if name + ".weight" in m else y
    return y


PASSES = {
    **dict.fromkeys(("llama", "mistral3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "phi3", "smollm3",
                     "gemma", "granite", "granitemoe"), llama),
    **dict.fromkeys(("gemma2", "gemma3"), gemma23),
    **dict.fromkeys(("phi2", "starcoder2", "gpt2", "gptneox", "falcon", "stablelm", "command-r",
                     "cohere2"), layer_normed),
    **dict.fromkeys(("olmo2", "glm4"), post_normed),
    **dict.fromkeys(("qwen35", "qwen35moe"), qwen35),
    **dict.fromkeys(("bert", "nomic-bert", "jina-bert-v2"), bert),
    "gemma4": gemma4, "gpt-oss": gpt_oss, "deepseek2": deepseek2, "lfm2": lfm2,
    "gemma-embedding": gemma_embedding,
}


def run(m, tokens):
    if m.arch == "qwen3" and m.key("pooling_type", 0):
        return qwen3_embedding(m, tokens)
    return PASSES[m.arch](m, tokens)
