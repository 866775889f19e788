"""One and the same run seen by strace and by the recorder: every call, its errno, its order in its thread, its opened path."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe.analysis.attribution.attribute import Notes, attribute
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.steps import kind_of_mode
from fsprobe.events.ring import RingFacts
from fsprobe.events.strace.arguments import exec_argv, link_target, open_flags, second_path
from fsprobe.events.strace.constants import KINDS
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Event, Mark, Op, ParseQuality, Process
from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON, Run
from tests.events.reading import mode_kind

if shutil.which("strace") is None:
    recorded.need(False, "strace is what the recorder is compared with")

POOL = """
import multiprocessing, os, sys
def work(x):
    import decimal, json
    os.stat("/etc/passwd"); os.listdir("/")
    return x
if __name__ == "__main__":
    pool = multiprocessing.get_context(sys.argv[1]).Pool(3)
    pool.map(work, range(30), chunksize=10); pool.close(); pool.join()
"""
THREADS = """
import importlib, threading
names = "json xml.dom.minidom sqlite3 email.message decimal fractions asyncio unittest".split()
threads = [threading.Thread(target=importlib.import_module, args=(name,)) for name in names]
[one.start() for one in threads]; [one.join() for one in threads]
"""
PATHS = """
import os, subprocess, shutil
os.mkdir("x"); os.chdir("x")
names = [b'a<b>"\\\\\\n\\t', b"\\x01\\x027", b"caf\\xc3\\xa9 \\xff", b" = 3<x>", b"x (deleted)", b"y" * 200]
for name in names:
    os.mkdir(name); fd = os.open(name, os.O_RDONLY); os.listdir(fd)
    for where in (lambda: os.stat(b"no" + name, dir_fd=fd), lambda: os.stat(b"no" + name)):
        try: where()
        except OSError: pass
    os.chdir(name); open("f", "w").close(); os.stat("f"); os.chdir(".."); os.close(fd)
