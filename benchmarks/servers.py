"""What the same programs ask FUSE, NFS and Lustre servers for; and how well that is predicted for NFS.

    python -m benchmarks.servers [--quick] [-o reports]     (as root: builds and boots a machine, see benchmarks/vm)

Programs run in an emulated machine on a mount of its own NFS server, once to be counted (cold, and at once again), once to
be recorded. fsprobe predicts the requests from the recording; the client's own counters tell what they were.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.cells import MOUNT, Cell, compare, model_of
from benchmarks.vm import build
from benchmarks.vm.machine import Machine, MachineError
from fsprobe.analysis.requests.clients.protocol import of_options
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


SIX = {
    "pass": "python -c pass",
    "numpy": "import numpy",
    "s4_list": "walk 400 files",
    "s4_stat": "walk 400 files, stat each",
    "k4_stat_open": "stat, then open 400 files",
    "miss2": "1,000 missing names, twice",
}
SERVERS = {
    "FUSE": ("fuse.sshfs", ""),
    "NFS v3": ("nfs", "vers=3,actimeo=600"),
    "NFS v4.2": ("nfs", "vers=4.2,actimeo=600"),
    "Lustre": ("lustre", ""),
}
RULES = ("pass", "numpy", "s4_list", "s4_stat", "s4_read", "k4_stat", "k4_open", "miss2")
"""Kinds of programs that the rules were made on."""
NEW = ("lslr", "tar", "find", "grepr", "shlinks", "stdlib")
"""Programs that they were not made on."""
RANKS = ("seq4", "par4")
OPTIONS = ("lookupcache=none", "lookupcache=positive", "nocto", "nordirplus", "noac")
TIMED = ("pass", "numpy", "s4_stat", "stdlib")
KERNEL = "6.1.0-amd64"


def main() -> int:
    """Measure and write servers.md and servers.json; 1 where something is wrong that fsprobe does not name itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("reports"))
    parser.add_argument("--quick", action="store_true", help="what CI measures, and no options")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fsprobe-servers-") as place:
        build.build(Path(place))
        with Machine(Path(place)) as machine:
            rows = measure(machine, ci_jobs() if options.quick else all_jobs(), limit_s=3000)
            text, wrong = report(machine.share / "out", rows)
    (options.output / "servers.md").write_text(text)
    (options.output / "servers.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    return 1 if wrong else 0


def ci_jobs() -> list[JsonObject]:
    """What CI measures."""
    return jobs(CI_WORKLOADS, CI_VERSIONS, [NOTHING_EXPIRES])


def all_jobs() -> list[JsonObject]:
    """Everything that the report tells."""
    found = jobs([*RULES, "k4_stat_open", *NEW, *RANKS], ("3", "4.1", "4.2"), [NOTHING_EXPIRES])
    wanted = [f"{option},{NOTHING_EXPIRES}" if option != "noac" else option for option in OPTIONS]
    found += [
        {"version": version, "options": option, "workload": workload, "phases": ["cold", "warm"]}
        for version in ("3", "4.2")
        for option in wanted
        for workload in ("pass", "numpy", "s4_stat", "k4_open", "miss2")
    ]
    found += [
        record(workload, version, "", f"timed-{version}-{workload}") for version in ("3", "4.2") for workload in TIMED
    ]
    return found


def report(directory: Path, rows: Sequence[JsonObject]) -> tuple[str, list[Cell]]:
    """(the report in Markdown, the cells that are wrong without fsprobe saying so)."""
    cells = list(compare(directory, [row for row in rows if row["phase"] != "record"]))
    lines = [
        "# What file servers see",
        "",
        "Made by `python -m benchmarks.servers`. Debian's kernel 6.1 with its own NFS server and client in one emulated machine;",
        "requests are metadata requests, READ and WRITE aside. Predicted: by fsprobe, from a recording of another run of the same",
        "program. Counted: by the client itself (/proc/self/mountstats). Lustre's rules are checked with recorded runs",
        "(tests/data/servers); its numbers here are predicted.",
        "",
        "## The same program, four servers (fresh mount, predicted)",
        "",
        *_side_by_side(directory),
        "",
        "## Predicted and counted: nothing expires (actimeo=600)",
        "",
        *_summary([cell for cell in cells if cell.options == NOTHING_EXPIRES and cell.workload not in (*NEW, *RANKS)]),
        "",
        "## Programs that the rules were not made on",
        "",
        "`ls -lR`, tar, find, `grep -r`, a shell with links, `import sqlite3, email, xml.dom.minidom` from the mount.",
        "",
        *_summary([cell for cell in cells if cell.workload in NEW]),
        "",
        "## Mount options",
        "",
        *_summary([cell for cell in cells if cell.options != NOTHING_EXPIRES]),
        "",
        "## Four processes of a node",
        "",
        *_ranks(directory, rows),
        "",
        "## Attributes expire (mount's defaults), by the recorded times",
        "",
        *_timed(directory, rows),
        "",
        "## What the recorder itself asks for after the run",
        "",
        *_own(rows),
        "",
        "## Each miss",
        "",
        *_misses(cells),
    ]
    return "\n".join(lines) + "\n", [cell for cell in cells if not _is_explained(cell)]


def _is_explained(cell: Cell) -> bool:
    is_race = cell.workload == "par4"
    return cell.is_exact or is_race or cell.operation in UNSEEN or bool(cell.why_not_predictable)


UNSEEN = {
    "FSSTAT": "fstatfs of a descriptor is in no recording",
    "STATFS": "fstatfs of a descriptor is in no recording",
    "SEEK": "lseek is in no recording",
}


def _side_by_side(directory: Path) -> Iterator[str]:
    yield "| program | " + " | ".join(SERVERS) + " |"
    yield "|---|" + "---|" * len(SERVERS)
    for workload, title in SIX.items():
        path = directory / f"nfs-{workload}.fsprobe"
        if not path.exists():
            continue
        words = []
        for fstype, options in SERVERS.values():
            model = model_of(path)
            model.serve({MOUNT.encode(): of_options(fstype, options, KERNEL)})
            row = model.count().by_mount()[MOUNT]
            named = row.operations or {
                name.upper(): getattr(row, name)
                for name in ("lookup", "open", "opendir", "readdir", "readlink")
                if getattr(row, name)
            }
            shown = ", ".join(
                f"{name} {n:,}" for name, n in sorted(named.items(), key=lambda item: (-item[1], item[0]))
            )
            words.append(f"**{row.n_metadata:,}**: {shown}")
        yield f"| {title} | " + " | ".join(words) + " |"


def _summary(cells: Sequence[Cell]) -> Iterator[str]:
    yield "| client | options | runs | cells | exact | wrong and named as not predictable | wrong |"
    yield "|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.version, cell.options), []).append(cell)
    for (version, options), found in sorted(groups.items()):
        n_runs = len({(cell.workload, cell.phase) for cell in found})
        wrong = [cell for cell in found if not cell.is_exact]
        named = [cell for cell in wrong if _is_explained(cell)]
        yield (
            f"| NFS v{version} | {options} | {n_runs} | {len(found)} | {len(found) - len(wrong)} | {len(named)} | "
            f"{len(wrong) - len(named)} |"
        )


def _ranks(directory: Path, rows: Sequence[JsonObject]) -> Iterator[str]:
    counts = {
        (row["version"], row["workload"], row["phase"]): sum(
            n for name, n in row["operations"].items() if name != "READ"
        )
        for row in rows
        if row["options"] == NOTHING_EXPIRES
    }
    yield "The first process of a node asks for everything, the second for what the same run asks at once again (warm), each further"
    yield "one for what it asks a third time. One `import numpy`:"
    yield ""
    yield "| client | cold | second | each further | four in turn, predicted | counted | four at once, counted |"
    yield "|---|---|---|---|---|---|---|"
    for version in ("3", "4.1", "4.2"):
        turn, once = counts.get((version, "seq4", "cold")), counts.get((version, "par4", "cold"))
        path = directory / "nfs-numpy.fsprobe"
        if turn is not None and path.exists():
            model = model_of(path)
            model.serve({MOUNT.encode(): of_options("nfs", f"vers={version},{NOTHING_EXPIRES}", KERNEL)})
            row = model.count().by_mount()[MOUNT]
            second = row.again + row.settling
            four = row.n_metadata + second + 2 * row.again
            yield (
                f"| NFS v{version} | {row.n_metadata:,} | {second:,} | {row.again:,} | {four:,} | {turn:,} | {once or 0:,} |"
            )
    yield ""
    yield "Of those that start at once some ask for the same rights and files in the same microseconds: nothing predicts how many."


def _timed(directory: Path, rows: Sequence[JsonObject]) -> Iterator[str]:
    yield "| program | client | GETATTR predicted | counted | other operations |"
    yield "|---|---|---|---|---|"
    for row in rows:
        if row["phase"] != "record" or row["options"]:
            continue
        model = model_of(directory / f"timed-{row['version']}-{row['workload']}.fsprobe")
        predicted = dict(model.count().by_mount()[MOUNT].operations)
        found = {name: n for name, n in row["operations"].items() if name != "READ"}
        ages = predicted.pop("GETATTR", 0), found.pop("GETATTR", 0)
        rest = "as counted" if predicted == found else f"predicted {predicted}, counted {found}"
        yield f"| {row['workload']} | NFS v{row['version']} | {ages[0]} | {ages[1]} | {rest} |"


def _own(rows: Sequence[JsonObject]) -> Iterator[str]:
    yield "| program | client | requests |"
    yield "|---|---|---|"
    for row in rows:
        if row["phase"] == "record":
            own = ", ".join(f"{name} {n}" for name, n in sorted(row["own_operations"].items())) or "none"
            yield f"| {row['workload']} | NFS v{row['version']} ({row['options'] or 'defaults'}) | {own} |"


def _misses(cells: Sequence[Cell]) -> Iterator[str]:
    wrong = [cell for cell in cells if not cell.is_exact]
    if not wrong:
        yield "None."
    for cell in wrong:
        why = cell.why_not_predictable or UNSEEN.get(cell.operation, "")
        if not why and cell.workload == "par4":
            why = "four ask at the same moment"
        yield f"- {cell}{': ' + why if why else ''}"


if __name__ == "__main__":
    sys.exit(main())
