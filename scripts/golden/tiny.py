"""One tiny random model in the making.

Matrices are drawn so that activations stay near 1, norm weights differ from 1 and biases from 0:
whatever an implementation leaves out shows in the logits.
"""

import math

import numpy as np

V = 320
CONTEXT = 512


class Tiny:
    """One model in the making."""

    def __init__(self, arch, seed, layers=2, embd=40, heads=4, kv=2, ff=48, d=None, eps=None,
                 layer_norm=False, branch=1.0, **keys):
        """`branch`: how large what blocks add is; below 1 in deep models, whose rounding errors
        grow from block to block otherwise."""
        self.branch = branch
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.layers, self.embd, self.heads, self.kv, self.ff = layers, embd, heads, kv, ff
        self.d = d or embd // heads
        self.tensors = {}
        # Large, so that a wrong one shows.
        eps = eps or (2e-2 if layer_norm else 2e-3)
        eps_name = "layer_norm_epsilon" if layer_norm else "layer_norm_rms_epsilon"
        values = {"context_length": CONTEXT, "embedding_length": embd, "block_count": layers,
                  "feed_forward_length": ff, "attention.head_count": heads,
                  "attention.head_count_kv": kv, "attention." + eps_name: eps}
        if d:
            values |= {"attention.key_length": d, "attention.value_length": d}
        values |= keys
        self.metadata = {"general.architecture": arch, "general.name": "tiny random weights",
                         "general.license": "cc0-1.0"}
        self.metadata |= {f"{arch}.{k}": v for k, v in values.items()}

    def finish(self):
        return self.metadata, self.tensors

    def put(self, name, values):
        self.tensors[name] = np.asarray(values, np.float32)

    def matrix(self, name, n_in, n_out, gain=1.0, count=None):
        shape = (n_out, n_in) if count is None else (count, n_out, n_in)
        self.put(name + ".weight", self.rng.standard_normal(shape) * gain / math.sqrt(n_in))

    def norm(self, name, n, bias=False, gain=1.0):
        self.put(name + ".weight", self.rng.uniform(0.6, 1.4, n) * gain)
        if bias:
            self.bias(name, n)

    def bias(self, name, n, gain=0.3):
        self.put(name + ".bias", self.rng.standard_normal(n) * gain)

    def linear(self, name, n_in, n_out, bias=False, gain=1.0):
        self.matrix(name, n_in, n_out, gain)
        if bias:
            self.bias(name, n_out)

    def embedding(self, scale=1.0):
        self.put("token_embd.weight", self.rng.standard_normal((V, self.embd)) * scale)

    def output(self, tied=False, bias=False, norm=True, norm_bias=False, gain=2.0):
        if norm:
            self.norm("output_norm", self.embd, norm_bias)
        if not tied:
            self.linear("output", self.embd, V, bias, gain)

    def attention(self, p, bias=False, output_bias=False, fused=False, qk=None, d=None):
        """q and k with gains that make some scores large: attention must not be nearly uniform."""
        d = d or self.d
        widths = self.heads * d, self.kv * d, self.kv * d
        if fused:
            self.linear(p + "attn_qkv", self.embd, sum(widths), bias, 1.5)
        else:
            for part, n, gain in zip("qkv", widths, (1.5, 1.5, 1.0)):
                self.linear(p + "attn_" + part, self.embd, n, bias, gain)
        self.linear(p + "attn_output", widths[0], self.embd, output_bias, self.branch)
        for part, n, heads in (("q", widths[0], self.heads), ("k", widths[1], self.kv)):
            name = f"{p}attn_{part}_norm"
            if qk == "head":
                self.norm(name, d)
            elif qk == "row":
                self.norm(name, n)
            elif qk == "row_layer":
                self.norm(name, n, True)
            elif qk == "layer":
                self.put(name + ".weight", self.rng.uniform(0.6, 1.4, (heads, d)))

    def glu(self, p, fused=False, bias=False, suffix="", ff=None):
        ff = ff or self.ff
        if not fused:
            self.linear(p + "ffn_gate" + suffix, self.embd, ff, bias, 1.5)
        self.linear(p + "ffn_up" + suffix, self.embd, 2 * ff if fused else ff, bias, 1.5)
        self.linear(p + "ffn_down" + suffix, ff, self.embd, bias, self.branch)

    def mlp(self, p, bias=True):
        self.linear(p + "ffn_up", self.embd, self.ff, bias, 1.5)
        self.linear(p + "ffn_down", self.ff, self.embd, bias)

    def experts(self, p, n, ff, bias=False, fused=False):
        self.linear(p + "ffn_gate_inp", self.embd, n, bias, 2.0)
        if fused:
            self.matrix(p + "ffn_gate_up_exps", self.embd, 2 * ff, 1.5, n)
        else:
            self.matrix(p + "ffn_gate_exps", self.embd, ff, 1.5, n)
            self.matrix(p + "ffn_up_exps", self.embd, ff, 1.5, n)
        self.matrix(p + "ffn_down_exps", ff, self.embd, 1.0, n)
        if bias:
            for name, width in (("gate", ff), ("up", ff), ("down", self.embd)):
                self.put(f"{p}ffn_{name}_exps.bias", self.rng.standard_normal((n, width)) * 0.3)

    def blocks(self):
        return [f"blk.{layer}." for layer in range(self.layers)]
