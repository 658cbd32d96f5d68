"""The parts of forward passes in float64, written from their formulas and for clarity only.

Every pass sees the whole sequence at once: x is [n_token, width], there is no cache.
"""

import numpy as np


class NearTie(Exception):
    """A router is closer between two experts than `Model.choice_limit`."""


class Model:
    """Metadata and tensors with the lookups that forward passes need."""

    def __init__(self, metadata, tensors, n_ctx):
        self.metadata, self.tensors, self.n_ctx = metadata, tensors, n_ctx
        self.arch = metadata["general.architecture"]
        # Blocks that predict further tokens stand at the end and are not run.
        self.n_layer = self.key("block_count") - self.key("nextn_predict_layers", 0)
        self.n_embd = self.key("embedding_length")
        self.n_vocab = len(metadata["tokenizer.ggml.tokens"])
        self.eps = self.key("attention.layer_norm_rms_epsilon",
                            self.key("attention.layer_norm_epsilon", 0.0))
        self.base = self.key("rope.freq_base", 10000.0)
        self.closest_choice = np.inf  # smallest gap in router logits: an expert taken, one left out
        self.choice_limit = -np.inf

    def key(self, name, fallback=None):
        return self.metadata.get(f"{self.arch}.{name}", fallback)

    def at_layer(self, name, layer, fallback=None):
        """A key that is one value for all layers or an array of them."""
        value = self.key(name, fallback)
        return value[layer] if isinstance(value, list) else value

    def heads(self, layer):
        n_head = self.at_layer("attention.head_count", layer)
        return n_head, self.at_layer("attention.head_count_kv", layer, n_head)

    def head_dim(self):
        n_head = self.heads(0)[0]
        return self.key("attention.key_length", self.n_embd // n_head)

    def n_rot(self):
        return self.key("rope.dimension_count", self.head_dim())

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        return self.tensors[name]

    def note_choice(self, gap):
        self.closest_choice = min(self.closest_choice, gap)
        if gap < self.choice_limit:
            raise NearTie

    def linear(self, x, name):
        y = x @ self.tensors[name + ".weight"].T
        return y + self.tensors[name + ".bias"] if name + ".bias" in self.tensors else y

    def rms(self, x, name=None, eps=None):
        y = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + (self.eps if eps is None else eps))
        return y if name is None else y * self.tensors[name + ".weight"]

    def layer_norm(self, x, name):
        y = x - x.mean(axis=-1, keepdims=True)
        y = y / np.sqrt(np.mean(y * y, axis=-1, keepdims=True) + self.eps)
        y = y * self.tensors[name + ".weight"]
        return y + self.tensors[name + ".bias"] if name + ".bias" in self.tensors else y


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rope_factors(m, n_rot):
    """The frequency factors of the file: one tensor for all contexts, or one of two."""
    if "rope_freqs.weight" in m:
        return m["rope_freqs.weight"]
    original = m.key("rope.scaling.original_context_length", m.key("context_length"))
    name = "rope_factors_long.weight" if m.n_ctx > original else "rope_factors_short.weight"
    return m[name] if name in m else np.ones(n_rot // 2)


def rope_table(m, n_rot, base=None, scaled=True, factors=True):
    """(frequencies [n_rot / 2], magnitude) by the scaling keys; YaRN is Peng et al. 2023."""
    base = m.base if base is None else base
    j = np.arange(n_rot // 2)
    theta = base ** (-2.0 * j / n_rot)
    if factors:
        theta = theta / rope_factors(m, n_rot)
    kind = m.key("rope.scaling.type", "linear")
    s = m.key("rope.scaling.factor", m.key("rope.scale_linear", 0.0)) or 1.0
    a = m.key("rope.scaling.attn_factor", 1.0)
    if not scaled:
        return theta, 1.0
    if kind != "yarn":
        return theta if kind == "none" else theta / s, a
    original = m.key("rope.scaling.original_context_length", m.key("context_length"))
    fast = m.key("rope.scaling.yarn_beta_fast", 32.0)
    slow = m.key("rope.scaling.yarn_beta_slow", 1.0)

    def corrected(turns):
        return n_rot * np.log(original / (2 * np.pi * turns)) / (2 * np.log(base))

    low = max(0.0, np.floor(corrected(fast)))
    high = min(n_rot - 1.0, np.ceil(corrected(slow)))
    mix = 1 - np.clip((j - low) / max(0.001, high - low), 0, 1)
    theta = theta / s * (1 - mix) + theta * mix
    log_multiplier = m.key("rope.scaling.yarn_log_multiplier", 0.0)
    if m.arch == "deepseek2":
        log_multiplier = 1.0 if log_multiplier else 0.0
    magnitude = 1 + 0.1 * np.log(s)
    if log_multiplier:
        magnitude /= 1 + 0.1 * log_multiplier * np.log(s)
    return theta, a * magnitude


def rotate(x, table, neighbours):
    """x [n_token, n_head, d]: the first dims turn, the rest passes through."""
    theta, magnitude = table
    half = len(theta)
    angle = np.arange(x.shape[0])[:, None] * theta[None, :]
    cos, sin = (f(angle)[:, None, :] * magnitude for f in (np.cos, np.sin))
    y = x.copy()
    if neighbours:
        a, b = x[..., 0:2 * half:2], x[..., 1:2 * half:2]
        y[..., 0:2 * half:2], y[..., 1:2 * half:2] = a * cos - b * sin, a * sin + b * cos
    else:
        a, b = x[..., :half], x[..., half:2 * half]
        y[..., :half], y[..., half:2 * half] = a * cos - b * sin, a * sin + b * cos
    return y


def mask_of(n, causal=True, window=0, symmetric=False):
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    hidden = j > i if causal else np.zeros((n, n), bool)
    if window and symmetric:
        hidden |= np.abs(i - j) > window // 2
    elif window:
        hidden |= i - j >= window
    return hidden


def attend(q, k, v, scale, hidden, cap=0.0, sinks=None, alibi=None):
    """q [n, H, d], k [n, KV, d], v [n, KV, dv] -> [n, H * dv]"""
    n, n_head, _ = q.shape
    group = n_head // k.shape[1]
    out = np.empty((n, n_head, v.shape[2]))
    for head in range(n_head):
        score = scale * q[:, head] @ k[:, head // group].T
        if cap:
            score = cap * np.tanh(score / cap)
        if alibi is not None:
            score = score - alibi[head] * np.abs(np.arange(n)[:, None] - np.arange(n)[None, :])
        score = np.where(hidden, -np.inf, score)
        if sinks is not None:
            score = np.concatenate([score, np.full((n, 1), sinks[head])], axis=1)
        out[:, head] = softmax(score)[:, :n] @ v[:, head // group]
    return out.reshape(n, -1)


def alibi_slopes(n_head):
    n = 2 ** int(np.log2(n_head))
    return [2.0 ** (-8 * (h + 1) / n) if h < n else 2.0 ** (-4 * (2 * (h - n) + 1) / n)
            for h in range(n_head)]


def qkv(m, x, p, layer, d_k=None, d_v=None):
    """q, k, v as [n, heads, d], from three matrices or one."""
    n_head, n_kv = m.heads(layer)
    d_k = m.head_dim() if d_k is None else d_k
    d_v = m.key("attention.value_length", d_k) if d_v is None else d_v
    if p + "attn_qkv.weight" in m:
        q, k, v = np.split(m.linear(x, p + "attn_qkv"), [n_head * d_k, (n_head + n_kv) * d_k], 1)
    else:
        q, k, v = (m.linear(x, p + "attn_" + part) for part in "qkv")
    n = len(x)
    return q.reshape(n, n_head, d_k), k.reshape(n, n_kv, d_k), v.reshape(n, n_kv, d_v)


def glu(m, x, p, act=silu, suffix=""):
    """Gated, from three matrices or with gate and up in one (the gate first)."""
    up = m.linear(x, p + "ffn_up" + suffix)
    if p + "ffn_gate" + suffix + ".weight" in m:
        gate = m.linear(x, p + "ffn_gate" + suffix)
    else:
        gate, up = np.split(up, 2, axis=1)
    return m.linear(act(gate) * up, p + "ffn_down" + suffix)


def mlp(m, x, p, act=gelu):
    return m.linear(act(m.linear(x, p + "ffn_up")), p + "ffn_down")


def clamped_swiglu(gate, up):
    gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
    return gate * sigmoid(1.702 * gate) * (up + 1)


def moe(m, x, p, router_x=None, gating="softmax", normalize=True, scale=1.0, unit=None):
    """A mixture of experts. `unit(gate, up)` is what an expert does between its matrices."""
    unit = unit or (lambda gate, up: silu(gate) * up)
    n_expert, n_used = m.key("expert_count"), m.key("expert_used_count")
    logits = m.linear(x if router_x is None else router_x, p + "ffn_gate_inp")
    probs = {"softmax": softmax, "sigmoid": sigmoid}.get(gating, lambda y: y)(logits)
    choice = probs + m[p + "exp_probs_b.bias"] if p + "exp_probs_b.bias" in m else probs
    n_group, n_kept = m.key("expert_group_count", 0), m.key("expert_group_used_count", 0)
    if n_group > 1:
        groups = np.sort(choice.reshape(len(x), n_group, -1), axis=2)[:, :, -2:].sum(axis=2)
        order = np.argsort(-groups, axis=1, kind="stable")
        for row, dropped in enumerate(order[:, n_kept:]):
            for g in dropped:
                choice[row, g * n_expert // n_group:(g + 1) * n_expert // n_group] = -np.inf
    out = np.zeros_like(x)
    for row in range(len(x)):
        order = np.argsort(-choice[row], kind="stable")
        if n_used < n_expert:
            m.note_choice(logits[row, order[n_used - 1]] - logits[row, order[n_used]])
        used = order[:n_used]
        w = probs[row, used]
        if gating == "softmax_chosen":
            w = softmax(w)
        elif normalize:
            w = w / max(w.sum(), 6.103515625e-5)
        for weight, e in zip(w * scale, used):
            out[row] += weight * expert(m, x[row], p, e, unit)
    return out


def expert(m, x, p, e, unit):
    def product(name, y):
        z = m[p + name + ".weight"][e] @ y
        return z + m[p + name + ".bias"][e] if p + name + ".bias" in m else z

    if p + "ffn_gate_up_exps.weight" in m:
        gate, up = np.split(product("ffn_gate_up_exps", x), 2)
    else:
        gate, up = product("ffn_gate_exps", x), product("ffn_up_exps", x)
    y = product("ffn_down_exps", unit(gate, up))
    return y * m[p + "ffn_down_exps.scale"][e] if p + "ffn_down_exps.scale" in m else y


def delta_net(m, x, p):
    """The gated delta rule over a causal depthwise convolution (Yang et al. 2024)."""
    n_tap, size = m.key("ssm.conv_kernel"), m.key("ssm.state_size")
    n_v, n_k = m.key("ssm.time_step_rank"), m.key("ssm.group_count")
    n = len(x)
    mixed = m.linear(x, p + "attn_qkv")
    past = np.concatenate([np.zeros((n_tap - 1, mixed.shape[1])), mixed])
    taps = m[p + "ssm_conv1d.weight"]
    mixed = silu(sum(past[t:t + n] * taps[:, t] for t in range(n_tap)))
    q, k, v = np.split(mixed, [n_k * size, 2 * n_k * size], axis=1)
    q, k, v = q.reshape(n, n_k, size), k.reshape(n, n_k, size), v.reshape(n, n_v, size)

    def unit_length(y):
        return y / np.sqrt((y * y).sum(axis=-1, keepdims=True) + m.eps)

    q, k = unit_length(q) / np.sqrt(size), unit_length(k)
    beta = sigmoid(m.linear(x, p + "ssm_beta"))
    decay = np.logaddexp(0, m.linear(x, p + "ssm_alpha") + m[p + "ssm_dt.bias"]) * m[p + "ssm_a"]
    out = np.empty((n, n_v, size))
    for head in range(n_v):
        state = np.zeros((size, size))
        for t in range(n):
            q_t, k_t = q[t, head % n_k], k[t, head % n_k]
            state = state * np.exp(decay[t, head])
            state = state + np.outer(k_t, beta[t, head] * (v[t, head] - state.T @ k_t))
            out[t, head] = state.T @ q_t
    gate = silu(m.linear(x, p + "attn_gate")).reshape(n, n_v, size)
    return m.linear((m.rms(out, p + "ssm_norm") * gate).reshape(n, -1), p + "ssm_out")


def short_convolution(m, x, p):
    n_tap = m.key("shortconv.l_cache")
    b, c, y = np.split(m.linear(x, p + "shortconv.in_proj"), 3, axis=1)
    past = np.concatenate([np.zeros((n_tap - 1, m.n_embd)), b * y])
    taps = m[p + "shortconv.conv.weight"]
    mixed = sum(past[t:t + len(x)] * taps[:, t] for t in range(n_tap))
    return m.linear(c * mixed, p + "shortconv.out_proj")
