"""Before and after on the simulated file server: the same program in every layout, at several latencies.

    python -m benchmarks.layouts VENV [-o reports/layouts.json] [--quick] [--latency MS] [--workload NAME]

The environment is served at its own path, its image and a copy of it from other directories of slow servers, and
`fsprobe.experiment` runs the program in all of them, cold (every mount is made anew) and warm. The servers' own counters
say what was asked. For each layout the time that it gains against the plain environment, measured, stands beside what
the difference in requests would give: lookups and the like, opens, reads and ioctls, each times what a client waits for
one in a program that loads modules (`layouts_waits`), which is measured meanwhile. What a layout costs of itself (an image
is unpacked) is measured in the same rounds on the local disk, without any server: the second prediction, that of `fsprobe
whatif`, takes it off. The third adds what waiting costs a program beside the wait, measured with sleeps in place of requests
(`layouts_work`). VENV needs pandas, scipy and matplotlib, and must be on a local disk. Root.

Times of a machine that does other work too are longer than they say. Before each run other work is waited for, as long as
there is patience; what share of the time something waited for a CPU is noted.
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
from collections.abc import Sequence
from pathlib import Path

from benchmarks import evidence
from benchmarks.layouts.gains import gains
from benchmarks.layouts.report import LOCAL, render
from benchmarks.layouts.scene import N_CALIBRATION, READ_SHARE, Patience, Scene, cpu_stalled_s, scene
from benchmarks.layouts.work import slowdowns
from fsprobe import experiment
from fsprobe.experiment.plan import Progress
from fsprobe.layouts.pack.build import pack
from fsprobe.model.formats import JsonObject
from fsprobe.model.serial import to_json

WORKLOADS = {"pandas": "import pandas", "scipy+pyplot": "import scipy.stats, matplotlib.pyplot"}
LATENCIES_MS = (0.1, 0.3, 1.0, 3.0)
N_RUNS = {
    "pandas": {0.1: 7, 0.3: 5, 1.0: 4, 3.0: 3},
    "scipy+pyplot": {0.1: 7, 0.3: 5, 1.0: 4, 3.0: 3},
}
"""By latency in ms: where a request takes little, what is to be measured is of the size of what runs differ by; those of scipy
and pyplot, which compute longer, differ by more than those of pandas."""
N_RUNS_ELSE = 5
N_TRIES = 5
"""Comparisons of the environment with its own copy."""


def mounted(image: Path, prefix: str = "") -> tuple[experiment.Image, ...]:
    """The layouts that are one image."""
    return (
        experiment.Image(label=f"{prefix}squashfs", kind="squashfs", image=image, way="root+kernel"),
        experiment.Image(label=f"{prefix}squashfuse", kind="squashfs", image=image, way="root+fuse"),
        experiment.Image(label=f"{prefix}overlay", kind="overlay", image=image, way="root+kernel"),
    )


def measure(
    env: Path,
    native: Path,
    local: Path,
    around: Scene,
    images: Path,
    flash: Path,
    code: str,
    n_runs: int,
    output: Path,
    wait: Progress,
) -> JsonObject:
    """One cell: a program at one latency, in every layout, and in those of an image on the local disk as well."""
    plan = experiment.Plan(
        env=env,
        command=["python", "-c", code],
        existing={"native": native, "flash-like": flash / "env"},
        images=mounted(images / local.name) + mounted(local, LOCAL),
        n_runs=n_runs,
        caches=experiment.CACHES,
        check_byte_code=False,  # done once, where it is fast
        output_dir=output,
    )
    result, _ = experiment.run(plan, server=around.counters, empty=around.empty, progress=wait)
    return dict(to_json(result))


def alike(env: Path, copy: Path, output: Path, n_tries: int) -> list[JsonObject]:
    """The environment against its own copy on the same filesystem, again and again: what is said of no difference."""
    tries = []
    for _ in range(n_tries):
        plan = experiment.Plan(
            env=env,
            command=["python", "-c", WORKLOADS["pandas"]],
            existing={"copy": copy},
            n_runs=7,
            output_dir=output,
        )
        result = to_json(experiment.run(plan)[0])
        row = result["rows"][1]
        tries.append(
            {name: row[name] for name in ("ratio_wall", "ratio_wall_low", "ratio_wall_high", "p", "clear", "verdict")}
            | {"n_paths_that_differ": result["differences"]["copy"]["n_paths"]}
        )
    return tries


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
        row["requests"] = None
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
    local = scratch / "env.sqsh"
    result = measure(env, native, local, around, *mounts, WORKLOADS[name], n_runs, scratch / "output", wait)
    load.append(os.getloadavg()[0])
    now = cpu_stalled_s()
    waits = {key: statistics.median(values) for key, values in around.latencies_s.items()}
    slower = slowdowns(result["rows"], waits, native, WORKLOADS[name], n_runs)
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
        "wait_ms": {key: round(wait * 1e3, 4) for key, wait in waits.items()},
        "slowdowns": slower,
        "gains": gains(result["rows"], waits, slower),
        "comparison": trimmed(result),
    }


def wanted_cells(names: Sequence[str], latencies: Sequence[float]) -> list[tuple[str, float]]:
    """(workload, latency in ms) in the order of measuring."""
    return [(name, ms) for ms in latencies for name in names]


def with_cell(cells: Sequence[JsonObject], new: JsonObject) -> list[JsonObject]:
    """Cells in the order of the report, with one put in the place of the older one of its kind."""
    kept = [c for c in cells if (c["workload"], c["latency_ms"]) != (new["workload"], new["latency_ms"])]
    order = list(WORKLOADS)
    return sorted([*kept, new], key=lambda cell: (cell["latency_ms"], order.index(cell["workload"])))


def main() -> int:
    """Measure every cell, write JSON, Markdown and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("reports/layouts.json"))
    parser.add_argument("--quick", action="store_true", help="one program, one latency, two runs")
    parser.add_argument("--runs", type=int, help="the same number at each latency")
    parser.add_argument(
        "--latency",
        type=float,
        action="append",
        metavar="MS",
        help="this one alone (can be repeated); what the JSON has of others is kept",
    )
    parser.add_argument("--workload", choices=WORKLOADS, help="this one alone; what the JSON has of the other is kept")
    parser.add_argument("--render", action="store_true", help="draw the tables and pictures of a JSON that is there")
    words = parser.parse_args()
    if words.render:
        render(json.loads(words.output.read_text()), words.output)
        return 0
    os.environ.pop("PYTHONPATH", None)  # ours, not the measured program's
    env = Path(os.path.realpath(words.venv))
    cells: list[JsonObject] = []
    tries: list[JsonObject] = []
    latencies = words.latency or ((1.0,) if words.quick else LATENCIES_MS)
    names = [words.workload] if words.workload else list(WORKLOADS)[:1] if words.quick else list(WORKLOADS)
    todo = wanted_cells(names, latencies)
    if (words.latency or words.workload) and words.output.exists():
        cells = json.loads(words.output.read_text())["cells"]
    options = " --quick" if words.quick else ""
    options += f" --workload {words.workload}" if words.workload else ""
    options += "".join(f" --latency {ms:g}" for ms in words.latency or ()) + (
        f" --runs {words.runs}" if words.runs else ""
    )
    n_runs = 2 if words.quick else words.runs  # None: by latency
    with tempfile.TemporaryDirectory(prefix="layouts-", dir=env.parent) as place:
        scratch = Path(place)
        native, images, flash, small = (scratch / name for name in ("native", "images", "flash", "small"))
        for directory in (images, flash, small, scratch / "output"):
            directory.mkdir()
        for number in range(N_CALIBRATION):
            for suffix in (".py", ".pyc"):
                (small / f"f{number:03d}{suffix}").write_bytes(bytes(4096))
        subprocess.run([str(env / "bin/python"), "-m", "compileall", "-q", str(env / "lib")], check=False)
        shutil.copytree(env, native, symlinks=True)
        shutil.copytree(env, flash / "env", symlinks=True)
        pack(str(env), str(scratch / "env.sqsh"))
        shutil.copy(scratch / "env.sqsh", images)
        for latency_ms in sorted({ms for _, ms in todo}):
            with scene(env, images, flash, small, latency_ms, scratch) as around:
                for name in (name for name, ms in todo if ms == latency_ms):
                    evidence.say(f"{name} at {latency_ms:g} ms")
                    n = n_runs or N_RUNS[name].get(latency_ms, N_RUNS_ELSE)
                    measured = cell_of(name, latency_ms, env, native, scratch, around, n)
                    cells = with_cell(cells, {**measured, "options": options})
                    write(words.output, cells, tries)  # what is measured is kept when this is interrupted
        evidence.say("alike")
        tries = alike(env, native, scratch / "output", 1 if words.quick else N_TRIES)
    render(write(words.output, cells, tries), words.output)
    return 0


def write(output: Path, cells: Sequence[JsonObject], tries: Sequence[JsonObject]) -> JsonObject:
    """The JSON file; what it holds."""
    where = evidence.machine()
    options = dict.fromkeys(cell["options"] for cell in cells)
    report = {
        "benchmark": "layouts",
        "made_by": [f"python -m benchmarks.layouts VENV{each} -o reports/layouts.json" for each in options],
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
