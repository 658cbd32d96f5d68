#!/usr/bin/env python3
"""Writes golden models and what a float64 forward pass makes of them: generate.py [NAME...]"""

import hashlib
import json
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

import forward
import gguf
from models import models
from parts import Model, NearTie
from tiny import V

FOLDER = os.path.join(os.path.dirname(__file__), "../../tests/data/golden/arch")
VOCABULARY = "llama-gqa.gguf"  # its tokenizer is that of all golden models
N_CTX = 256
LENGTHS = (1, 2, 7, 17, 33, 70)
GREEDY_OF = (7, 33)
N_GREEDY = 24
# Where router logits are closer than this, an F16 KV cache may choose another expert.
CLOSEST_CHOICE = 8e-3
GELU = {"gemma", "gemma2", "gemma3", "gemma4", "gemma-embedding", "phi2", "starcoder2", "gpt2",
        "gptneox", "falcon", "bert", "jina-bert-v2"}


def digits(values, n=7):
    return [float(f"{v:.{n}g}") for v in np.atleast_1d(values)]


def row(values):
    return {"sum": digits(values.sum(), 9)[0], "mean": digits(values.mean(), 9)[0],
            "std": digits(values.std(), 9)[0], "argmax": int(values.argmax()),
            "values": digits(values)}


def greedy(model, tokens):
    tokens, chosen, margins = list(tokens), [], []
    for _ in range(N_GREEDY):
        last = forward.run(model, tokens)[-1]
        best, second = np.argsort(-last)[:2]
        chosen.append(int(best))
        margins.append(digits(last[best] - last[second], 4)[0])
        tokens.append(int(best))
    return {"greedy": chosen, "greedy_margin": margins}


def prompts_of(model, pooling, rng):
    prompts = []
    for length in LENGTHS:
        tokens = [1] + [int(t) for t in rng.integers(3, V, length - 1)]
        out = forward.run(model, tokens)
        prompt = {"tokens": tokens}
        if pooling is not None:
            prompt["embedding"] = digits(out, 8)
        else:
            at = sorted({length // 2, length - 1}) if length > 2 else [length - 1]
            prompt["logits"] = {str(i): row(out[i]) for i in at}
            prompt["per_position"] = {"argmax": [int(i) for i in out.argmax(axis=1)],
                                      "std": digits(out.std(axis=1), 6)}
            if length in GREEDY_OF:
                prompt |= greedy(model, tokens)
        prompts.append(prompt)
    return prompts


def generate(name, make, tokenizer, vocabulary):
    # Seeds follow from the name, so that a new model doesn't change the others.
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    path = f"{FOLDER}/{name}.gguf"
    while True:
        metadata, tensors = make(seed)
        rounded = {k: v.astype(np.float64) for k, v in tensors.items()}
        # Floats as the file holds them.
        read_back = {k: float(np.float32(v)) if isinstance(v, float) else v
                     for k, v in metadata.items()}
        model = Model(read_back | vocabulary, rounded, N_CTX)
        pooling = {1: "mean", 2: "cls", 3: "last"}.get(model.key("pooling_type", 0))
        model.choice_limit = CLOSEST_CHOICE
        try:
            prompts = prompts_of(model, pooling, np.random.default_rng(seed))
            break
        except NearTie:
            seed += 1
    gguf.write(path, metadata, tensors, tokenizer)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    golden = {"model": f"{name}.gguf", "architecture": model.arch, "sha256": digest,
              "engine": "float64 NumPy, scripts/golden", "n_ctx": N_CTX,
              "kind": "causal" if pooling is None else "embedding", "pooling": pooling,
              "tolerance": {"exact_nmse": 5e-6 if model.arch in GELU else 1e-8,
                            "f16_kv_nmse": 2e-5},
              "prompts": prompts}
    with open(path[:-5] + ".json", "w") as file:
        json.dump(golden, file)
        file.write("\n")
    spread = (np.mean([p["per_position"]["std"][-1] for p in prompts]) if pooling is None
              else np.std(prompts[-1]["embedding"]))
    print(f"{name:22} {os.path.getsize(path) / 1000:6.0f} kB  std {spread:.2f}"
          f"  closest choice {model.closest_choice:.1e}", flush=True)


if __name__ == "__main__":
    known = models()
    metadata_of, _, tokenizer_of = gguf.read(f"{FOLDER}/{VOCABULARY}")
    vocabulary_of = {k: v for k, v in metadata_of.items() if k.startswith("tokenizer.")}
    for wanted in sys.argv[1:] or sorted(known):
        generate(wanted, known[wanted], tokenizer_of, vocabulary_of)
