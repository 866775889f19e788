"""Two backends observe the same run, and what they saw is compared call for call: what a site needs before it trusts the second."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsprobe import pipeline
from fsprobe.capture import record
from fsprobe.capture.options import RunOptions
from fsprobe.errors import EXIT_MACHINE, FsprobeError
from fsprobe.events import ring
from fsprobe.events.ring import mapped
from fsprobe.events.strace import parser
from fsprobe.events.strace.values import annotated_path
from fsprobe.model.events import Call, Event, Op, ParseQuality
from fsprobe.recording.file import Recording

BACKENDS = "strace+inline"
LOG, RING = "log", "inline/ring"
"""The sections that the two of them write."""
MAX_LOG_BYTES = 1 << 30
N_EXAMPLES = 5
_THREADS = """
import threading
names = "json email.message csv decimal xml.dom.minidom ctypes sqlite3 asyncio".split()
threads = [threading.Thread(target=__import__, args=(name,)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
_POOL = """
import multiprocessing, os
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.map(os.listdir, ["/", "/usr", "/etc"])
"""
_FILES = """
import os, subprocess, tempfile
with tempfile.TemporaryDirectory() as place:
    os.chdir(place)
    os.mkdir("a"); open("a/b", "w").close(); os.symlink("a/b", "c"); os.readlink("c"); os.rename("a/b", "a/d")
    os.path.exists("c"); os.listdir("a"); os.stat("a/d"); os.scandir(".").close(); os.access("x", os.R_OK); os.unlink("a/d")
    os.chdir("/")
subprocess.run(["ls", "/usr"], stdout=subprocess.DEVNULL)
os.system("cat /etc/hostname >/dev/null 2>&1")
"""
_NEVER_THE_PROGRAMS = re.compile(rb"/proc/self/(?:cwd|task|fd/\d+)")
"""What the inline recorder asks the kernel, in each process, to know where a call led to. Left out on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two backends saw the same in one run."""

    program: str
    n_calls: int
    """that the first one saw"""
    n_equal: int
    """of them the second one saw too: call, path, error, in whatever order"""
    n_extra: int
    """that the second one alone saw"""
    n_threads: int
    n_threads_in_order: int
    n_opened: int
    n_opened_equal: int
    """opens that led to the same file"""
    n_lost: int
    examples: tuple[str, ...] = ()
    """the first calls that only one of them saw"""

    @property
    def is_complete(self) -> bool:
        """Whether there is no difference."""
        return (
            self.n_calls == self.n_equal > 0
            and not self.n_extra
            and self.n_threads == self.n_threads_in_order
            and self.n_opened == self.n_opened_equal
            and not self.n_lost
        )


def programs(command: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
    """Name and command line of what is run: a user's own command, or a handful of programs that do what programs do."""
    if command:
        return [(" ".join(command), list(command))]
    python = sys.executable
    return [
        ("python -c pass", [python, "-c", "pass"]),
        ("imports in 8 threads", [python, "-c", _THREADS]),
        ("a pool of forked processes", [python, "-c", _POOL]),
        ("files, directories, programs", [python, "-c", _FILES]),
        ("a shell's pipeline", ["/bin/sh", "-c", "ls /usr | sort | head -n 1 >/dev/null"]),
    ]


def run(name: str, command: list[str]) -> Agreement:
    """Run a command under both backends and compare.

    Raises:
        FsprobeError: one of them does not work here, or the command can't be started.
    """
    with tempfile.TemporaryDirectory(prefix="fsprobe-selftest-") as place:
        options = RunOptions()
        options.command, options.backend = command, BACKENDS
        options.output = str(Path(place) / "run.fsprobe")
        options.max_log_bytes, options.wait_descendants_s = MAX_LOG_BYTES, 5.0
        try:
            with _stdout_to_stderr():
                record.record(options)
        except FsprobeError as error:
            error.exit_code = EXIT_MACHINE
            raise
        recording = Recording(options.output)
        return compare(name, recording)


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What the programs print is not part of the answer."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def compare(name: str, recording: Recording) -> Agreement:
    """Compare what a recording of both holds.

    Raises:
        BadInput: it is damaged.
    """
    cwd = pipeline.cwd_of(recording)
    expected = by_thread(parser.parse(recording.lines(LOG), ParseQuality(), cwd=cwd), recording)
    facts = ring.RingFacts()
    data = mapped.in_one_piece(recording, RING)
    actual = by_thread(ring.read(data, ParseQuality(), facts, cwd=cwd), recording)
    seen = Counter(row[:3] for rows in expected.values() for row in rows)
    noted = Counter(row[:3] for rows in actual.values() for row in rows)
    opened = Counter(row for rows in expected.values() for row in rows if row[3])
    opened_too = Counter(row for rows in actual.values() for row in rows if row[3])
    missing, extra = seen - noted, noted - seen
    return Agreement(
        program=name,
        n_calls=seen.total(),
        n_equal=(seen & noted).total(),
        n_extra=extra.total(),
        n_threads=len(expected),
        n_threads_in_order=sum(
            [row[:3] for row in rows] == [row[:3] for row in actual.get(tid, ())] for tid, rows in expected.items()
        ),
        n_opened=opened.total(),
        n_opened_equal=(opened & opened_too).total(),
        n_lost=facts.n_lost,
        examples=tuple(
            f"{sign} {call} {os.fsdecode(path)} {error}".rstrip()
            for sign, calls in (("strace alone:", missing), ("inline alone:", extra))
            for call, path, error in list(calls)[:N_EXAMPLES]
        ),
    )


Row = tuple[str, bytes, str, bytes]
"""Call, path, error, and for an open where it led to."""


def by_thread(events: Iterable[Event], recording: Recording) -> dict[int, list[Row]]:
    """The calls of each thread in their order, without what the recorder itself does in the process."""
    scratch = os.fsencode(str(recording.manifest.get("scratch") or "")) + b"/"
    found: dict[int, list[Row]] = {}
    for event in events:
        if not isinstance(event, Call) or _is_recorders(event, scratch):
            continue
        led_to = annotated_path(event.result) if event.op is Op.OPEN and not event.error else None
        found.setdefault(event.tid, []).append((event.syscall, event.path, event.error, led_to or b""))
    return found


def _is_recorders(call: Call, scratch: bytes) -> bool:
    if call.path.startswith(scratch) or call.path.endswith(b"/fsprobe-inline.so"):
        return True
    if call.syscall == "stat" and call.path.endswith(b" (deleted)"):
        return True
    if call.path == b"/proc/self/status":
        return call.syscall == "openat" and b"O_NOFOLLOW" in call.args
    return call.syscall in ("readlink", "stat") and _NEVER_THE_PROGRAMS.fullmatch(call.path) is not None
