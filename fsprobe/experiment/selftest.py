"""Two backends observe the same run, and what they saw is compared call for call: what a site needs before it trusts the second."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from fsprobe.model.events import Call, Event, Op, ParseQuality, Process
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

_LOADER = re.compile(rb"ld(?:-linux[^/]*|-[\d.]+)?\.so")


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
    n_cut_off: int = 0
    """calls during which a signal or another thread ended theirs: the second one has them too, without path and result"""
    n_loaders: int = 0
    """calls of the loader before the second one comes in: the first few, or all of a program that it enters by LD_PRELOAD"""
    n_restarted: int = 0
    """calls that a signal interrupted and the kernel began anew: two for the first one, for the program one"""
    n_unseen: int = 0
    """calls of programs of which the second one says that it does not see them: static ones, say"""
    n_opened_unseen: int = 0
    """their opens"""
    examples: tuple[str, ...] = ()
    """the first calls that only one of them saw"""

    @property
    def is_complete(self) -> bool:
        """Whether there is no difference."""
        return self.is_explained and not self.n_unseen

    @property
    def is_explained(self) -> bool:
        """Whether nothing is missing but what programs did of which the second one says that it does not see them."""
        told = self.n_equal + self.n_cut_off + self.n_loaders + self.n_restarted + self.n_unseen
        return (
            self.n_equal > 0
            and self.n_calls == told
            and not self.n_extra
            and self.n_threads == self.n_threads_in_order
            and self.n_opened == self.n_opened_equal + self.n_opened_unseen
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
    killed: set[int] = set()
    expected = by_thread(parser.parse(recording.lines(LOG), ParseQuality(), cwd=cwd), recording, killed)
    facts = ring.RingFacts()
    data = mapped.in_one_piece(recording, RING)
    actual = by_thread(ring.read(data, ParseQuality(), facts, cwd=cwd), recording)
    n_calls = sum(map(len, expected.values()))
    n_opened_unseen = _opens(expected).total()
    unseen = Counter(loss.tid for loss in facts.unseen)
    n_unseen = sum(
        _take_out_unseen(expected[tid], actual.get(tid, []), n) for tid, n in unseen.items() if tid in expected
    )
    n_opened_unseen -= _opens(expected).total()
    n_restarted = sum(_take_out_restarted(rows, actual.get(tid, [])) for tid, rows in expected.items())
    n_loaders = sum(_take_out_early(rows, actual.get(tid, [])) for tid, rows in expected.items())
    by_preload = Counter(loss.tid for loss in facts.by_preload)
    n_loaders += sum(
        _take_out_loaders(expected[tid], actual.get(tid, []), n) for tid, n in by_preload.items() if tid in expected
    )
    n_cut_off = sum(
        _take_out_cut_off(rows, actual.get(tid, []))
        for tid, rows in expected.items()
        if rows and (tid in killed or rows[-1][2] == "?")
    )
    seen = Counter(row[:3] for rows in expected.values() for row in rows)
    noted = Counter(row[:3] for rows in actual.values() for row in rows)
    opened, opened_too = _opens(expected), _opens(actual)
    missing, extra = seen - noted, noted - seen
    return Agreement(
        program=name,
        n_calls=n_calls,
        n_equal=(seen & noted).total(),
        n_extra=extra.total(),
        n_threads=len(expected),
        n_threads_in_order=sum(
            [row[:3] for row in rows] == [row[:3] for row in actual.get(tid, ())] for tid, rows in expected.items()
        ),
        n_opened=opened.total() + n_opened_unseen,
        n_opened_equal=(opened & opened_too).total(),
        n_lost=facts.n_lost,
        n_cut_off=n_cut_off,
        n_loaders=n_loaders,
        n_restarted=n_restarted,
        n_unseen=n_unseen,
        n_opened_unseen=n_opened_unseen,
        examples=tuple(
            f"{sign} {call} {os.fsdecode(path)} {error}".rstrip()
            for sign, calls in (("strace alone:", missing), ("inline alone:", extra))
            for call, path, error in list(calls)[:N_EXAMPLES]
        ),
    )


Row = tuple[str, bytes, str, bytes]
"""Call, path, error, and for an open where it led to."""


def _take_out_cut_off(rows: list[Row], others: list[Row]) -> int:
    """Take out a thread's last call, if the second backend has it there as well, begun and not ended; says how many."""
    if not rows or not others or len(rows) != len(others) or rows[-1][0] != others[-1][0]:
        return 0
    if others[-1][1:3] != (b"", "?") or rows[-1][:3] == others[-1][:3]:
        return 0
    del rows[-1], others[-1]
    return 1


