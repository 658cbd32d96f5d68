#!/usr/bin/env python3
"""The definitions P1 to S1 of lm's speed against the peer: interleaved passes, ratios, what else used the CPU.

Called by scripts/bench-peer --definitions FOLDER [ID...]; FOLDER holds models as SHAPE-TYPE.gguf (llama-3.2-1b-q4_k_m.gguf,
or 1b-q4_k_m.gguf). Progress goes to stderr, the Markdown table to stdout."""
import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count()
FOREIGN_LIMIT = 0.05  # of all CPUs; a pass above it is repeated
ATTEMPTS = 3

SHORT = {"llama-3.2-1b": "1b", "llama-3.1-8b": "8b", "qwen3-0.6b": "qwen3-0.6b", "moe8": "moe8"}
B1 = "llama-3.2-1b"


def speed(model, quant, test, goal, **more):
    return {"model": model, "quant": quant, "test": test, "goal": goal, **more}


# A test is pp<n>, tg<n> or tg<n>x<sequences>; depth: tokens in the context beforehand.
DEFINITIONS = {
    "P1": [speed(B1, "q4_k_m", "pp512", 3), speed(B1, "q4_k_m", "pp2048", 3)],
    "P2": [speed(B1, "q8_0", "pp512", 2), speed(B1, "q4_0", "pp512", 2), speed(B1, "f16", "pp512", 5),
           speed(B1, "bf16", "pp512", 5)],
    "P3": [speed("moe8", "q4_k_m", "pp512", 4)],
    "P4": [speed("llama-3.1-8b", "q4_k_m", "pp512", 3)],
    "D1": [speed(B1, "q4_k_m", "tg128", 1.6), speed(B1, "q8_0", "tg128", 1.15), speed(B1, "q4_0", "tg128", None),
           speed(B1, "f16", "tg128", 1.15), speed("qwen3-0.6b", "q8_0", "tg128", 1.15),
           speed("moe8", "q4_k_m", "tg128", 1.6), speed("llama-3.1-8b", "q4_k_m", "tg16", 1.6)],
    "D2": [speed(B1, "q4_k_m", "tg32", 2, depth=2048), speed(B1, "q4_k_m", "tg32", 3, depth=4096)],
    "D3": [speed(B1, "q4_k_m", "tg24x4", None), speed(B1, "q4_k_m", "tg24x8", None),
           speed(B1, "q4_k_m", "tg24x16", 2.5)],
    "D4": [speed(B1, "q4_k_m", "tg128", None, busy=True)],
    "L1": [{"model": B1, "quant": "q4_k_m", "start": True}, {"model": "llama-3.1-8b", "quant": "q4_k_m", "start": True}],
    "S1": [speed(B1, "q4_k_m", "pp512", 3, threads=1), speed(B1, "q4_k_m", "pp2048", 3, threads=1),
           speed(B1, "q4_k_m", "tg128", 1.6, threads=1)],
    # Both with AVX2 alone; and lm without AMX against the peer with it.
    "A2": [speed(B1, "q4_k_m", "pp512", 1.3, isa="avx2"), speed(B1, "q4_k_m", "tg128", 1.5, isa="avx2"),
           speed(B1, "q8_0", "pp512", 1.3, isa="avx2"), speed(B1, "q8_0", "tg128", 1.5, isa="avx2")],
    "N1": [speed(B1, "q4_k_m", "pp512", 1, isa="avx512vnni", needs="amx_int8")],
}


def note(text):
    print(text, file=sys.stderr, flush=True)


def row_out(text):
    print(text, flush=True)  # each as it is known: a run takes an hour


