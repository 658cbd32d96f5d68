#!/usr/bin/env python3
"""Recomputes golden files and prints the NMSE against what they hold: check.py [NAME...]"""

import json
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

import forward
import gguf
from parts import Model

FOLDER = os.path.join(os.path.dirname(__file__), "../../tests/data/golden/arch")


def nmse(got, want):
    want = np.asarray(want)
    return np.sum((got - want) ** 2) / np.sum(want**2)


def check(name):
    with open(f"{FOLDER}/{name}.json") as file:
        golden = json.load(file)
    metadata, tensors, _ = gguf.read(f"{FOLDER}/{golden['model']}")
    model = Model(metadata, tensors, golden["n_ctx"])
    worst = 0.0
    n_row = 0
    for prompt in golden["prompts"]:
        out = forward.run(model, prompt["tokens"])
        rows = [(int(at), row["values"]) for at, row in prompt.get("logits", {}).items()]
        for position, values in rows:
            worst = max(worst, nmse(out[position], values))
        if "embedding" in prompt:
            worst = max(worst, nmse(out, prompt["embedding"]))
        n_row += len(rows) or 1
    return worst, n_row, golden["tolerance"]["exact_nmse"]


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(f[:-5] for f in os.listdir(FOLDER) if f.endswith(".json"))
    failed = 0
    for name in names:
        worst, n_row, limit = check(name)
        failed += worst > limit
        print(f"{name:24} {n_row:3} rows  NMSE {worst:.1e}  limit {limit:.0e}"
              f"{'  TOO LARGE' if worst > limit else ''}", flush=True)
    sys.exit(failed > 0)
