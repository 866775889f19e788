"""Before and after on the stand-in file server: the same program in every layout, at several latencies.

    python -m benchmarks.layouts VENV [-o reports/layouts.json] [--quick] [--again-over LOAD]

The environment is served at its own path, its image and a copy of it from other directories of slow servers, and
`fsprobe.experiment` runs the program in all of them, cold (every mount is made anew) and warm. The servers' own counters
say what was asked. For each layout the time that it gains against the plain environment, measured, stands beside what
the difference in requests would give: metadata requests, reads and ioctls, each times what a client waits for one, which is
measured meanwhile. VENV needs pandas, scipy and matplotlib, and must be on a local disk. Root.

Times of a machine that does other work too are longer than they say. Before each run other work is waited for, as long as
there is patience; what share of the time something waited for a CPU is noted. `--again-over LOAD` measures those cells of
the JSON anew in which the load average was above LOAD, whatever had come out; what came out stays in the JSON beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import evidence
from benchmarks.layouts_report import LAYOUTS, TOLERANCE, cpu_s, render, served
from benchmarks.standin import Server, serve
from fsprobe import experiment
from fsprobe.experiment.plan import Progress
from fsprobe.layouts.pack import pack
from fsprobe.model import JsonObject

WORKLOADS = {"pandas": "import pandas", "scipy+pyplot": "import scipy.stats, matplotlib.pyplot"}
LATENCIES_MS = (0.1, 0.3, 1.0, 3.0)
READ_SHARE = 0.5
"""A read takes this share of a metadata request."""
FLASH_SHARE = 0.3
"""The flash-like filesystem answers in this share of the time."""
N_RUNS = 5
N_CALIBRATION = 60
N_TRIES = 5
"""Comparisons of the environment with its own copy."""
PATIENCE_S = 2.0
"""How long one run waits for other work to end."""
CELL_PATIENCE_S = 100.0
"""How long all runs of a cell wait together."""
BUSY_SHARE = 0.25
"""A machine whose CPUs are busier than this is not quiet."""
KINDS = ("metadata", "read", "ioctl")
"""Requests that a call waits for. IOCTL (isatty of each opened .pyc) has no latency set, but is a round trip all the same."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """Slow filesystems, and how to ask and to reset them."""

    servers: list[Server]
    calibration: Server
    flash_calibration: Server
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    n_emptied: int = 0

    def counters(self) -> Mapping[str, int]:
        """What all of them were asked, added up."""
        total: dict[str, int] = {}
        for server in self.servers:
            for name, n in server.counters().as_json().items():
                total[name] = total.get(name, 0) + n
        return total

    def empty(self) -> None:
        """Every client cold; once a round the latency is measured, so that it is of the same minutes as the runs."""
        for server in self.servers:
            server.remount()
        if self.n_emptied % len(LAYOUTS) == 0:
            self.calibrate("", self.calibration)
            self.calibrate("flash ", self.flash_calibration)
        self.n_emptied += 1

    def calibrate(self, prefix: str, server: Server) -> None:
        """What a client waits for one request, s: LOOKUP of a name, READ of a file of one page, IOCTL (isatty)."""
        server.remount()
        names = [os.path.join(server.mnt, b"f%03d" % number) for number in range(N_CALIBRATION)]
        opened: list[int] = []
        try:
            self._time(prefix + "metadata", server, lambda: [os.lstat(name) for name in names])
            opened += [os.open(name, os.O_RDONLY) for name in names]
            self._time(prefix + "read", server, lambda: [os.read(descriptor, 4096) for descriptor in opened])
            self._time(prefix + "ioctl", server, lambda: [os.isatty(descriptor) for descriptor in opened])
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _time(self, name: str, server: Server, act: Callable[[], object]) -> None:
        before = server.counters().as_json()
        begin = time.perf_counter()
        act()
        took = time.perf_counter() - begin
        field_name = name.rpartition(" ")[2]
        n = server.counters().as_json()[field_name] - before[field_name]
        self.latencies_s.setdefault(name, []).append(took / n)


@contextmanager
def scene(env: Path, images: Path, flash: Path, small: Path, latency_ms: float, scratch: Path) -> Iterator[Scene]:
    """Serve everything at one latency."""

    def slow(src: Path, mount: Path, share: float = 1.0) -> Server:
        mount.mkdir(exist_ok=True)
        ms = latency_ms * share
        return stack.enter_context(serve(src, mount, meta_ms=ms, read_ms=ms * READ_SHARE))

    with ExitStack() as stack:
        yield Scene(
            servers=[
                slow(env, env),
                slow(images, scratch / "mnt-images"),
                slow(flash, scratch / "mnt-flash", FLASH_SHARE),
            ],
            calibration=slow(small, scratch / "mnt-slow"),
            flash_calibration=slow(small, scratch / "mnt-fast", FLASH_SHARE),
        )


def busy_share(span_s: float = 0.2) -> float:
    """Share of the machine's CPU time that somebody uses, over a moment in which we sleep."""

    def look() -> tuple[int, int]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    before = look()
    time.sleep(span_s)
    after = look()
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1)