def busy_ticks():
    """Ticks that all CPUs together were not idle, steal included: what is taken from us disturbs as well."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, stat.readline().split()[1:9])
    return user + nice + system + irq + soft + steal


def ticks_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def own_ticks():
    total = 0.0
    for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF):
        used = resource.getrusage(who)
        total += (used.ru_utime + used.ru_stime) * TICKS
    return total


class Foreign:
    """Share of the CPUs that went to others while a block ran."""

    def __init__(self, companion=None):
        self.companion = companion
        self.share = 0.0

    def __enter__(self):
        self.begin = time.monotonic()
        self.busy, self.own, self.beside = busy_ticks(), own_ticks(), ticks_of(self.companion) if self.companion else 0
        return self

    def __exit__(self, *_):
        elapsed = time.monotonic() - self.begin
        ours = own_ticks() - self.own + (ticks_of(self.companion) - self.beside if self.companion else 0)
        self.share = max(0.0, busy_ticks() - self.busy - ours) / (max(elapsed, 0.01) * TICKS * CPUS)


def quiet(measure, what, companion=None):
    """Runs `measure` until others used little of the CPU meanwhile: its result, and their share in the best attempt."""
    best = None
    for attempt in range(ATTEMPTS):
        with Foreign(companion) as foreign:
            result = measure()
        if best is None or foreign.share < best[1]:
            best = (result, foreign.share)
        if foreign.share <= FOREIGN_LIMIT:
            break
        note(f"  {what}: others used {foreign.share:.0%} of the CPU (attempt {attempt + 1} of {ATTEMPTS})")
    return best


def run_json(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}")
    return json.loads(done.stdout)


def timed_start(command, **options):
    """Seconds from the start of a program to its first byte of output (or its end), and its peak RSS in bytes."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **options)
    os.read(process.stdout.fileno(), 1)
    first = time.monotonic() - begin
    process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return first, used.ru_maxrss * 1024


