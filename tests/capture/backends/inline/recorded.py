"""Run programs under the inline recorder and read what it saw: a driver for tests, without fsprobe's own recorder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsprobe.capture.backends.inline import build, ringfile
from fsprobe.events.ring import RingFacts, read
from fsprobe.model.events import Call, Event, ParseQuality

HERE = Path(__file__).parent
SOURCES = Path(build.INJECTED)
INCLUDES = tuple(f"-I{folder}" for folder in build.FOLDERS)
STRACE = (
    "strace -f -q --seccomp-bpf -ttt --relative-timestamps=ns -T -y -s 4096 -e "
    "trace=%file,getdents64,?getdents,fchdir,?clone,?clone3,?fork,?vfork,exit_group,?io_uring_setup"
).split()


def need(condition: bool, reason: str) -> None:
    """Skip where the machine lacks something; fail in CI."""
    if not condition:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs this: {reason}", pytrace=False)
        pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Run:
    """What a recorded run has left."""

    returncode: int
    stdout: bytes
    stderr: bytes
    data: bytes
    events: list[Event]
    facts: RingFacts
    quality: ParseQuality
    allocated_bytes: int = 0
    """Of its ring, holes left out."""

    @property
    def calls(self) -> list[Call]:
        return [event for event in self.events if isinstance(event, Call)]

    def paths(self, syscalls: str = "") -> list[bytes]:
        names = syscalls.split()
        return [call.path for call in self.calls if not names or call.syscall in names]


def scratch() -> Path:
    """A directory of this process in memory, where rings lie in earnest too."""
    place = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    path = place / f"fsprobe-test-inline.{os.getpid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def record(
    library: Path,
    command: Sequence[str],
    *,
    slots: int = 60_000,
    most: int = 1 << 20,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    under: Sequence[str] = (),
    timeout: float = 120,
    grow_s: float = 0,
) -> Run:
    """Run a command under the recorder.

    Args:
        library: the recorder's .so.
        under: a command that runs the command, such as strace; the recorder is in the command's environment alone.
        grow_s: raise the ring's cap this often, as the recorder of a run does; 0: never.
    """
    ring = scratch() / f"ring.{threading.get_ident()}.{os.urandom(4).hex()}"
    ringfile.create(str(ring), slots, most)
    base = dict(os.environ if env is None else env)
    changed = ringfile.environment(base, str(library), str(ring))
    words = list(command)
    if under:
        added = [f"{name}={value}" for name, value in changed.items() if base.get(name) != value]
        words = (
            [*under, "--", "env", *added, *words]
            if under[0] != "strace"
            else [*under, *(f"-E{one}" for one in added), "--", *words]
        )
        changed = base
    try:
        with subprocess.Popen(
            words, env=changed, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            if grow_s:
                waiting = threading.Event()

                def tick() -> None:
                    while not waiting.wait(grow_s):
                        ringfile.grow(str(ring), slots, most)

                ticking = threading.Thread(target=tick)
                ticking.start()
            try:
                stdout, stderr = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            finally:
                if grow_s:
                    waiting.set()
                    ticking.join()
        allocated_bytes = ring.stat().st_blocks * 512
        data = ring.read_bytes()
    finally:
        ring.unlink()
    facts, quality = RingFacts(), ParseQuality()
    events = list(read(data, quality, facts, cwd=os.fsencode(cwd or Path.cwd())))
    return Run(process.returncode, stdout, stderr, data, events, facts, quality, allocated_bytes)


def is_own(call: Call, library: Path) -> bool:
    """Whether a call that strace saw is the recorder's: it is not in the ring."""
    path = call.path
    if path == os.fsencode(library) or path.startswith(os.fsencode(scratch())):
        return True
    if path == b"/proc/self/status":
        return call.syscall == "openat" and b"O_NOFOLLOW" in call.args
    if call.syscall == "readlink":
        return path == b"/proc/self/cwd" or re.fullmatch(rb"/proc/self/fd/\d+", path) is not None
    return call.syscall == "stat" and (
        path.endswith(b" (deleted)") or path.startswith((b"/proc/self/fd/", b"/proc/self/cwd"))
    )


def per_thread(events: Iterable[Event], library: Path | None = None) -> dict[int, list[tuple[str, bytes, str]]]:
    """The sequence of (call, path, errno) of each thread, without the recorder's own."""
    threads: dict[int, list[tuple[str, bytes, str]]] = defaultdict(list)
    for event in events:
        if isinstance(event, Call) and not (library is not None and is_own(event, library)):
            threads[event.tid].append((event.syscall, event.path, event.error))
    return threads


def difference(
    expected: dict[int, list[tuple[str, bytes, str]]], actual: dict[int, list[tuple[str, bytes, str]]]
) -> str:
    """Say how two runs' calls differ ("" where they don't)."""
    if expected == actual:
        return ""
    missing = Counter(call for calls in expected.values() for call in calls)
    extra = Counter(call for calls in actual.values() for call in calls)
    shown = [f"- {call}"[:300] for call in list(missing - extra)[:20]] + [
        f"+ {call}"[:300] for call in list(extra - missing)[:20]
    ]
    return "\n".join(shown) or "the same calls, in another order or of other threads"


def compiled(source: Path, out: Path, *more: str) -> str:
    """Compile one of the test programs."""
    need(shutil.which("gcc") is not None, "gcc compiles the test's program")
    subprocess.run(["gcc", "-O2", "-w", "-pthread", "-o", str(out), str(source), *more], check=True, timeout=120)
    return str(out)


PYTHON = sys.executable