@dataclass(slots=True, kw_only=True)
class Patience:
    """Waits before each run until the machine is quiet; called as the experiment's progress."""

    left_s: float = CELL_PATIENCE_S
    waited_s: float = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        """Wait, unless there is no patience left."""
        begin = time.monotonic()
        limit = min(PATIENCE_S, self.left_s)
        while time.monotonic() - begin < limit and busy_share() > BUSY_SHARE:
            pass
        took = time.monotonic() - begin
        self.left_s -= took
        self.waited_s += took


def cpu_stalled_s() -> float | None:
    """Seconds since the boot in which some process waited for a CPU; None where the kernel does not say."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().split("total=", 1)[1].split()[0]) / 1e6
    except (OSError, IndexError, ValueError):
        return None


def measure(
    env: Path,
    native: Path,
    around: Scene,
    images: Path,
    flash: Path,
    code: str,
    n_runs: int,
    output: Path,
    wait: Progress,
) -> JsonObject:
    """One cell: a program at one latency, in every layout."""
    image = images / "env.sqsh"
    plan = experiment.Plan(
        env=env,
        command=["python", "-c", code],
        existing={"native": native, "flash-like": flash / "env"},
        images=(
            experiment.Image(label="squashfs", kind="squashfs", image=image, way="root+kernel"),
            experiment.Image(label="squashfuse", kind="squashfs", image=image, way="root+fuse"),
            experiment.Image(label="overlay", kind="overlay", image=image, way="root+kernel"),
        ),
        n_runs=n_runs,
        caches=experiment.CACHES,
        check_byte_code=False,  # done once, where it is fast
        output_dir=output,
    )
    result, _ = experiment.run(plan, server=around.counters, empty=around.empty, progress=wait)
    return result


def alike(env: Path, scratch: Path, output: Path, n_tries: int) -> list[JsonObject]:
    """The environment against its own copy on the same filesystem, again and again: what is said of no difference."""
    tries = []
    for _ in range(n_tries):
        plan = experiment.Plan(
            env=env,
            command=["python", "-c", WORKLOADS["pandas"]],
            copies={"copy": scratch},
            n_runs=7,
            output_dir=output,
        )
        result, _ = experiment.run(plan)
        row = result["rows"][1]
        tries.append(
            {name: row[name] for name in ("ratio_wall", "ratio_wall_low", "ratio_wall_high", "p", "clear", "verdict")}
            | {"n_paths_that_differ": result["differences"]["copy"]["n_paths"]}
        )
    return tries


def gains(result: JsonObject, latencies_s: Mapping[str, Sequence[float]]) -> list[JsonObject]:
    """For each layout and cache state: measured gain against plain, and what the difference in requests would give."""
    waits = {name: statistics.median(values) for name, values in latencies_s.items()}
    rows = []
    for cache in experiment.CACHES:
        of_cache = {row["layout"]: row for row in result["rows"] if row["cache"] == cache}
        base = of_cache["plain"]
        for label in LAYOUTS[1:]:
            row = of_cache[label]
            flash = "flash " if label == "flash-like" else ""
            asked = {name: (served(base, name), served(row, name), waits[name], waits[flash + name]) for name in KINDS}
            predicted = {name: n * t - own_n * own_t for name, (n, own_n, t, own_t) in asked.items()}
            measured = base["wall_s"]["median"] - row["wall_s"]["median"]
            total = sum(predicted.values())
            rows.append(
                {
                    "layout": label,
                    "cache": cache,
                    "measured_s": round(measured, 4),
                    "predicted_s": round(total, 4),
                    "predicted_metadata_s": round(predicted["metadata"], 4),
                    "predicted_read_s": round(predicted["read"], 4),
                    "predicted_ioctl_s": round(predicted["ioctl"], 4),
                    "cpu_difference_s": round(cpu_s(base) - cpu_s(row), 4),
                    "error": round(measured / total - 1, 4) if total else None,
                    "is_within": abs(measured / total - 1) <= TOLERANCE if total else None,
                    "ratio_metadata_requests": round(served(base, "metadata") / served(row, "metadata"), 1)
                    if served(row, "metadata")
                    else None,
                }
            )
    return rows


def trimmed(result: JsonObject) -> JsonObject:
    """A comparison without what says nothing here: most of the servers' counters."""
    kept = (
        "lookup",
        "negative",
        "getattr",
        "open",
        "opendir",
        "readdir",
        "readlink",
        "read",
        "read_bytes",
        "ioctl",
        "metadata",
    )
    for row in result["rows"]:
        row["server_requests"] = {name: row["server_requests"][name] for name in kept}
        row["requests"] = {name: row["requests"][name] for name in ("environment", "environment_counts")}
        row["where"] = row["layout"]
    result["differences"] = {
        label: {name: found[name] for name in ("n_baseline", "n_layout", "n_paths")}
        for label, found in result["differences"].items()
    }
    result["environment"] = "VENV"
    del result["host"]  # the report says it once, and its variables hold paths
    return result


