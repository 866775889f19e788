"""The whole job: parts are added in the order of nodes and ranks, and the sum becomes a profile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from fsprobe import pipeline
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.analysis.counting.profile import make_profile
from fsprobe.analysis.requests.rows import CAVEAT, RequestCounts
from fsprobe.errors import BadInput
from fsprobe.jobs.clock import make_slots
from fsprobe.jobs.evidence import judge
from fsprobe.jobs.rank_rows import bounded, section, sum_of
from fsprobe.jobs.reading.chunks import SELDOM, Part, read_all, seldom_collected
from fsprobe.jobs.reading.recordings import Files
from fsprobe.jobs.sums import NodeRequests
from fsprobe.model.formats import JsonObject
from fsprobe.model.text import text
from fsprobe.recording import file as recording

REQUESTS = (
    "A node asks for names, listings and links once for all its ranks, and for every open of every process. " + CAVEAT
)


@dataclass(slots=True)
class Whole:
    """The sum of all parts."""

    total: Part = field(default_factory=Part)
    _node: str = ""
    _asked: NodeRequests = field(default_factory=NodeRequests)

    def add(self, part: Part) -> None:
        """Add a part; the parts of a node come one after the other."""
        for node, asked in part.asked.items():
            if node != self._node:
                self.close()
                self._node = node
            self._asked.join(asked.per_path, asked.mount_of)
            self._asked.n_unplaced += asked.n_unplaced
        self.total.add(part)

    def close(self) -> None:
        """Add what the node that is under way asks for: nothing more of it will come."""
        if self._node:
            self.total.requests.close(self._node, self._asked)
        self._node, self._asked = "", NodeRequests()


def merge(files: Files, executor: Executor | None = None, n_workers: int = 1) -> JsonObject:
    """Merge the recordings of a job: its profile, of kind "job", with a section "job".

    Args:
        files: as `gather` gave them.
        executor: where chunks are read; here and now without one.
        n_workers: how many the executor has.

    Raises:
        BadInput: not one of them could be read.
    """
    whole = Whole()
    with seldom_collected(SELDOM):
        for part in read_all(files.ranks, executor, n_workers):
            whole.add(part)
    whole.close()
    total = whole.total
    if not total.rows:
        raise BadInput(
            f"none of {len(files.ranks)} recordings can be read ({total.failed[0][1]})", "see `fsprobe salvage --help`"
        )
    profile, mounts = _profile(files, total)
    profile["findings"], profile["verdict"] = judge(files.ranks, total, profile, mounts, executor=executor)
    return profile


def _profile(files: Files, total: Part) -> tuple[JsonObject, Mounts]:
    tally = total.tally
    table = pipeline.mount_finder(total.mounts.values(), tally)
    owners = Owners([{"path": list(total.path_entries)}], total.distributions, next(iter(total.cwds), None))
    manifest = _manifest(files, total)
    walls = [row["wall_s"] for row in total.rows if row["wall_s"] is not None]
    profile = make_profile(
        kind="job",
        # the calls' share of the time: of all ranks' time together
        manifest={**manifest, "wall_s": sum(walls) if walls else None},
        tally=tally,
        notes=total.notes,
        quality=total.quality,
        mounts=table,
        owners=owners,
        requests={
            "by_mount": {key: row.as_json() for key, row in _most_first(total.requests.by_mount)},
            "by_package": {key: row.as_json() for key, row in total.requests.requests.by_package(owners).items()},
            "by_module": {},
            "n_unplaced": total.requests.requests.n_unplaced,
            "caveat": REQUESTS,
        }
        if total.n_without_requests < len(total.rows)
        else None,
        n_marks_unread=total.n_marks_unread,
    )
    profile["manifest"] = manifest
    profile["metrics"]["by_process"] = bounded(profile["metrics"]["by_process"])
    profile["job"] = section(
        files.ranks,
        total.rows,
        total.requests.nodes,
        tally.total,
        unreadable=[*files.unreadable, *total.failed],
        n_without_requests=total.n_without_requests,
    )
    profile["job"].update(n_foreign=files.n_foreign, n_mounts_differ=total.n_mounts_differ)
    _add_times(profile["job"], total)
    return profile, table


def _add_times(section: JsonObject, total: Part) -> None:
    """When the nodes made their calls: slots of the common clock, for each node and for all."""
    slots = make_slots(total.tally)
    calls = {node: slots.sums(clock.calls()) for node, clock in total.clocks.items()} if slots is not None else {}
    for row in section["nodes"]:
        clock = total.clocks[row["key"]]
        row.update(clock.rates(), timeline=calls.get(row["key"]))
    section["timeline"] = (
        {
            "start_s": round(slots.start_s, 3),
            "slot_s": slots.slot_s,
            "n_metadata": [sum(column) for column in zip(*calls.values(), strict=True)],
        }
        if slots is not None
        else None
    )


def _most_first(table: Mapping[str, RequestCounts]) -> list[tuple[str, RequestCounts]]:
    return sorted(table.items(), key=lambda item: (-item[1].metadata, item[0]))


def _manifest(files: Files, total: Part) -> JsonObject:
    """What the ranks' manifests have in common."""
    first = recording.Recording(next(file.path for file in files.ranks if file.name == total.rows[0]["key"])).manifest
    starts = [row["started_s"] for row in total.rows if row["started_s"] is not None]
    ends = [
        row["started_s"] + row["wall_s"]
        for row in total.rows
        if row["started_s"] is not None and row["wall_s"] is not None
    ]
    manifest = {
        name: first.get(name)
        for name in (
            "command",
            "label",
            "backend",
            "backend_version",
            "markers",
            "cwd",
            "layout",
            "cache",
            "fsprobe_version",
        )
    }
    codes = {row["exit_code"] for row in total.rows}
    manifest.update(
        job_id=files.ranks[0].job or None,
        job_name=(first.get("job") or {}).get("SLURM_JOB_NAME"),
        exit_code=codes.pop() if len(codes) == 1 else max((code for code in codes if code is not None), default=None),
        started_s=min(starts, default=None),
        wall_s=round(max(ends) - min(starts), 6) if ends else None,
        user_s=sum_of(total.rows, "user_s"),
        sys_s=sum_of(total.rows, "sys_s"),
        majflt=None,
        read_bytes=sum_of(total.rows, "read_bytes"),
        python=None,
        environment=first.get("environment"),
        observes=list(pipeline.OBSERVES.get(str(first.get("backend")), ())),
        mounts=[
            {"path": text(mount.path), "fstype": mount.fstype, "fs_class": mount.fs_class}
            for mount in total.mounts.values()
            if mount.fs_class != "pseudo"
        ],
    )
    return manifest


def write(path: str, profile: JsonObject) -> None:
    """Write a job's file: the profile itself, so that what comes later needs no recording of a rank.

    Raises:
        FsprobeError: it can't be written.
    """
    recording.write(path, "job", [("manifest", json.dumps(profile, indent=1).encode("ascii"))])