def _take_out_restarted(rows: list[Row], others: list[Row]) -> int:
    """Give calls that a signal interrupted the error that the program got, take out those that began anew; says how many.

    A tracer sees the kernel's own word for either, and in the second case the call twice.
    """
    at = n = 0
    while at < len(rows):
        call, path, error, _ = rows[at]
        if error.startswith("ERESTART"):
            if at < len(others) and others[at][:3] == (call, path, "EINTR"):
                rows[at] = others[at]
            elif at + 1 < len(rows) and rows[at + 1][:2] == (call, path):
                del rows[at]
                n += 1
                continue
        at += 1
    return n


def _take_out_early(rows: list[Row], others: list[Row]) -> int:
    """Take out what the loader did before it came to its auditors, the second backend among them; says how many.

    It asks where its program lies ($ORIGIN in a run path), and opens it when it was itself called with a program to run.
    """
    n = at = 0
    while at < len(rows):
        call, path, error, _ = rows[at]
        other = others[at] if at < len(others) else None
        if other is None or rows[at][:3] != other[:3]:
            started = rows[at - 1] if at else None
            if not started or started[0] not in ("execve", "execveat") or started[2] or error:
                break
            is_loader = call == "openat" and _LOADER.match(started[1].rpartition(b"/")[2])
            if not is_loader and (call, path) != ("readlink", b"/proc/self/exe"):
                break
            del rows[at]
            n += 1
            continue
        at += 1
    return n


def _take_out_loaders(rows: list[Row], others: list[Row], n_most: int) -> int:
    """Take out what a thread's programs did before the second backend came in, if all that follows is equal; says how many.

    Args:
        n_most: how many programs of this thread were entered late.
    """
    parts, other_parts = _by_program(rows), _by_program(others)
    if len(parts) != len(other_parts):
        return 0
    n = 0
    for part, other in zip(parts[1:], other_parts[1:], strict=True):
        n_more = len(part) - len(other)
        # the last one may be cut off
        is_equal = all(one[:3] == two[:3] or two[2] == "?" for one, two in zip(part[n_more:], other, strict=False))
        if n_most and n_more > 0 and is_equal:
            del part[:n_more]
            n, n_most = n + n_more, n_most - 1
    rows[:] = [row for part in parts for row in part]
    return n


def _take_out_unseen(rows: list[Row], others: list[Row], n_most: int) -> int:
    """Take out what programs did that the second backend says it does not see, if it has nothing of them; says how many.

    Args:
        n_most: how many programs of this thread were not seen.
    """
    parts, other_parts = _by_program(rows), _by_program(others)
    if len(parts) != len(other_parts):
        return 0
    n = 0
    for part, other in zip(parts[1:], other_parts[1:], strict=True):
        if part and not other and n_most:
            n, n_most = n + len(part), n_most - 1
            part.clear()
    rows[:] = [row for part in parts for row in part]
    return n


def _opens(of_threads: Mapping[int, Sequence[Row]]) -> Counter[Row]:
    """Opens, with where they led to."""
    return Counter(row for rows in of_threads.values() for row in rows if row[3])


def _by_program(rows: list[Row]) -> list[list[Row]]:
    """A thread's calls, parted behind each exec."""
    parts: list[list[Row]] = [[]]
    for row in rows:
        parts[-1].append(row)
        if row[0] in ("execve", "execveat") and not row[2]:
            parts.append([])
    return parts


def by_thread(events: Iterable[Event], recording: Recording, killed: set[int] | None = None) -> dict[int, list[Row]]:
    """The calls of each thread in their order, without what the recorder itself does in the process.

    Args:
        killed: takes the threads that a signal has ended.
    """
    scratch = os.fsencode(str(recording.manifest.get("scratch") or "")) + b"/"
    found: dict[int, list[Row]] = {}
    for event in events:
        if killed is not None and isinstance(event, Process) and event.kind == "killed":
            killed.add(event.tid)
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
