"""The time account against what server, CPU clock and arithmetic say, in four settings, cold and warm.

    python -m benchmarks.time [-o reports]

A program waits on a simulated file server in a known way (`program.py`): for names, for reads, for pages of a mapped file; or
it computes. The server keeps how long it held each kind of request (what it owed, and what it overslept); the program says what
its CPU clock shows, and the scheduler's count of its waiting for a processor in each part of it: after a reply that is still
waiting in the call. Each figure is the median of runs, the backends by turns. Each part of the account must come within 10 % of
that, or within 2 % of the wall time, and the verdict must be right in every run. strace sees no reads: there page faults and
reads are one part, and the verdict may only say that it can't tell. Takes root and /dev/fuse.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import evidence
from benchmarks.fileserver import Counters, Server, serve
from benchmarks.time.program import STRIDE
from fsprobe import pipeline
from fsprobe.analysis.verdict import CAN_NOT_TELL, HEAVY, NOT
from fsprobe.model.profile import Profile

PROGRAM = str(Path(__file__).with_name("program.py"))
BACKENDS = ("inline", "strace")
WITHIN, OF_WALL = 0.10, 0.02
N_RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the program does, and how slow the server is."""

    name: str
    meta_ms: float
    read_ms: float
    n_stats: int = 20
    n_reads: int = 5
    n_faults: int = 5
    cpu_s: float = 1.0

    def words(self, place: Path) -> list[str]:
        """The program's command line."""
        numbers = (self.n_stats, self.n_reads, self.n_faults, self.cpu_s)
        return [sys.executable, "-I", PROGRAM, str(place), *map(str, numbers)]


SETTINGS = (
    Setting(name="metadata-heavy", meta_ms=4.0, read_ms=1.0, n_stats=1000),
    Setting(name="read-heavy", meta_ms=0.05, read_ms=20.0, n_reads=200),
    Setting(name="CPU-heavy", meta_ms=0.5, read_ms=1.0, cpu_s=4.0),
    Setting(name="page-fault-heavy", meta_ms=0.5, read_ms=20.0, n_faults=200),
)


def fill(place: Path) -> None:
    """The two files that are read; they have holes."""
    for name in ("read.bin", "mapped.bin"):
        with open(place / name, "wb") as target:
            target.truncate(STRIDE * (max(max(one.n_reads, one.n_faults) for one in SETTINGS) + 1))


def measure(setting: Setting, server: Server, backend: str, place: Path) -> evidence.Json:
    """One run: what the account says beside the truth."""
    before = server.counters()
    file = place / "x.fsprobe"
    words = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "--record-only",
        "--backend",
        backend,
        "--force",
        "-o",
        str(file),
        "--",
    ]
    done = subprocess.run(
        [*words, *setting.words(Path(os.fsdecode(server.mnt)))],
        capture_output=True,
        text=True,
        check=True,
        cwd=evidence.REPOSITORY,
    )
    held = server.counters() - before
    profile = pipeline.analyse(file)
    return {
        "said": parts(profile),
        "truth": truth(setting, held, json.loads(done.stdout), backend),
        "wall_s": profile.time.wall_s if profile.time is not None else None,
        "level": profile.verdict.level if profile.verdict is not None else None,
        "sentence": evidence.neutral(profile.verdict.sentence) if profile.verdict is not None else None,
        "cache_guess": profile.time.cache_guess if profile.time is not None else "",
    }


def parts(profile: Profile) -> evidence.Json:
    """Seconds by part of the account."""
    assert profile.time is not None
    return {part.key: part.time_s for part in profile.time.parts}


def truth(setting: Setting, held: Counters, told: evidence.Json, backend: str) -> evidence.Json:
    """Seconds by part: what the server held, those for data by what the program did; CPU by the program's clock; and the waiting
    for a processor, which other programs on the machine have, where it was waited for."""
    queued = told["queued_s"]
    data_s = held.data_held_ns / 1e9
    reads_s = data_s * setting.n_reads / (setting.n_reads + setting.n_faults)
    found = {"cpu": told["cpu_s"], "metadata": held.metadata_held_ns / 1e9 + queued["metadata"]}
    other_s = data_s - reads_s + queued["faults"] + queued["computing"] + queued["start"]
    if backend == "inline":
        return {**found, "reads": reads_s + queued["reads"], "other": other_s}
    return {**found, "other": other_s + reads_s + queued["reads"]}


