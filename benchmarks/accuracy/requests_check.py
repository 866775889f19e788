"""Compare the request model with what a file server really saw: the same run, traced, and served by the simulated one.

The environment is served at its own path, the client is made cold, a program runs under fsprobe's strace line, and the
server's log of (request, path) is set against the model's: equal multisets, nothing less. READDIR is set apart: of processes
that read one directory in the same microseconds a trace can't tell who was first.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fileserver import Server
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.capture.backends.strace import installed
from fsprobe.capture.lookups import collect
from fsprobe.capture.machine import mounts
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Mount, ParseQuality
from fsprobe.model.formats import JsonObject

EXACT = ("lookup", "negative", "open", "opendir", "readlink")
COMPARED = (*EXACT, "readdir")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one traced run asked: the server's log and the model's answer."""

    served: Counter[tuple[str, bytes]]
    predicted: Counter[tuple[str, bytes]]
    n_reads: int
    read_max: int | None
    n_calls: int
    log: bytes
    found: JsonObject
    """What was looked up after the run."""

    def difference(self, ops: Sequence[str] = EXACT) -> dict[tuple[str, bytes], tuple[int, int]]:
        """(request, path) -> (served, predicted), where they differ."""
        keys = {key for key in (*self.served, *self.predicted) if key[0] in ops}
        return {
            key: (self.served[key], self.predicted[key])
            for key in sorted(keys)
            if self.served[key] != self.predicted[key]
        }

    def totals(self) -> dict[str, tuple[int, int]]:
        """Request -> (served, predicted)."""
        return {
            op: tuple(sum(n for (name, _), n in side.items() if name == op) for side in (self.served, self.predicted))  # type: ignore[misc]
            for op in COMPARED
        }


def trace(command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cwd: str | None = None) -> None:
    """Run a command under the strace line that fsprobe uses."""
    program = installed.find(os.environ)
    if program is None:
        raise FileNotFoundError("strace")
    words = installed.command_line(program, installed.version(program), str(log), list(command))
    subprocess.run(words, check=True, env=env, cwd=cwd, stdout=subprocess.DEVNULL)


def predict(
    log: bytes, mount: bytes, found: JsonObject, *, cwd: bytes = b"/"
) -> tuple[Counter[tuple[str, bytes]], RequestModel]:
    """What the model says of the requests for the mount at `mount`."""
    model = read_model(log, found, cwd=cwd)
    predicted: Counter[tuple[str, bytes]] = Counter()
    requests = model.count()
    for path, row in requests.per_path.items():
        mounted = requests.mount_of[path]
        if mounted is not None and mounted.path == mount:
            for op in COMPARED:
                predicted[op, path] += getattr(row, op)
    return +predicted, model


def read_model(log: bytes, found: JsonObject, *, cwd: bytes = b"/", table: bytes | None = None) -> RequestModel:
    """A model that was fed with a log; `table` is a mountinfo, by default this process' own."""
    rows = mounts.parse_mountinfo(mounts.read_own() if table is None else table)
    model = RequestModel(
        [
            Mount(path=path, fstype=fstype, fs_class=mounts.classify(fstype), source=source, options=options)
            for path, fstype, source, options in rows
        ],
        found,
        cwd=cwd,
    )
    for event in parse(log.splitlines(keepends=True), ParseQuality(), cwd=cwd, on_status=model.add_status):
        if isinstance(event, Call):
            model.add(event)
    return model


def compare(
    server: Server, command: Sequence[str], *, env: Mapping[str, str] | None = None, look: bool = True
) -> Comparison:
    """Run a command cold on a served tree and set what was asked against what the model says.

    Args:
        server: started with `log_paths=True`.
        command: must not have its working directory on the mount.
        look: whether to look things up after the run as the recorder does.
    """
    server.remount()
    server.reset()
    with tempfile.TemporaryDirectory(prefix="requests-check-") as place:
        log = Path(place) / "log"
        trace(command, log, env=env, cwd="/")
        served = Counter((op, path) for op, path in server.paths() if op in COMPARED)
        n_reads = server.counters().read
        found = collect.collect([log.read_bytes()]) if look else {}
        data = log.read_bytes()
    predicted, model = predict(data, server.mnt, found)
    on_mount = model.count().by_mount().get(os.fsdecode(server.mnt))
    return Comparison(
        served=served,
        predicted=predicted,
        n_reads=n_reads,
        read_max=on_mount.read_max if on_mount is not None else 0,
        n_calls=data.count(b"\n"),
        log=data,
        found=found,
    )