def cell_of(
    name: str, latency_ms: float, env: Path, native: Path, scratch: Path, around: Scene, n_runs: int
) -> JsonObject:
    """Measure one cell, with what the machine did meanwhile."""
    around.latencies_s.clear()
    around.n_emptied = 0
    wait = Patience()
    load, stalled, begin = [os.getloadavg()[0]], cpu_stalled_s(), time.monotonic()
    mounts = scratch / "mnt-images", scratch / "mnt-flash"
    result = measure(env, native, around, *mounts, WORKLOADS[name], n_runs, scratch / "output", wait)
    load.append(os.getloadavg()[0])
    now = cpu_stalled_s()
    head = evidence.head("layouts")
    return {
        "workload": name,
        "latency_ms": latency_ms,
        "read_ms": latency_ms * READ_SHARE,
        "n_runs": n_runs,
        "date": head["date"],
        "commit": head["commit"],
        "load": [round(min(load), 2), round(max(load), 2)],
        "share_cpu_stalled": None
        if now is None or stalled is None
        else round((now - stalled) / (time.monotonic() - begin), 3),
        "waited_s": round(wait.waited_s, 1),
        "wait_ms": {key: round(statistics.median(values) * 1e3, 4) for key, values in around.latencies_s.items()},
        "gains": gains(result, around.latencies_s),
        "comparison": trimmed(result),
    }


def wanted_cells(quick: bool, latencies: Sequence[float]) -> list[tuple[str, float]]:
    """(workload, latency in ms) in the order of measuring."""
    return [(name, ms) for ms in latencies for name in (list(WORKLOADS)[:1] if quick else WORKLOADS)]


