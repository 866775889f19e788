"""What waiting costs a program beside the wait: after each one the processor works slower for a while.

Shown without any file server: the program runs from the local disk and sleeps in place of requests, as often and as long as
it waited for them in a layout. What its own computing then takes more is the slowdown. The sleeps are spread evenly over its
opens (an audit hook), what they really lasted is taken off. What it is set against sleeps as often, but for no time, so that
what the hook itself takes is on both sides. How much slower it gets is not the same every day, so it is measured right after
the runs that it is to explain.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.layouts.report import LAYOUTS
from benchmarks.layouts.waits import asked
from fsprobe.model.formats import JsonObject

KINDS = ("lookup", "open", "read")
N_LEAST = 20
"""Fewer waits than these are not worth a measurement."""
OVERSLEPT_S = 80e-6
"""A sleep lasts about so much longer than it was asked for."""
PROGRAM = """
import sys, time
per_open, wait_s = float(sys.argv[1]), float(sys.argv[2])
slept_s, owed, n_opens = 0.0, 0.0, 0
def hook(event, arguments):
    global slept_s, owed, n_opens
    if event == "open":
        n_opens += 1
        owed += per_open
        while owed >= 1:
            owed -= 1
            begin = time.perf_counter()
            time.sleep(wait_s)
            slept_s += time.perf_counter() - begin
sys.addaudithook(hook)
begin = time.perf_counter()
{code}
print(n_opens, time.perf_counter() - begin - slept_s)
"""


def slowdowns(
    rows: Sequence[JsonObject], waits_s: Mapping[str, float], env: Path, code: str, n_runs: int
) -> list[JsonObject]:
    """For each layout and cache state with waits worth the name: what they cost the program beside themselves.

    Args:
        rows: of the comparison, with the requests that the servers counted.
        waits_s: what a client waited for one request, s, as `gains` takes it.
        env: the environment, on a local disk.

    Returns:
        [{"layout", "cache", "n_waits", "wait_ms", "slowdown_s", "alone_s", "beside_s"}], the last two with every run.
    """
    script = PROGRAM.format(code=code)
    cases = []
    for row in (row for row in rows if row["layout"] in LAYOUTS):
        prefix = "flash " if row["layout"] == "flash-like" else ""
        n = {kind: n for kind, n in asked(row).items() if kind in KINDS}
        n_waits = sum(n.values())
        if n_waits >= N_LEAST:
            wait_s = sum(n[kind] * waits_s[f"{prefix}{row['cache']} {kind}"] for kind in KINDS) / n_waits
            cases.append((row["layout"], row["cache"], n_waits, wait_s))
    # images differ by a request or two: one measurement serves them all
    alike = {case: (round(case[2], -1), round(case[3], 5)) for case in cases}
    n_opens = max(1, run(env, script, 0.0, 0.0)[0])
    alone: dict[tuple[float, float], list[float]] = {key: [] for key in alike.values()}
    beside: dict[tuple[float, float], list[float]] = {key: [] for key in alike.values()}
    for _ in range(n_runs):
        for n_waits, wait_s in beside:
            key, per_open = (n_waits, wait_s), n_waits / n_opens
            alone[key].append(run(env, script, per_open, 0.0)[1])
            beside[key].append(run(env, script, per_open, max(wait_s - OVERSLEPT_S, 1e-6))[1])
    return [
        {
            "layout": layout,
            "cache": cache,
            "n_waits": n_waits,
            "wait_ms": round(wait_s * 1e3, 4),
            "slowdown_s": round(statistics.median(beside[key]) - statistics.median(alone[key]), 4),
            "alone_s": [round(took, 4) for took in alone[key]],
            "beside_s": [round(took, 4) for took in beside[key]],
        }
        for (layout, cache, n_waits, wait_s), key in alike.items()
    ]


def run(env: Path, script: str, per_open: float, wait_s: float) -> tuple[int, float]:
    """(opens, s that the program took without its sleeps)."""
    words = [str(env / "bin/python"), "-c", script, str(per_open), str(wait_s)]
    done = subprocess.run(words, check=True, cwd="/", capture_output=True, text=True)
    n_opens, took = done.stdout.split()[-2:]
    return int(n_opens), float(took)