def drop_cache(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def busy_loop(wanted):
    if not wanted:
        yield None
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
        try:
            yield loop.pid
        finally:
            loop.kill()


class Runner:
    def __init__(self, options):
        self.options = options

    def model(self, row):
        names = [f"{prefix}-{row['quant']}.gguf" for prefix in (row["model"], SHORT[row["model"]])]
        for name in names:
            for path in self.options.folder.iterdir():
                if path.name.lower() == name:
                    return path.resolve()
        note(f"{names[0]}: is not in {self.options.folder}; make it or leave this row out")
        return None

    def environment(self, row):
        environment = dict(os.environ)
        if "isa" in row:
            environment["LM_CPU_ISA"] = row["isa"]
        return environment

    def lm_speed(self, row, path, threads):
        kind, _, sequences = row["test"].partition("x")
        n = kind[2:]
        command = [self.options.lm, "bench", path, "-r", "1", "-t", str(threads), "-d", str(row.get("depth", 0)), "--no-roofs",
                   "--no-host", "--json"]
        if sequences:
            command += ["--sequences", sequences, "-n", n]
        else:
            command += ["-p", n, "-n", "0"] if kind.startswith("pp") else ["-p", "0", "-n", n]
        return run_json(command, env=self.environment(row))[0]["tok_s"]

    def peer_folder(self, row):
        return self.options.peer_avx2 if row.get("isa") == "avx2" else self.options.peer

    def peer_speed(self, row, path, threads):
        asked = {"model": str(path), "threads": threads, "tests": [row["test"]], "depth": row.get("depth", 0)}
        return run_json(["node", "bench_peer.mjs", json.dumps(asked)], cwd=self.peer_folder(row))[row["test"]]

    def speed_row(self, name, row, path):
        threads = row.get("threads", self.options.threads)
        test = row["test"] + (f"@d{row['depth']}" if row.get("depth") else "")
        what = f"{name} {path.stem} {test}"
        undisturbed = None
        if row.get("busy"):
            undisturbed, _ = quiet(lambda: self.lm_speed(row, path, threads), f"{what} undisturbed")
        ours, theirs, foreign = [], [], []
        with busy_loop(row.get("busy")) as companion:
            for number in range(self.options.passes):
                for to, measure in ((ours, self.lm_speed), (theirs, self.peer_speed)):
                    result, share = quiet(lambda m=measure: m(row, path, threads), what, companion)
                    to.append(result)
                    foreign.append(share)
                note(f"{what:<40} pass {number + 1}: lm {ours[-1]:8.2f}  peer {theirs[-1]:8.2f} tok/s  "
                     f"ratio {ours[-1] / theirs[-1]:.2f}  foreign {foreign[-2]:.1%} {foreign[-1]:.1%}")
        remark = []
        if threads != self.options.threads:
            remark.append(f"{threads} thread")
        if "isa" in row:
            remark.append(row["isa"])
        if undisturbed:
            share = statistics.median(ours) / undisturbed
            remark.append(f"one busy loop; {share:.2f} of lm undisturbed ({undisturbed:.1f}), goal 0.55")
        self.add(name, path, test, ours, theirs, "{:.1f}", row.get("goal"), foreign, remark, [o / t for o, t in zip(ours, theirs)])

    def start_row(self, name, row, path):
        prompt = "a b c"
        ours_command = [self.options.lm, "run", path, "--raw", "--temp", "0", "--predict", "1", "--ctx", "4096", "--set",
                        f"num_thread={self.options.threads}", prompt]
        asked = json.dumps({"model": str(path), "threads": self.options.threads, "start": True})
        peaks = {"ours": 0, "theirs": 0}
        for state in ("cold", "warm"):
            ours, theirs, foreign = [], [], []
            if state == "warm":
                timed_start(ours_command)
            for _ in range(self.options.passes):
                for to, who, command, folder in ((ours, "ours", ours_command, None),
                                                 (theirs, "theirs", ["node", "bench_peer.mjs", asked], self.options.peer)):
                    def measure(command=command, folder=folder):
                        if state == "cold":
                            drop_cache(path)
                        return timed_start(command, cwd=folder)
                    (seconds, peak), share = quiet(measure, f"{name} {path.stem} {state}")
                    to.append(seconds)
                    foreign.append(share)
                    peaks[who] = max(peaks[who], peak)
                note(f"{name} {path.stem} start {state}: lm {ours[-1]:.3f} s, peer {theirs[-1]:.3f} s")
            goal = 0.4 if state == "warm" and row["model"] == B1 else None
            remark = [f"goal: lm in {goal} s"] if goal else []
            self.add(name, path, f"start to first token, {state} (s)", ours, theirs, "{:.3f}", None, foreign, remark,
                     [t / o for o, t in zip(ours, theirs)])
        size = path.stat().st_size
        row_out(f"| {name} | {path.stem} | peak RSS over file size | {peaks['ours'] / size:.2f} | {peaks['theirs'] / size:.2f} | "
                f"{peaks['theirs'] / peaks['ours']:.2f} | | | goal: lm at 1.15 of file and KV |")

    def add(self, name, path, test, ours, theirs, form, goal, foreign, remark, ratios):
        worst = max(foreign)
        if worst > FOREIGN_LIMIT:
            remark = remark + ["**disturbed**"]
        row_out(f"| {name} | {path.stem} | {test} | {form.format(statistics.median(ours))} | "
                f"{form.format(statistics.median(theirs))} | {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}) | {goal or ''} | {worst:.1%} | {'; '.join(remark)} |")

    def run(self, names):
        row_out("| | model | test | lm | peer | ratio (spread) | goal | foreign CPU | |")
        row_out("|---|---|---|---|---|---|---|---|---|")
        for name in names:
            for row in DEFINITIONS[name]:
                path = self.model(row)
                if path is None:
                    continue
                if "needs" in row and row["needs"] not in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"):
                    note(f"{name}: this machine has no {row['needs']}")
                    continue
                (self.start_row if row.get("start") else self.speed_row)(name, row, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--lm", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--peer-avx2", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--passes", type=int, required=True)
    options = parser.parse_args()
    options.lm = str(pathlib.Path(options.lm).resolve())
    unknown = [name for name in options.ids if name not in DEFINITIONS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: known are {', '.join(DEFINITIONS)}")
    Runner(options).run(options.ids or list(DEFINITIONS))


if __name__ == "__main__":
    main()