def middle(rows: Sequence[evidence.Json]) -> evidence.Json:
    """The median of each figure; of runs that don't agree in the level, all levels."""
    first = rows[0]
    levels = sorted({row["level"] for row in rows})
    return {
        **first,
        "said": {key: statistics.median(row["said"].get(key, 0.0) for row in rows) for key in first["said"]},
        "truth": {key: statistics.median(row["truth"][key] for row in rows) for key in first["truth"]},
        "wall_s": statistics.median(row["wall_s"] for row in rows),
        "level": ", ".join(levels),
        "is_right": all(row["level"] in first["expected"] for row in rows),
    }


def misses(row: evidence.Json) -> list[str]:
    """Parts that are not as they should be."""
    return [
        key
        for key, true_s in row["truth"].items()
        if abs(row["said"].get(key, 0.0) - true_s) > max(WITHIN * true_s, OF_WALL * row["wall_s"])
    ]


def expected(setting: Setting, is_cold: bool, backend: str) -> tuple[str, ...]:
    """The right verdicts."""
    if not is_cold or setting.name == "CPU-heavy":
        return (NOT,)
    if setting.name == "read-heavy" and backend == "strace":
        return (CAN_NOT_TELL,)
    return (HEAVY,)


def run(place: Path, n_runs: int) -> list[evidence.Json]:
    """All settings with all backends."""
    source, mount = place / "source", place / "mount"
    source.mkdir()
    mount.mkdir()
    fill(source)
    rows = []
    for setting in SETTINGS:
        runs: dict[tuple[str, str], list[evidence.Json]] = {}
        with serve(source, mount, meta_ms=setting.meta_ms, read_ms=setting.read_ms) as server:
            for _ in range(n_runs):
                for backend in BACKENDS:
                    server.remount()
                    for cache in ("cold", "warm"):
                        row = measure(setting, server, backend, place)
                        row["expected"] = expected(setting, cache == "cold", backend)
                        runs.setdefault((backend, cache), []).append(row)
        for (backend, cache), found in runs.items():
            row = {"setting": setting.name, "backend": backend, "cache": cache, **middle(found), "runs": found}
            rows.append({**row, "misses": misses(row)})
            evidence.say(f"{setting.name}, {backend}, {cache}: {row['level']}, misses {rows[-1]['misses']}")
    return rows


def markdown(data: evidence.Json) -> str:
    """The report."""
    words = "setting backend cache wall CPU metadata_calls reads other cache_guess verdict".split()
    header = [word.replace("_", " ") for word in words]
    rows = [
        [
            *(row[key] for key in ("setting", "backend", "cache")),
            f"{row['wall_s']:.2f}",
            *(_cell(row, key) for key in ("cpu", "metadata", "reads", "other")),
            row["cache_guess"] or "none",
            row["level"] + ("" if row["is_right"] else " (wrong)"),
        ]
        for row in data["rows"]
    ]
    what = (__doc__ or "").strip().split("\n\n", 2)[2].replace("\n", " ")
    cells = "Each cell: what the account says / what server and clock say, in s; (!) where they differ by more."
    table = evidence.table(header, rows)
    return f"# The time account against the truth\n\n{what}\n\n{evidence.about(data)}\n{cells}\n\n{table}"


def _cell(row: evidence.Json, key: str) -> str:
    if key not in row["said"]:
        return "in other"
    true_s = row["truth"].get(key)
    said = f"{row['said'][key]:.2f}" + (f" / {true_s:.2f}" if true_s is not None else "")
    return said + (" (!)" if key in row["misses"] else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the report; 1 where a part or a verdict is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=evidence.REPORTS, help="directory of the report")
    parser.add_argument("-n", "--runs", type=int, default=N_RUNS, help=f"of each kind (default {N_RUNS})")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fsprobe-time-") as place:
        rows = run(Path(place), options.runs)
    evidence.save({**evidence.head("time"), "n_runs": options.runs, "rows": rows}, markdown, None, options.output)
    return int(any(row["misses"] or not row["is_right"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
