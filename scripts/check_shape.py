#!/usr/bin/env python3
"""The shape of the tree as rules: arrows between folders, sizes, one file an op, rows that must match."""
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ALLOWED = {
    "store": {"store"},
    "registry": {"registry", "store"},
    "backends": {"backends"},
    "runtime": {"runtime", "backends"},
    "server": {"server", "runtime", "backends", "registry", "store"},
    "cmd": {"cmd", "server", "runtime", "backends", "registry", "store"},
}
MAX_FILE_LINES = 800
# Files above the limit, each with its reason.
LONG_FILES = {
    "runtime/tokenizer/unicode_tables.cpp": "generated",
    "runtime/tokenizer/base_tables.cpp": "generated",
    "backends/reference/dequant_iq1_grid.cpp": "generated",
    "backends/reference/dequant_iq2_grids.cpp": "generated",
    "backends/reference/dequant_iq3_grids.cpp": "generated",
}
problems = []


def tracked():
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True,
                         capture_output=True, check=True).stdout
    return [pathlib.PurePosixPath(line) for line in out.splitlines() if (ROOT / line).is_file()]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


files = tracked()
sources = [f for f in files if f.suffix in (".cpp", ".h", ".cu", ".cuh")]

# 1. Includes obey the arrows; includes between files of the product form no cycle; no gravity wells.
graph = {}
for f in sources:
    graph[str(f)] = []
    for included in re.findall(r'^#include "([^"]+)"', text(f), re.M):
        graph[str(f)].append(included)
        top, target = f.parts[0], included.split("/")[0]
        if top in ALLOWED and target not in ALLOWED[top]:
            problems.append(f"{f}: includes {included}, but {top}/ may import only {sorted(ALLOWED[top])}")
    if re.match(r"(util|common)", f.stem):
        problems.append(f"{f}: no util or common files; a helper lives with its only owner")
state = {}


def visit(node, trail):
    state[node] = 1
    for nxt in graph.get(node, []):
        if state.get(nxt) == 1:
            problems.append("include cycle: " + " -> ".join(trail + [node, nxt]))
        elif nxt in graph and nxt not in state:
            visit(nxt, trail + [node])
    state[node] = 2


for node in graph:
    if node not in state:
        visit(node, [])

for f in sources:
    if re.fullmatch(r"tests/.*_test\.cpp", str(f)) and len(re.findall(r"^namespace \{$", text(f), re.M)) == 1:
        problems.append(f"{f}: its own names belong into namespace LM_FILE (tests/CMakeLists.txt says why)")

# 2. Sizes.
lengths = {str(f): text(f).count("\n") for f in sources if f.parts[0] != "tests"}
for name, lines in lengths.items():
    if lines > MAX_FILE_LINES and name not in LONG_FILES:
        problems.append(f"{name}: {lines} lines; what two things is it?")

# 3. Every op has a reference file and conformance cases.
ops = re.findall(r'operator\(\)\(const ops::(\w+)&\) const \{ return "(\w+)"; \}', text("backends/ops.cpp"))
conformance = "".join(text(f) for f in files if str(f).startswith("tests/conformance/"))
for type_name, op in ops:
    if op == "copy":  # runs between segments, proven by the golden test of split placements
        continue
    if not (ROOT / f"backends/reference/{op}.cpp").exists():
        problems.append(f"op {op}: backends/reference/{op}.cpp is missing")
    if f"ops::{type_name}" not in conformance:
        problems.append(f"op {op}: no case in tests/conformance")
if not ops:
    problems.append("backends/ops.cpp: no ops found; does op_name still look as this check expects?")

# 4. Every architecture has a registry row and a golden case.
registry = text("runtime/model/registry.cpp")
golden = "".join(text(f) for f in files if str(f).startswith("tests/golden/"))
for f in files:
    if str(f).startswith("runtime/arch/") and f.suffix == ".cpp":
        if f"&arch::{f.stem}" not in registry:
            problems.append(f"{f}: no row in runtime/model/registry.cpp")
        if f.stem not in golden and f.stem.replace("_", "-") not in golden:
            problems.append(f"{f}: no case in tests/golden")

# 5. Unfinished places, printing outside cmd/.
for f in sources:
    body = text(f)
    if re.search(r"\b(TODO|FIXME|XXX)\b(?!.*#\d)", body) or "#if 0" in body:
        problems.append(f"{f}: unfinished place without an issue number")
    if f.parts[0] in ("store", "registry", "runtime", "backends") and re.search(
            r"std::(cout|cerr)|(?<!s)(?<!sn)(?<!f)\bprintf\(|fmt::print\(", body):
        problems.append(f"{f}: libraries do not print")

# 6. The top level.
expected = {"CMakeLists.txt", "CMakePresets.json", "cmd", "registry", "store", "runtime", "backends", "server", "tests",
            "scripts", "README.md", "CHANGELOG.md", "LICENSE"}
for name in sorted({f.parts[0] for f in files}):
    if name not in expected and not name.startswith("."):
        problems.append(f"{name}: not part of the agreed top level")

print(f"{len(sources)} source files; product: median {statistics.median(lengths.values()):.0f} lines, "
      f"longest {max(lengths.values())}")
for problem in problems:
    print("shape:", problem)
sys.exit(1 if problems else 0)
