"""What the same programs ask FUSE, NFS and Lustre servers for; and how well that is predicted for NFS.

    python -m benchmarks.servers [--quick] [--torch PYTHON] [-o reports]     (as root: builds and boots a machine, see benchmarks/vm)
    python -m benchmarks.servers --render [-o reports]                       (servers.md anew, of servers.json)

Programs run in an emulated machine on a mount of its own NFS server, once to be counted (cold, and at once again), once to
be recorded. fsprobe predicts the requests from the recording; the client's own counters tell what they were. With --torch also what
`import torch` of that interpreter's environment would ask on 4 nodes x 8 ranks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

from benchmarks import evidence
from benchmarks.vm import build, layouts, report
from benchmarks.vm.cells import Cell, compare
from benchmarks.vm.machine import Machine, MachineError
from fsprobe.model.formats import JsonObject

INSIDE = Path(__file__).parent / "vm" / "inside.py"
CI_WORKLOADS = ("pass", "numpy", "s4_stat", "k4_open", "miss2")
CI_VERSIONS = ("3", "4.2")
CI_TIMED = [("3", "numpy"), ("4.2", "numpy"), ("4.2", "s4_stat")]
"""Recorded on mounts with the options that mount(8) gives: attributes expire, by the times of the recording."""
TIMED_NAMES = {("3", "numpy"): "nfs-numpy", ("4.2", "s4_stat"): "nfs-s4_stat"}
"""Runs that are recorded with the options of mount(8): what a program calls does not depend on the mount, so that one recording
serves both."""
NOTHING_EXPIRES = report.NOTHING_EXPIRES
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
    elsewhere = {workload for _, workload in TIMED_NAMES}
    return [*counted, *(record(one, "3", NOTHING_EXPIRES, f"nfs-{one}") for one in workloads if one not in elsewhere)]


def timed_name(version: str, workload: str) -> str:
    """The name of the recording of a workload on a mount with the options that mount(8) gives."""
    return TIMED_NAMES.get((version, workload), f"timed-{version}-{workload}")


def record_timed(timed: Iterable[tuple[str, str]], wait_s: float = 4) -> list[JsonObject]:
    """Jobs that record (version, workload) on mounts whose attributes expire.

    Args:
        timed: of which runs.
        wait_s: how long the recorder waits after the run; attributes of files are older than their 3 s then.
    """
    return [
        {**record(workload, version, "", timed_name(version, workload)), "wait_s": wait_s}
        for version, workload in timed
    ]


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
    words = [sys.executable, "-m", "fsprobe", "recorder", "--force", "-o", str(path)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def confirmed(cells: Sequence[Cell], count: Callable[[list[JsonObject]], list[Cell]]) -> list[Cell]:
    """Runs with a number that was not predicted, counted again by themselves: a miss is one that comes twice.

    In one of some ten boots the client sent a single GETATTR more; six counts of the same program right after that had none.

    Args:
        cells: as they were counted first.
        count: has jobs run, and gives their cells.
    """
    missed = [cell for cell in cells if not cell.is_exact]
    if not missed:
        return list(cells)
    runs = {cell.run for cell in missed}
    return [cell for cell in cells if cell.run not in runs] + count(jobs_of(missed))


def jobs_of(cells: Iterable[Cell]) -> list[JsonObject]:
    """Jobs that count the runs of these cells once more."""
    return [
        {"version": version, "options": options, "workload": workload, "phases": ["cold", "warm"]}
        for version, workload, options in dict.fromkeys(cell.run for cell in cells)
    ]


def count_again(machine: Machine, found: JsonObject) -> list[JsonObject]:
    """The cells of the runs that have a number which nothing explains, counted once more."""
    wanted = jobs_of(report.unexplained(found))
    return [dataclasses.asdict(cell) for cell in cells_of(machine, measure(machine, wanted))] if wanted else []


def cells_of(machine: Machine, rows: Iterable[JsonObject]) -> list[Cell]:
    """The rows that were counted against what the recordings say."""
    return list(compare(machine.share / "out", [row for row in rows if row["phase"] != "record"]))


RULES = ("pass", "numpy", "s4_list", "s4_stat", "s4_read", "k4_stat", "k4_open", "miss2")
"""Kinds of programs that the rules were made on."""
OPTIONS = ("lookupcache=none", "lookupcache=positive", "nocto", "nordirplus", "noac")
TIMED = ("pass", "numpy", "s4_stat", "stdlib")
LAYOUTS = (("4.2", "pass"), ("4.2", "numpy"), ("3", "numpy"))
"""What `fsprobe compare` is run on."""


def main() -> int:
    """Measure and write servers.md and servers.json; 1 where something is wrong that fsprobe does not name itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("reports"))
    parser.add_argument("--quick", action="store_true", help="what CI measures, and no options")
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--render", action="store_true", help="only write servers.md, of servers.json")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    stored = options.output / "servers.json"
    if not options.render:
        at = {"date": date.today().isoformat(), "commit": evidence.commit()}
        with tempfile.TemporaryDirectory(prefix="fsprobe-servers-") as place:
            build.build(Path(place))
            with Machine(Path(place)) as machine:
                rows = measure(machine, ci_jobs() if options.quick else all_jobs(), limit_s=3000)
                found = report.gather(machine.share / "out", rows)
                found["again"] = count_again(machine, found)
                found["layouts"] = compare_layouts(machine, LAYOUTS[:1] if options.quick else LAYOUTS)
            if options.torch is not None:
                found["torch"] = report.count_start(record_torch(options.torch, Path(place)), options.torch)
                found["torch_version"] = evidence.package_versions(str(options.torch), ["torch"])["torch"]
            found |= at
        stored.write_text(report.as_text(found))
    found = json.loads(stored.read_text())
    (options.output / "servers.md").write_text(report.render(found))
    return 1 if report.unexplained(found) else 0


def compare_layouts(machine: Machine, wanted: Iterable[tuple[str, str]]) -> list[JsonObject]:
    """Rows of what `fsprobe compare` says of (version, workload)."""
    layouts.ship(machine)
    rows: list[JsonObject] = []
    for version, workload in wanted:
        found = layouts.compare(machine, version, NOTHING_EXPIRES, workload)
        rows += layouts.rows_of(found, version, NOTHING_EXPIRES, workload)
    return rows


def record_torch(python: Path, place: Path) -> Path:
    """A recording of `import torch`, made here: no server is needed to know its calls."""
    path = place / "torch.fsprobe"
    words = [sys.executable, "-m", "fsprobe", "run", "-q", "-o", str(path), "--", str(python), "-c", "import torch"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return path


def ci_jobs() -> list[JsonObject]:
    """What CI measures."""
    return jobs(CI_WORKLOADS, CI_VERSIONS, [NOTHING_EXPIRES]) + record_timed(CI_TIMED)


def all_jobs() -> list[JsonObject]:
    """Everything that the report tells."""
    found = jobs([*RULES, "miss2p", "k4_stat_open", *report.NEW, *report.RANKS], ("3", "4.1", "4.2"), [NOTHING_EXPIRES])
    wanted = [f"{option},{NOTHING_EXPIRES}" if option != "noac" else option for option in OPTIONS]
    found += [
        {"version": version, "options": option, "workload": workload, "phases": ["cold", "warm"]}
        for version in ("3", "4.2")
        for option in wanted
        for workload in ("pass", "numpy", "s4_stat", "k4_open", "miss2")
    ]
    found += record_timed(((version, workload) for version in ("3", "4.2") for workload in TIMED), wait_s=0)
    return found


if __name__ == "__main__":
    sys.exit(main())