fd = os.open(".", os.O_RDONLY)
open("f", "w").close(); os.symlink("f", "l"); os.symlink("f", "m", dir_fd=fd); open("l").close(); os.readlink("l"); os.readlink("m", dir_fd=fd)
os.rename("l", "n"); os.rename("n", "o", src_dir_fd=fd, dst_dir_fd=fd); os.link("f", "g"); os.unlink("o"); os.mkdir("q", dir_fd=fd); os.rmdir("q")
os.chmod("f", 0o4755); os.stat("f"); os.utime("f"); os.truncate("f", 3); os.access("f", 4); os.statvfs("f"); os.lstat("m")
other = os.open("..", os.O_RDONLY); os.rename("g", "h", src_dir_fd=fd, dst_dir_fd=other); os.fchdir(other); os.stat("h")
os.open("f2", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
try: os.stat("/".join(["z" * 200] * 5))
except OSError: pass
os.chdir("x"); os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
try: os.stat("x")
except OSError: pass
os.chdir("/")
for words in (["true"], ["nonexistent-program"], ["sh", "-c", "cd /etc; ls . >/dev/null; true|cat"]):
    try: subprocess.run(words)
    except OSError: pass
if os.fork() == 0: os.execvpe("env", ["env", "-i", "true"], os.environ)
os.wait()
if os.fork() == 0: os.kill(os.getpid(), 9)
os.wait()
fd = os.open("/bin/true", os.O_RDONLY)
if os.fork() == 0: os.execve(fd, ["true"], os.environ)
os.wait()
"""


def both(library: Path, command: list[str], cwd: Path, **kwargs: object) -> tuple[list[Event], Run]:
    """Run a command once under strace with the recorder in it; the events of both."""
    log = cwd.parent / f"{cwd.name}.strace"
    run = recorded.record(library, command, cwd=cwd, under=[*recorded.STRACE, "-o", str(log)], **kwargs)  # type: ignore[arg-type]
    with log.open("rb") as lines:
        theirs = list(parse(lines, ParseQuality(), cwd=os.fsencode(cwd)))
    log.unlink()
    return theirs, run


def assert_same(library: Path, theirs: list[Event], run: Run) -> None:
    expected, actual = recorded.per_thread(theirs, library), recorded.per_thread(run.events)
    assert sum(map(len, expected.values())) > 3
    assert recorded.difference(expected, actual) == ""
    assert (run.facts.n_lost, run.facts.n_damaged, run.facts.n_cut) == (0, 0, 0)
    assert {one.n_left for one in run.facts.objects} == {0}
    same_meaning(library, theirs, run)
    same_processes(theirs, run)
    for call in run.calls:
        assert call.dur_ns is None or 0 <= call.dur_ns < 60_000_000_000


def meaning(call: Call) -> tuple[object, ...]:
    """What later stages read from a call's text."""
    opened = call.result.partition(b"<")[2].partition(b">")[0] if call.op is Op.OPEN and not call.error else b""
    argv = [word[:256] for word in exec_argv(call)] if call.op is Op.EXEC else None  # as with `-s 256`
    flags = {flag for flag in open_flags(call) if flag.startswith(("O_", "AT_SYMLINK", "AT_REMOVE"))} - {"O_LARGEFILE"}
    listed = re.search(rb"/\* \d+ entries \*/, \d+$", call.args)
    size = re.search(rb"stx?_size=\d+", call.args[call.args.rfind(b'"') :]) if mode_kind(call) == "S_IFREG" else None
    n_bytes = call.result if call.op is Op.LIST else b""
    kind = None if call.error else mode_kind(call)
    return (
        call.syscall, call.path, call.error, opened, argv, frozenset(flags), second_path(call), link_target(call), kind,
        listed and listed.group(), size and size.group(), n_bytes,
    )  # fmt: skip


def same_meaning(library: Path, theirs: list[Event], run: Run) -> None:
    expected = Counter(
        repr(meaning(call))
        for call in theirs
        if isinstance(call, Call) and not recorded.is_own(call, library) and call.syscall != "openat2"
    )
    actual = Counter(repr(meaning(call)) for call in run.calls if call.syscall != "openat2")
    missing, extra = expected - actual, actual - expected
    assert not missing, "\n".join(
        [*("- " + one for one in list(missing)[:10]), *("+ " + one for one in list(extra)[:10])]
    )


def same_processes(theirs: list[Event], run: Run) -> None:
    def told(events: list[Event]) -> Counter[tuple[str, int, int, bytes]]:
        return Counter((one.kind, one.tid, one.child, one.detail) for one in events if isinstance(one, Process))

    first = next(event.tid for event in theirs)
    missing = told(theirs) - told(run.events)
    # how the first process ended is told by who waits for it: the recorder
    assert not [one for one in missing if one[1] != first or one[0] not in ("killed", "exit")], missing
    assert not told(run.events) - told(theirs)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


COMMANDS = {
    "true": ["/bin/true"],
    "pass": [PYTHON, "-c", "pass"],
    "run": [PYTHON, "-c", "import subprocess; subprocess.run(['ls', '/etc/hosts'])"],
    "asyncio": [PYTHON, "-c", "import asyncio, json, sqlite3, email.message"],
    "spawn": [PYTHON, "pool.py", "spawn"],
    "fork": [PYTHON, "pool.py", "fork"],
    "forkserver": [PYTHON, "pool.py", "forkserver"],
    "threads": [PYTHON, "threads.py"],
    "bash": [
        "bash",
        "-c",
        "ls /usr/bin | grep -c a; cat /etc/hosts | sort; for i in 1 2 3; do (cat /etc/hosts | wc -l); done",
    ],
    "find": ["find", "/etc", "-name", "*.conf"],
    "tar": ["tar", "cf", "/dev/null", "/etc/apt"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_program(library: Path, place: Path, name: str) -> None:
    command = COMMANDS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    (place / "pool.py").write_text(POOL)
    (place / "threads.py").write_text(THREADS)
    theirs, run = both(library, command, place)
    assert_same(library, theirs, run)


def test_pandas(library: Path, place: Path) -> None:
    pytest.importorskip("pandas")
    theirs, run = both(library, [PYTHON, "-c", "import pandas"], place)
    assert run.returncode == 0
    assert_same(library, theirs, run)
    assert len(run.calls) > 1000


def test_gcc(library: Path, place: Path) -> None:
    recorded.need(shutil.which("gcc") is not None, "gcc starts four programs by vfork and posix_spawn")
    (place / "nothing.c").write_text("int main(void) { return 0; }")
    theirs, run = both(library, ["gcc", "-o", "nothing", "nothing.c"], place)
    assert_same(library, theirs, run)


@pytest.mark.parametrize("name", ["vfork", "dlmopen", "maps"])
def test_c_program(library: Path, place: Path, program: Callable[[str], str], name: str) -> None:
    theirs, run = both(library, [program(name)], place)
    assert_same(library, theirs, run)


PYTHONS = sorted(
    (path for path in Path.home().glob(".pyenv/versions/3.*/bin/python") if os.access(path, os.X_OK)),
    key=lambda path: [int(part) for part in path.parts[-3].split(".")],
)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parts[-3])
def test_interpreters(library: Path, place: Path, python: Path) -> None:
    theirs, run = both(library, [str(python), "-c", "import json, subprocess; subprocess.run(['true'])"], place)
    assert_same(library, theirs, run)


def test_paths_of_all_kinds(library: Path, place: Path) -> None:
    (place / "paths.py").write_text(PATHS)
    theirs, run = both(library, [PYTHON, "paths.py"], place)
    assert run.returncode == 0, run.stderr
    unseen = {loss.path for loss in run.facts.unseen}
    assert unseen == {b"/usr/bin/true"} or unseen == {b"/bin/true"}  # env -i
    # what an unseen program did itself is not in the ring, and said so
    tids = {loss.tid for loss in run.facts.unseen}
    starts = {
        (event.tid, event.t_ns)
        for event in theirs
        if isinstance(event, Process) and event.kind == "exec" and event.tid in tids
    }
    last = {tid: max(t_ns or 0 for one, t_ns in starts if one == tid) for tid in tids}
    theirs = [
        event
        for event in theirs
        if not (isinstance(event, Call) and event.tid in tids and (event.t_ns or 0) > last[event.tid])
    ]
    assert_same(library, theirs, run)


def test_requests_and_attribution_are_the_same(library: Path, place: Path) -> None:
    """What a cold client asks for, and which process and phase each call belongs to, come out alike."""
    theirs, run = both(
        library, [PYTHON, "-c", "import asyncio, subprocess; subprocess.run(['cat', '/etc/hosts'])"], place
    )
    ours = [event for event in theirs if not (isinstance(event, Call) and recorded.is_own(event, library))]

    def counted(events: list[Event], facts: RingFacts | None) -> dict[bytes, object]:
        model = RequestModel([], None, os.fsencode(place))
        if facts is not None:
            model.sizes = {
                path: (kind_of_mode(KINDS.get(mode & 0o170000, b"")), size)
                for path, (mode, size) in facts.fstats.items()
            }
        for event in events:
            if isinstance(event, Call):
                model.add(event)
        return dict(model.count().per_path)

    expected = counted(ours, run.facts)
    assert counted(run.events, run.facts) == expected

    def rows(events: list[Event]) -> Counter[tuple[object, ...]]:
        return Counter(
            (row.call.path, row.call.syscall, row.phase, row.module, row.process.label)
            for row in attribute(events, Notes())
        )

    assert rows(run.events) == rows(ours)


def test_events_of_a_thread_are_in_the_order_of_time(library: Path, place: Path) -> None:
    (place / "threads.py").write_text(THREADS)
    run = recorded.record(library, [PYTHON, "threads.py"], cwd=place)
    last: dict[int, int] = {}
    born: set[int] = set()
    for event in run.events:
        if isinstance(event, Process) and event.kind in ("fork", "thread"):
            assert event.child not in last, "a child's birth comes before all that it does"
            born.add(event.child)
        if isinstance(event, Call | Mark) and event.t_ns is not None:
            assert event.t_ns >= last.get(event.tid, 0)
            last[event.tid] = event.t_ns
    assert set(last) - born == {next(event.tid for event in run.events)}
