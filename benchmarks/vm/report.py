"""The report of what file servers see: what was counted and predicted, as JSON, and its text, made of that JSON alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.vm import layouts
from benchmarks.vm.cells import MOUNT, Cell, compare, model_of
from fsprobe.analysis.requests.clients.protocol import of_options
from fsprobe.analysis.requests.rows import RequestCounts
from fsprobe.model.formats import JsonObject

NOTHING_EXPIRES = "actimeo=600"
NEW = ("lslr", "tar", "find", "grepr", "shlinks", "stdlib")
"""Programs that the rules were not made on."""
RANKS = ("seq4", "par4")
VERSIONS = ("3", "4.1", "4.2")
N_NODES, N_RANKS = 4, 8
"""Of the job of `import torch`: nodes, and ranks of each."""
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
KERNEL = "6.1.0-amd64"
LUSTRE_DATA = Path(__file__).parents[2] / "tests" / "data" / "servers"
UNSEEN = {
    "FSSTAT": "fstatfs of a descriptor is in no recording",
    "STATFS": "fstatfs of a descriptor is in no recording",
    "SEEK": "lseek is in no recording",
}
_COLUMNS = ("lookup", "open", "opendir", "readdir", "readlink")


def gather(directory: Path, rows: Sequence[JsonObject]) -> JsonObject:
    """All that the report tells.

    Args:
        directory: where the recordings are.
        rows: what the clients counted, of each run.
    """
    cells = list(compare(directory, [row for row in rows if row["phase"] != "record"]))
    return {
        "rows": list(rows),
        "cells": [dataclasses.asdict(cell) for cell in cells],
        "sides": {
            workload: {
                server: _operations(_row(path, fstype, options)) for server, (fstype, options) in SERVERS.items()
            }
            for workload in SIX
            if (path := directory / f"nfs-{workload}.fsprobe").exists()
        },
        "ranks": {
            version: _shares(_row(directory / "nfs-numpy.fsprobe", "nfs", f"vers={version},{NOTHING_EXPIRES}"))
            for version in VERSIONS
        },
        "lustre": [dataclasses.asdict(cell) for cell in lustre_cells()],
        "timed": [
            {
                "workload": row["workload"],
                "version": row["version"],
                "predicted": _own_row(directory / f"{row['name']}.fsprobe").operations,
                "counted": {name: n for name, n in row["operations"].items() if name != "READ"},
            }
            for row in rows
            if row["phase"] == "record" and not row["options"]
        ],
    }


def lustre_cells() -> list[Cell]:
    """What a real Lustre client counted (tests/data/servers), beside the prediction from a recording of the same program."""
    rows = json.loads((LUSTRE_DATA / "truth.json").read_text())
    return list(compare(LUSTRE_DATA, [row for row in rows if row["client"] == "lustre"]))


def count_start(path: Path, python: Path) -> JsonObject:
    """Server -> what a start asks of it whose environment lies there: cold, as second process of a node, as a further one."""
    prefix = str(python.absolute().parent.parent).encode()
    found: JsonObject = {}
    for server, (fstype, options) in SERVERS.items():
        model = model_of(path)
        mounts = {mount.path: mount for mount in model.count().mount_of.values() if mount is not None}
        at = max((mount for mount in mounts if _is_below(prefix, mount)), key=len)
        model.serve({at: of_options(fstype, options, KERNEL)})
        row = model.count().total(lambda file: _is_below(file, prefix))
        found[server] = {**_shares(row), "operations": _operations(row)}
    return found


def _is_below(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _row(path: Path, fstype: str, options: str) -> RequestCounts:
    model = model_of(path)
    model.serve({MOUNT.encode(): of_options(fstype, options, KERNEL)})
    return model.count().by_mount()[MOUNT]


def _own_row(path: Path) -> RequestCounts:
    return model_of(path).count().by_mount()[MOUNT]


def _operations(row: RequestCounts) -> dict[str, int]:
    if row.operations:
        return dict(sorted(row.operations.items()))
    return {name.upper(): getattr(row, name) for name in _COLUMNS if getattr(row, name)}


def _shares(row: RequestCounts) -> dict[str, int]:
    """What the first process of a node asks, the second one, and each further one."""
    return {"cold": row.n_metadata, "second": row.again + row.settling, "further": row.again}


def as_text(found: Mapping[str, Any]) -> str:
    """The JSON, a run or a cell on a line."""
    parts = []
    for name, value in found.items():
        if isinstance(value, list):
            parts.append(f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(item) for item in value) + "\n]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


# -- the text ---------------------------------------------------------------------------------------------------------


def render(found: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    cells, rows = [Cell(**cell) for cell in found["cells"]], found["rows"]
    lines = [
        "# What file servers see",
        "",
        "Made by `python -m benchmarks.servers`. Debian's kernel 6.1 with its own NFS server and client in one emulated machine;",
        "requests are metadata requests, READ and WRITE aside. Predicted: by fsprobe, from a recording of another run of the same",
        "program. Counted: by the client itself (/proc/self/mountstats). Lustre's rules are checked with recorded runs",
        "(tests/data/servers); its numbers here are predicted.",
        "",
        *([found["note"], ""] if "note" in found else []),
        *([f"Measured on {found['date']}, in one boot, at commit {found['commit']}.", ""] if "commit" in found else []),
        "## The same program, four servers (fresh mount, predicted)",
        "",
        *_side_by_side(found["sides"]),
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
        "## fsprobe compare on a real mount",
        "",
        "The environment, and the same one bound to its own place. Counted: the median of the timed runs. Warm: after the traced run "
        "and one more.",
        "",
        *layouts.table(found.get("layouts", ())),
        "",
        "## Lustre 2.17: recorded runs and counts",
        "",
        "Of mdc.*.stats and osc.*.stats of a client of its own; without a recording from there, that of the same program on NFS.",
        "",
        *_summary([Cell(**cell) for cell in found.get("lustre", ())], "Lustre "),
        "",
        *_misses([Cell(**cell) for cell in found.get("lustre", ())]),
        "",
        "## Four processes of a node",
        "",
        *_ranks(found["ranks"], rows),
        "",
    ]
    if "torch" in found:
        version = f" {found['torch_version']}" if "torch_version" in found else ""
        lines += [
            f"## import torch{version}, {N_NODES} nodes x {N_RANKS} ranks (predicted)",
            "",
            *_job(found["torch"]),
            "",
        ]
    lines += [
        "## Attributes expire (mount's defaults), by the recorded times",
        "",
        *_timed(found["timed"]),
        "",
        "## What the recorder itself asks for after the run",
        "",
        *_own(rows),
        "",
        "## Each miss",
        "",
        *_misses(cells, _again(found)),
    ]
    return "\n".join(lines) + "\n"


def unexplained(found: Mapping[str, Any]) -> list[Cell]:
    """The cells that are wrong without fsprobe saying so, and were so again where they were counted again."""
    right = {(cell.run, cell.phase, cell.operation) for cell in _again(found) if cell.is_exact}
    cells = [Cell(**cell) for cell in found["cells"]]
    return [one for one in cells if not _is_explained(one) and (one.run, one.phase, one.operation) not in right]


def _again(found: Mapping[str, Any]) -> list[Cell]:
    return [Cell(**cell) for cell in found.get("again", ())]


def _is_explained(cell: Cell) -> bool:
    is_race = cell.workload == "par4"
    return cell.is_exact or is_race or cell.operation in UNSEEN or bool(cell.why_not_predictable)


def _side_by_side(sides: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterator[str]:
    yield "| program | " + " | ".join(SERVERS) + " |"
    yield "|---|" + "---|" * len(SERVERS)
    for workload, of_servers in sides.items():
        words = [_named(of_servers[server]) for server in SERVERS]
        yield f"| {SIX[workload]} | " + " | ".join(words) + " |"


def _named(operations: Mapping[str, int]) -> str:
    """`**total**: NAME n, ...`; what servers of data are asked is in no total."""
    total = sum(n for name, n in operations.items() if name != "glimpse")
    shown = sorted(operations.items(), key=lambda item: (-item[1], item[0]))
    return f"**{total:,}**: " + ", ".join(f"{name} {n:,}" for name, n in shown)


def _summary(cells: Sequence[Cell], client: str = "NFS v") -> Iterator[str]:
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
            f"| {client}{version} | {options} | {n_runs} | {len(found)} | {len(found) - len(wrong)} | {len(named)} | "
            f"{len(wrong) - len(named)} |"
        )


def _ranks(shares: Mapping[str, Mapping[str, int]], rows: Sequence[JsonObject]) -> Iterator[str]:
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
    for version, share in shares.items():
        turn, once = counts.get((version, "seq4", "cold")), counts.get((version, "par4", "cold"))
        if turn is not None:
            four = share["cold"] + share["second"] + 2 * share["further"]
            yield (
                f"| NFS v{version} | {share['cold']:,} | {share['second']:,} | {share['further']:,} | {four:,} | {turn:,} | "
                f"{once or 0:,} |"
            )
    yield ""
    yield "Of those that start at once some ask for the same rights and files in the same microseconds: nothing predicts how many."


def _job(torch: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "The environment lies on the server, the interpreter's own library and the system on the node. Of one recorded start:"
    yield ""
    yield f"| server | cold | second | each further | {N_NODES} x (cold + second + {N_RANKS - 2} x further) |"
    yield "|---|---|---|---|---|"
    for server, share in torch.items():
        cold, second, further = share["cold"], share["second"], share["further"]
        total = N_NODES * (cold + second + (N_RANKS - 2) * further)
        yield (
            f"| {server} | {cold:,} | {second:,} | {further:,} | {N_NODES} x ({cold:,} + {second:,} + {N_RANKS - 2} x "
            f"{further:,}) = **{total:,}** |"
        )
    yield ""
    for server, share in torch.items():
        yield f"- {server}, cold: {_named(share['operations'])}"


def _timed(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| program | client | GETATTR predicted | counted | other operations |"
    yield "|---|---|---|---|---|"
    for row in rows:
        predicted, found = dict(row["predicted"]), dict(row["counted"])
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


def _misses(cells: Sequence[Cell], again: Sequence[Cell] = ()) -> Iterator[str]:
    counted_again = {(cell.run, cell.phase, cell.operation): cell.counted for cell in again}
    wrong = [cell for cell in cells if not cell.is_exact]
    if not wrong:
        yield "None."
    for cell in wrong:
        why = cell.why_not_predictable or UNSEEN.get(cell.operation, "")
        if cell.client == "lustre" and cell.operation == "getattr":
            why = "a link is read: the environment that was recorded has one at bin/python, the one that was counted had none"
        if not why and cell.workload == "par4":
            why = "four ask at the same moment"
        once_more = counted_again.get((cell.run, cell.phase, cell.operation))
        if not why and once_more is not None:
            why = f"counted again: {once_more:,}"
        yield f"- {cell}{': ' + why if why else ''}"