def merged(cells: Sequence[JsonObject], new: JsonObject) -> list[JsonObject]:
    """Cells with one put in the place of the older one of its kind, whose outcome it keeps as `earlier`."""
    kept = []
    for cell in cells:
        if (cell["workload"], cell["latency_ms"]) == (new["workload"], new["latency_ms"]):
            said = {key: cell.get(key) for key in ("date", "commit", "load", "share_cpu_stalled", "wait_ms", "gains")}
            new = {**new, "earlier": [*cell.get("earlier", []), said]}
        else:
            kept.append(cell)
    order = list(WORKLOADS)
    return sorted([*kept, new], key=lambda cell: (cell["latency_ms"], order.index(cell["workload"])))


def main() -> int:
    """Measure every cell, write JSON, Markdown and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("reports/layouts.json"))
    parser.add_argument("--quick", action="store_true", help="one program, one latency, two runs")
    parser.add_argument("--runs", type=int, default=N_RUNS)
    parser.add_argument(
        "--again-over",
        type=float,
        metavar="LOAD",
        help="measure the cells of the JSON again that had a higher load average",
    )
    parser.add_argument("--render", action="store_true", help="draw the tables and pictures of a JSON that is there")
    words = parser.parse_args()
    if words.render:
        render(json.loads(words.output.read_text()), words.output)
        return 0
    env = Path(os.path.realpath(words.venv))
    cells: list[JsonObject] = []
    tries: list[JsonObject] = []
    todo = wanted_cells(words.quick, (1.0,) if words.quick else LATENCIES_MS)
    if words.again_over is not None:
        there = json.loads(words.output.read_text())
        cells, tries = there["cells"], there["alike"]
        todo = [(c["workload"], c["latency_ms"]) for c in cells if c["load"][1] > words.again_over]
    n_runs = 2 if words.quick else words.runs
    with tempfile.TemporaryDirectory(prefix="layouts-", dir=env.parent) as place:
        scratch = Path(place)
        native, images, flash, small = (scratch / name for name in ("native", "images", "flash", "small"))
        for directory in (images, flash, small, scratch / "output"):
            directory.mkdir()
        for number in range(N_CALIBRATION):
            (small / f"f{number:03d}").write_bytes(bytes(4096))
        subprocess.run([str(env / "bin/python"), "-m", "compileall", "-q", str(env / "lib")], check=False)
        shutil.copytree(env, native, symlinks=True)
        shutil.copytree(env, flash / "env", symlinks=True)
        pack(str(env), str(images / "env.sqsh"))
        for latency_ms in sorted({ms for _, ms in todo}):
            with scene(env, images, flash, small, latency_ms, scratch) as around:
                for name in (name for name, ms in todo if ms == latency_ms):
                    evidence.say(f"{name} at {latency_ms:g} ms")
                    cells = merged(cells, cell_of(name, latency_ms, env, native, scratch, around, n_runs))
                    write(words.output, cells, tries)  # what is measured is kept when this is interrupted
        if not tries:
            evidence.say("alike")
            tries = alike(env, scratch, scratch / "output", 1 if words.quick else N_TRIES)
    render(write(words.output, cells, tries), words.output)
    return 0


def write(output: Path, cells: Sequence[JsonObject], tries: Sequence[JsonObject]) -> JsonObject:
    """The JSON file; what it holds."""
    where = evidence.machine()
    report = {
        "benchmark": "layouts",
        "made_by": "python -m benchmarks.layouts VENV -o reports/layouts.json",
        "machine": where,
        "conditions": [
            f"{where['n_cpus']} cores, kernel {where['kernel']}, CPython {sys.version.split()[0]}. Cold: every slow filesystem is "
            "mounted anew before each run, the local disk stays warm. Warm: right after another run in the same mount. Runs of "
            "all layouts in turn. The interpreter and its standard library are on the local disk.",
        ],
        "cells": list(cells),
        "alike": list(tries),
    }
    text = json.dumps(report, indent=1) + "\n"
    left = evidence.foreign_paths(text)
    if left:
        raise ValueError(f"not neutral: {', '.join(left[:5])}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    return report


if __name__ == "__main__":
    sys.exit(main())
