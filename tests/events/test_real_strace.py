"""The real strace, real programs, each set of options: the rows must be those of the `-f -ttt -T -y` log.

Rows are (thread by birth, system call, path, error), compared one by one: counts alone would not show a wrong path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from fsprobe.events.strace.sources import read_logs
from fsprobe.model.events import Event, ParseQuality
from tests.events.reading import Row, calls, processes, read_lines, rows_by_birth

STRACE = shutil.which("strace")
OWN = [
    "-f", "-q", "--seccomp-bpf", "-ttt", "--relative-timestamps=ns", "-T", "-y", "-s", "256",
    "-e", "trace=%file,getdents64,?getdents,fchdir,?clone,?clone3,?fork,?vfork,exit_group",
]  # fmt: skip
NAMES = [
    b"a<b", b"a>b", b'q"q', b"n\nl", b"x = y", b"\x01", b"\x015", b"\xff\xfe", b"back\\sl", b"(deleted)", b"x (deleted)",
    b"a, b", b") = 3<x>", b"<unfinished ...>", b" <0.000001>", b"->", b'"', b"\\", b"\t\x7f", b"fsprobe>x",
]  # fmt: skip
PROGRAM = '''
import os, sys, threading
NAMES = %r
HERE = os.getcwdb()
def attempt(function, *args, **more):
    try:
        return function(*args, **more)
    except OSError:
        return None
def hostile():
    for name in NAMES:
        path = HERE + b"/" + name
        attempt(os.stat, path)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR))
        os.mkdir(path + b"D")
        directory = os.open(path + b"D", os.O_RDONLY)
        os.listdir(directory)
        attempt(os.stat, name, dir_fd=directory)
        os.fchdir(directory)
        attempt(os.stat, b"relative")
        os.chdir(HERE)
        os.rmdir(path + b"D")
        os.close(directory)
        os.symlink(name, b"link")
        os.readlink(b"link")
        os.lstat(b"link")
        os.rename(b"link", b"link2")
        os.unlink(b"link2")
        os.unlink(name)
        attempt(os.access, b"fsprobe>access", 0)
        os.chdir(HERE)
def family():
    for n in range(2):
        thread = threading.Thread(target=lambda: [attempt(os.stat, b"thread%%d" %% i) for i in range(20)])
        thread.start()
        thread.join()
    pid = os.fork()
    if pid == 0:
        os.chdir(b"/")
        attempt(os.stat, b"child")
        if os.fork() == 0:
            os.execv("/bin/true", ["true"])
        os.wait()
        os._exit(3)
    os.waitpid(pid, 0)
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
if "wait" in sys.argv:
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    sys.stdin.readline()
hostile()
if "family" in sys.argv:
    family()
if "exec" in sys.argv:
    thread = threading.Thread(target=lambda: os.execv("/bin/true", ["true", "a\\"b"]))
    thread.start()
    thread.join()
''' % (NAMES,)  # fmt: skip

if STRACE is None and os.environ.get("CI") == "true":
    raise RuntimeError("strace is required in CI")
pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


def find_pythons() -> dict[str, str]:
    """Name -> interpreter, of two generations: 3.8 still calls stat and open in ways that later ones do not."""
    found = {"%d.%d" % sys.version_info[:2]: os.path.realpath(sys.executable)}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in ("3.8", "3.11"):
        paths = [shutil.which(f"python{version}"), *sorted(versions.glob(f"{version}.*/bin/python{version}"))[-1:]]
        real = [os.path.realpath(path) for path in paths if path and "shims" not in str(path)]
        if real:
            found[version] = real[-1]
    return found


PYTHONS = find_pythons()


class Bench:
    """A directory with the program, and strace runs of it."""

    def __init__(self, python: str, place: Path) -> None:
        self.python, self.place, self.work = python, place, place / "work"
        self.work.mkdir()
        (place / "program.py").write_text(PROGRAM)
        self.command = [python, "-S", "-E", str(place / "program.py")]
        self.run([], *("family",))  # pycs are written now if ever

    def run(self, strace: list[str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ([STRACE or "", *strace] if strace else []) + [*self.command, *arguments]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        return subprocess.run(command, cwd=self.work, env=environment, capture_output=True, timeout=60, check=False)

    def trace(self, options: list[str], *arguments: str) -> tuple[list[Event], ParseQuality]:
        """Run the program under strace with a log file of its own, parse the log."""
        for old in self.place.glob("log*"):
            old.unlink()
        done = self.run([*options, "-o", str(self.place / "log")], *arguments)
        assert done.returncode == 0, done.stderr
        return self.read()

    def read(self) -> tuple[list[Event], ParseQuality]:
        logs = sorted(self.place.glob("log*"))
        events, quality = read_lines(read_logs(logs), os.fsencode(self.work))
        assert (quality.n_unparsed, quality.n_partial) == (0, 0), quality.unparsed_examples
        return events, quality

    def reference(self, *arguments: str) -> dict[tuple[int, ...], list[Row]]:
        return rows_by_birth(self.trace(["-f", "-ttt", "-T", "-y"], *arguments)[0])


@pytest.fixture(scope="module", params=sorted(PYTHONS))
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    # A path without symlinks, because -y shows resolved paths and other options don't
    return Bench(PYTHONS[request.param], Path(os.path.realpath(tmp_path_factory.mktemp("strace"))))


def test_hostile_names_come_out_byte_for_byte(bench: Bench) -> None:
    table = bench.reference("family")
    here = os.fsencode(bench.work)
    mine = [row for row in table[(0,)] if row[1].startswith(here)]
    for name in NAMES:
        path = here + b"/" + name
        for expected in [
            ("mkdir", path + b"D", ""),
            ("rmdir", path + b"D", ""),
            ("getdents64", path + b"D", ""),
            ("readlink", here + b"/link", ""),
            ("rename", here + b"/link", ""),
            ("unlink", path, ""),
        ]:
            assert expected in mine
        found = [row for row in mine if row[1] == path]
        assert [row[2] for row in found] == ["ENOENT", "", ""], found  # stat, open, unlink
        in_directory = [row for row in mine if row[1] == path + b"D/" + name]
        assert [row[2] for row in in_directory] == ["ENOENT"]
        assert [row[2] for row in mine if row[1] == path + b"D/relative"] == ["ENOENT"]
    assert ("access", here + b"/fsprobe>access", "ENOENT") in mine  # no marker: no descriptor -1
    assert sorted(table) == [(0,), (0, 0), (0, 1), (0, 2), (0, 2, 0)]
    thread = [row[1:] for row in table[(0, 0)] if row[1].startswith(here)]  # 3.8 loads libgcc_s in it, too
    assert thread == [(here + b"/thread%d" % n, "ENOENT") for n in range(20)]
    child = [row[1:] for row in table[(0, 2)] if row[1] != b"/proc/self/stat"]  # 3.12+ looks for threads when it forks
    assert child == [(b"/", ""), (b"/child", "ENOENT")]


@pytest.mark.parametrize(
    "options",
    [
        OWN,
        [*OWN, "--decode-pids=pidns"],
        ["-f"],
        ["-f", "-t"],
        ["-f", "-tt", "-T"],
        ["-f", "-r"],
        ["-f", "-ttt", "-r"],
        ["-f", "-yy", "-tt"],
        ["-f", "-y", "-xx"],
        ["-f", "-xx", "-T"],
        ["-f", "-x", "-s", "4"],
        ["-f", "-v", "-s", "1000", "-y"],
        ["-f", "-qq", "-ttt"],
        ["-f", "-Y", "-y", "-ttt"],
        ["-f", "-a", "1", "-y"],
        ["-f", "-ttt", "-y", "-C"],
        ["-ff", "-ttt", "-T"],
        ["-ff", "-tt", "-y"],
        ["-ff", "--absolute-timestamps=precision:ns", "--relative-timestamps=ns", "-y"],
        ["-ff"],
        ["-ff", "-r"],
    ],
    ids=" ".join,
)
def test_rows_do_not_depend_on_the_options(bench: Bench, options: list[str]) -> None:
    expected = bench.reference("family")
    events, quality = bench.trace(options, "family")
    assert rows_by_birth(events) == expected
    assert quality.has_tids
    joined = " ".join(options)
    has_common_clock = "-t" in joined or "stamps" in joined or options == ["-f", "-r"]
    assert quality.has_times == has_common_clock
    assert quality.has_durations == ("-T" in options)
    assert all((call.t_ns is not None) == has_common_clock for call in calls(events))
    ends = Counter((one.kind, one.detail) for one in processes(events) if one.kind in ("exit", "killed"))
    if "-qq" not in options:
        assert ends == {("exit", b"0"): 4, ("exit", b"3"): 1, ("killed", b"SIGKILL"): 1}


@pytest.mark.parametrize("options", [[], ["-y", "-T"], ["-tt"], ["-r", "-xx"]], ids=" ".join)
def test_one_process_without_pids(bench: Bench, options: list[str]) -> None:
    expected = bench.reference()
    events, quality = bench.trace(options)
    assert rows_by_birth(events) == expected
    assert not quality.has_tids
    assert {call.tid for call in calls(events)} == {0}


@pytest.mark.parametrize("options", [["-f"], ["-f", "-tt", "-y", "-T"], ["-f", "-r", "-xx"]], ids=" ".join)
def test_a_log_on_the_terminal(bench: Bench, options: list[str]) -> None:
    expected = bench.reference("family")
    done = bench.run(options, "family")
    (bench.place / "log").write_bytes(done.stderr)
    events, _ = bench.read()
    assert rows_by_birth(events) == expected


def test_a_log_that_begins_when_the_program_runs(bench: Bench) -> None:
    expected = bench.reference("family")
    (bench.place / "log").unlink()
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    with subprocess.Popen(
        [*bench.command, "family", "wait"],
        cwd=bench.work,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as target:
        assert target.stdin is not None
        assert target.stdout is not None
        target.stdout.readline()
        log = bench.place / "log"
        with subprocess.Popen(
            [STRACE or "", "-f", "-ttt", "-y", "-o", str(log), "-p", str(target.pid)],
            stderr=subprocess.PIPE,
        ) as tracer:
            assert tracer.stderr is not None
            attached = tracer.stderr.readline()
            if b"attached" not in attached:
                target.kill()
                pytest.skip(f"strace -p is not allowed here: {attached!r}")
            deadline = time.monotonic() + 20
            while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
                time.sleep(0.01)  # its read() is printed when it is attached
            target.stdin.write(b"\n")
            target.stdin.flush()
            target.wait(timeout=30)
            tracer.wait(timeout=30)
    events, quality = read_lines(read_logs([log]))
    assert quality.n_unparsed == 0, quality.unparsed_examples
    found = rows_by_birth(events)
    n_found = len(found[(0,)])
    here = os.fsencode(bench.work)
    n_hostile = sum(row[1].startswith(here + b"/") for row in expected[(0,)])
    assert n_found >= n_hostile > 200
    assert found[(0,)] == expected[(0,)][-n_found:]
    assert {place: rows for place, rows in found.items() if place != (0,)} == {
        place: rows for place, rows in expected.items() if place != (0,)
    }


def summary_of(log: bytes) -> tuple[Counter[str], Counter[str]]:
    """Calls and errors by system call as strace -C counts them: the independent oracle."""
    n_calls: Counter[str] = Counter()
    n_errors: Counter[str] = Counter()
    table = log[log.index(b"% time") :].decode()
    for match in re.finditer(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(\d+)? +([a-z0-9_]+)$", table, re.MULTILINE):
        if match.group(3) != "total":
            n_calls[match.group(3)] = int(match.group(1))
            n_errors[match.group(3)] = int(match.group(2) or 0)
    return n_calls, +n_errors


@pytest.mark.parametrize("options", [[*OWN, "-C"], ["-f", "-C", "-y"], ["-f", "-C"]], ids=["own", "-f -y", "-f"])
def test_counts_are_those_of_straces_own_summary(bench: Bench, options: list[str]) -> None:
    events, quality = bench.trace(options, "family", "exec")
    n_calls, n_errors = summary_of((bench.place / "log").read_bytes())
    returned = [call for call in calls(events) if call.error != "?"]
    found = Counter(call.syscall for call in returned) + Counter(quality.other_calls)
    failed = Counter(call.syscall for call in returned if call.error) + Counter(quality.other_errors)
    # exit never returns; a thread's execve under seccomp-bpf is counted by strace as the error that it is not
    n_false_errors = sum(b"(errno 18446744" in call.result for call in returned)
    assert n_false_errors == (1 if "--seccomp-bpf" in options else 0)
    if n_false_errors:
        n_errors["execve"] -= n_false_errors
    assert found == n_calls
    assert failed == +n_errors
    assert any(one.kind == "exec" and one.tid != one.child for one in processes(events))


@pytest.mark.alone  # both threads have to be in their calls after 0.3 s
def test_calls_that_are_blocked_at_exit_are_more_than_the_summary_has(bench: Bench) -> None:
    fifo = bench.work / "fifo"
    os.mkfifo(fifo)
    script = (
        "import os, threading, time\n"
        "for _ in range(2): threading.Thread(target=os.open, args=('fifo', os.O_RDONLY), daemon=True).start()\n"
        "time.sleep(0.3)\n"
        "os._exit(0)\n"
    )
    (bench.place / "blocked.py").write_text(script)
    old, bench.command = bench.command, [*bench.command[:-1], str(bench.place / "blocked.py")]
    try:
        events, quality = bench.trace([*OWN, "-C"])
    finally:
        bench.command = old
        fifo.unlink()
    assert quality.n_unfinished == 2
    n_calls, _ = summary_of((bench.place / "log").read_bytes())
    found = Counter(call.syscall for call in calls(events)) + Counter(quality.other_calls)
    assert found - n_calls == {"openat": 2}
    assert n_calls - found == {}
    assert [call.path for call in calls(events) if call.error == "?"] == [os.fsencode(fifo)] * 2
