"""`fsprobe compare` in the machine: storage layouts on a real NFS mount, predicted requests beside what its client counted.

The environment is compared with itself bound to another place, so that both layouts ask the same server.
"""

from __future__ import annotations

import importlib.util
import tarfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.vm.machine import Machine
from fsprobe.model.comparison import Comparison
from fsprobe.model.formats import JsonObject
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored

SHIPPED = ("fsprobe", "click", "rich")
"""What `fsprobe compare` imports; the machine has a Python, but nothing of it."""
ENV = "/project/myenv"
N_RUNS = 5
"""Timed runs; with fewer `compare` tells no times and refuses."""
COMMANDS = {"pass": "pass", "numpy": "import numpy"}
SCRIPT = """set -e
[ -d /tmp/fsprobe-here ] || { mkdir /tmp/fsprobe-here; tar xf /share/fsprobe.tar -C /tmp/fsprobe-here; }
mount -t nfs -o %(options)s 127.0.0.1:/srv/nfs /project
cd /tmp; export PYTHONPATH=/tmp/fsprobe-here PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
python3 -m fsprobe compare --env %(env)s --layout bound=%(env)s --runs %(n_runs)d --cache %(caches)s -o /share/out/%(name)s \
  -- %(env)s/bin/python -c '%(code)s'
umount /project || { sleep 1; umount /project; }
"""


def ship(machine: Machine) -> None:
    """Put fsprobe and what it imports into the share, with the byte code that is there."""
    with tarfile.open(machine.share / "fsprobe.tar", "w") as archive:
        for name in SHIPPED:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            archive.add(Path(spec.origin).parent, name)


def compare(machine: Machine, version: str, options: str, workload: str, caches: str = "both") -> Comparison:
    """One comparison, made in the machine.

    Raises:
        MachineError: it failed.
    """
    name = f"layouts-{version}-{workload}.fsprobe"
    words = f"vers={version}" + (",nolock" if version == "3" else "") + f",{options}"
    settings = {
        "options": words,
        "env": ENV,
        "n_runs": N_RUNS,
        "caches": caches,
        "name": name,
        "code": COMMANDS[workload],
    }
    machine.run(SCRIPT % settings)
    found = stored(Recording(str(machine.share / "out" / name)))
    assert isinstance(found, Comparison)
    return found


def rows_of(comparison: Comparison, version: str, options: str, workload: str) -> list[JsonObject]:
    """What the report keeps of a comparison: a row a layout and state of the cache, by the client's own names."""
    return [
        {
            "version": version,
            "options": options,
            "workload": workload,
            "layout": row.layout,
            "cache": row.cache,
            "n_runs": comparison.n_runs,
            "operations": [[one.name, one.predicted, one.counted] for one in row.operations],
        }
        for row in comparison.rows
    ]


def table(rows: Sequence[JsonObject]) -> list[str]:
    """The rows in Markdown."""
    lines = [
        "| program | client | layout | cache | runs | requests: predicted (counted) |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        words = ", ".join(f"{name} {asked:,} ({counted:,.0f})" for name, asked, counted in row["operations"])
        client = f"NFS v{row['version']} ({row['options']})"
        lines.append(f"| {row['workload']} | {client} | {row['layout']} | {row['cache']} | {row['n_runs']} | {words} |")
    return lines
