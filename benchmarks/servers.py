"""What the same programs ask FUSE, NFS and Lustre servers for; and how well that is predicted for NFS.

    python -m benchmarks.servers [--quick] [-o reports]     (as root: builds and boots a machine, see benchmarks/vm)

Programs run in an emulated machine on a mount of its own NFS server, once to be counted (cold, and at once again), once to
be recorded. fsprobe predicts the requests from the recording; the client's own counters tell what they were.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.cells import Cell, compare
from benchmarks.vm.machine import Machine, MachineError
from fsprobe.model.formats import JsonObject

INSIDE = Path(__file__).parent / "vm" / "inside.py"
CI_WORKLOADS = ("pass", "numpy", "s4_stat", "k4_open", "miss2")
CI_VERSIONS = ("3", "4.2")
NOTHING_EXPIRES = "actimeo=600"
EXIT_CODES = {"grepr": 1, "shlinks": 2}
"""What finds nothing, and what lists a name that is missing."""


def jobs(workloads: Sequence[str], versions: Sequence[str], options: Sequence[str]) -> list[JsonObject]:
    """Each workload counted cold and warm, for each version and each set of options; recorded once."""
    counted = [
        {"version": version, "options": option, "workload": workload, "phases": ["cold", "warm"]}
        for version in versions
        for option in options
        for workload in workloads
    ]
    recorded = [record(workload, "3", NOTHING_EXPIRES, f"nfs-{workload}") for workload in workloads]
    return [*counted, *recorded]


def record(workload: str, version: str, options: str, name: str) -> JsonObject:
    """A job that records a workload into NAME.fsprobe."""
    return {"version": version, "options": options, "workload": workload, "phases": ["record"], "name": name}


def measure(machine: Machine, wanted: Iterable[JsonObject], limit_s: float = 1200) -> list[JsonObject]:
    """Have the machine run jobs; recordings and truth.json lie in its share's `out` after that.

    Raises:
        MachineError: a job failed in the machine.
    """
    share = machine.share
    (share / "inside.py").write_text(INSIDE.read_text())
    (share / "job.json").write_text(json.dumps(list(wanted)))
    pack_recorder(share / "fsprobe-rec.pyz")
    machine.run("cd /; exec python3 /share/inside.py /share/job.json /share/out/truth.json", limit_s)
    rows: list[JsonObject] = json.loads((share / "out/truth.json").read_text())
    for row in rows:
        if row["exit_code"] != EXIT_CODES.get(row["workload"], 0) or "Traceback" in row["stderr"]:
            raise MachineError(f"{row['workload']} ended with {row['exit_code']}: {row['stderr']}")
    return rows


def pack_recorder(path: Path) -> None:
    """The recorder that travels, from this source tree."""
    words = [sys.executable, "-m", "fsprobe", "recorder", "-o", str(path)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def cells_of(machine: Machine, rows: Iterable[JsonObject]) -> list[Cell]:
    """The rows that were counted against what the recordings say."""
    return list(compare(machine.share / "out", [row for row in rows if row["phase"] != "record"]))
