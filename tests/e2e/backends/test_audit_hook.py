"""The audit hook inside targets, on every interpreter here: exact names, lineage, ends of processes, and no trace in tracebacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, Notes
from fsprobe.model.events import Op, ParseQuality
from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE, INTERPRETERS, need

EVERY = pytest.mark.parametrize("interpreter", list(INTERPRETERS.values()), ids=list(INTERPRETERS))
WITH_EVENTS = [path for version, path in INTERPRETERS.items() if version not in ("3.6", "3.7")]


def run(path: Path, *command: str, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[bytes]:
    start = [*FSPROBE, "run", "--backend", "audit", "--record-only", "-q", "--force", "-o", str(path), *words, "--"]
    return subprocess.run([*start, *command], capture_output=True, timeout=60)


def rows_of(path: Path) -> list[Attributed]:
    recording = Recording(str(path))
    quality = ParseQuality()
    rows = list(
        pipeline.attributed(
            recording, pipeline.read_events(recording, quality, pipeline.read_hooks(recording)), Notes()
        )
    )
    assert quality.n_unparsed == 0, quality.unparsed_examples
    return [row for row in rows if not row.own]


def paths_of(path: Path, *ops: Op) -> list[bytes]:
    return [row.call.path for row in rows_of(path) if row.call.op in (ops or tuple(Op))]


FAILURES = """
import os, sys, traceback, warnings
class Odd:
    def __fspath__(self):
        raise KeyError("odd")
def attempt(function, *args):
    try:
        function(*args)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
attempt(os.stat, "/no/such")
attempt(os.listdir, "/no/such")
attempt(os.open, "/no/such", os.O_RDONLY)
attempt(os.stat, Odd())
attempt(os.stat, 1.5)
attempt(os.lstat)
attempt(__import__, "broken")
attempt(__import__, "no_such_module")
try:
    os.readlink("/no/such/link")
except OSError as error:
    kept = error
print(kept.__context__, kept.__cause__, kept.filename, len(traceback.extract_tb(kept.__traceback__)))
os.stat("/no/such/either")
"""


@EVERY
def test_tracebacks_show_no_frame_of_ours(interpreter: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import os\nos.stat('/no/such/at/import')\n")
    (tmp_path / "main.py").write_text(FAILURES)
    command = [interpreter, str(tmp_path / "main.py")]
    subprocess.run(command, capture_output=True)  # the byte code of both is there
    plain = subprocess.run(command, capture_output=True)
    watched = run(tmp_path / "x.fsprobe", *command)
    assert (watched.returncode, watched.stdout, watched.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert b"/no/such/either" in plain.stderr
    missing = {row.call.path for row in rows_of(tmp_path / "x.fsprobe") if row.call.error == "ENOENT"}
    assert {b"/no/such", b"/no/such/link", b"/no/such/either", b"/no/such/at/import"} <= missing


@EVERY
def test_the_last_call_is_recorded_however_the_process_ends(interpreter: str, tmp_path: Path) -> None:
    ends = {
        "return": "",
        "atexit": "import atexit; atexit.register(os.stat, '/')",
        "_exit": "os._exit(0)",
        "raise": "raise SystemExit(0)",
    }
    if interpreter in WITH_EVENTS:
        ends["exec"] = "os.execv('/bin/true', ['true'])"
        ends["kill"] = "os.kill(os.getpid(), 9)"
    for name, end in ends.items():
        run(tmp_path / "x.fsprobe", interpreter, "-c", f"import os\nos.path.exists('/last-{name}')\n{end}")
        assert f"/last-{name}".encode() in paths_of(tmp_path / "x.fsprobe"), name


@EVERY
def test_hostile_names_are_exact(interpreter: str, tmp_path: Path) -> None:
    names = [
        b'a"b',
        b"a\\b",
        b"a\nb",
        b"a\x01" + b"2",
        b"\xff\xfe",
        "\u00e9\u2028\U0001f600".encode(),
        b"a b",
        b" = -1 ENOENT",
        b"<x>",
        b"a, b)",
    ]
    place = os.fsencode(str(tmp_path)) + b"/names"
    os.mkdir(place)
    for name in names:
        with open(place + b"/" + name, "wb"):
            pass
    code = (
        "import os, sys\n"
        "place = os.fsencode(sys.argv[1])\n"
        "for name in os.listdir(place): os.stat(place + b'/' + name); os.lstat(os.fsdecode(place + b'/' + name))\n"
    )
    assert run(tmp_path / "x.fsprobe", interpreter, "-c", code, str(tmp_path / "names")).returncode == 0
    seen = [path for path in paths_of(tmp_path / "x.fsprobe", Op.STAT) if path.startswith(place + b"/")]
    assert sorted(seen) == sorted([place + b"/" + name for name in names] * 2)


@EVERY
def test_relative_names_and_descriptors_of_directories(interpreter: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_text("x")
    code = (
        "import os, sys\n"
        "os.chdir(sys.argv[1]); os.stat('sub/f'); fd = os.open('sub', os.O_RDONLY)\n"
        "os.stat('f', dir_fd=fd); os.close(os.open('f', os.O_RDONLY, dir_fd=fd)); os.stat(fd); os.listdir(fd)\n"
    )
    assert run(tmp_path / "x.fsprobe", interpreter, "-c", code, str(tmp_path)).returncode == 0
    file = os.fsencode(str(tmp_path / "sub" / "f"))
    seen = [
        (row.call.op, row.call.path) for row in rows_of(tmp_path / "x.fsprobe") if row.call.path.startswith(file[:-2])
    ]
    assert seen.count((Op.STAT, file)) == 2
    assert seen.count((Op.OPEN, file)) == 1
    assert seen.count((Op.STAT, file[:-2])) == 0, "an fstat is no look-up"
    assert seen.count((Op.LIST, file[:-2])) == 2


@pytest.mark.parametrize("interpreter", WITH_EVENTS[-1:])
def test_an_opener_is_counted_once(interpreter: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    code = (
        "import os, sys\n"
        "def opener(name, flags): return os.open(name, flags)\n"
        "for _ in range(3): open(sys.argv[1], opener=opener).close()\n"
        "for _ in range(2): open(sys.argv[1]).close()\n"
    )
    assert run(tmp_path / "x.fsprobe", interpreter, "-c", code, str(tmp_path / "f")).returncode == 0
    assert paths_of(tmp_path / "x.fsprobe", Op.OPEN).count(os.fsencode(str(tmp_path / "f"))) == 5


@EVERY
def test_forks_and_threads_keep_their_calls_apart(interpreter: str, tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text(
        "import os\nos.path.exists('/in-import')\npid = os.fork()\nos.path.exists('/%s' % bool(pid))\nif not pid: os._exit(0)\nos.waitpid(pid, 0)\n"
    )
    code = (
        "import os, sys, threading\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import loader\n"
        "threads = [threading.Thread(target=os.stat, args=('/',)) for _ in range(5)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
    )
    assert run(tmp_path / "x.fsprobe", interpreter, "-c", code, str(tmp_path)).returncode == 0
    rows = rows_of(tmp_path / "x.fsprobe")
    by_path = {row.call.path: row for row in rows}
    assert [row.call.path for row in rows].count(b"/in-import") == 1
    assert by_path[b"/in-import"].module == by_path[b"/True"].module == by_path[b"/False"].module == "loader"
    assert by_path[b"/False"].process.parent == by_path[b"/True"].process.pid
    at_root = [row for row in rows if row.call.path == b"/" and row.call.op is Op.STAT and row.module == "(program)"]
    assert len(at_root) >= 5
    assert {row.process.pid for row in at_root} == {by_path[b"/True"].process.pid}


@pytest.mark.parametrize("interpreter", WITH_EVENTS[-1:])
def test_a_target_that_closes_or_lists_descriptors(interpreter: str, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "os.closerange(3, 256); fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)\n"
        "for i in range(5000): os.stat('/')\n"
        "import json, email; os.write(fd, b'mine'); print(sorted(os.listdir('/proc/self/fd')))\n"
    )
    command = [interpreter, "-c", code, str(tmp_path / "f")]
    plain = subprocess.run(command, capture_output=True)
    (tmp_path / "f").unlink()
    watched = run(tmp_path / "x.fsprobe", *command)
    assert watched.stdout == plain.stdout
    assert (tmp_path / "f").read_bytes() == b"mine"
    assert paths_of(tmp_path / "x.fsprobe", Op.STAT).count(b"/") >= 5000


def test_a_name_that_no_call_can_be_given_loses_nothing(tmp_path: Path) -> None:
    """An event tells of it before the interpreter refuses it; the lines could not be written, and the hook had a traceback."""
    code = "for name in ('\\ud800', 'a\\0b', '/after'):\n try: open(name)\n except Exception as error: print(type(error).__name__)"
    command = [sys.executable, "-c", code]
    plain = subprocess.run(command, capture_output=True)
    done = run(tmp_path / "x.fsprobe", *command)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert b"/after" in paths_of(tmp_path / "x.fsprobe", Op.OPEN)


def test_a_bounded_log_says_so_and_the_target_goes_on(tmp_path: Path) -> None:
    code = "import os, time\nfor _ in range(60): [os.stat('/') for _ in range(2000)]; time.sleep(0.02)\nprint('end')"
    done = run(tmp_path / "x.fsprobe", sys.executable, "-c", code, words=("--max-log", "400K"))
    assert (done.returncode, done.stdout) == (0, b"end\n")
    manifest = Recording(str(tmp_path / "x.fsprobe")).manifest
    assert "--max-log" in manifest["log_truncated"]
    assert 0 < len(rows_of(tmp_path / "x.fsprobe")) < 120000


def test_a_killed_fsprobe_is_salvaged(tmp_path: Path) -> None:
    code = "import os, time\nos.path.exists('/before')\nimport json\nprint('on', flush=True)\ntime.sleep(1.5)\nos.path.exists('/after')"
    command = [
        *FSPROBE,
        "run",
        "--backend",
        "audit",
        "-q",
        "--tmp-dir",
        str(tmp_path),
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        "--",
    ]
    process = subprocess.Popen([*command, sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    (scratch,) = tmp_path.glob("fsprobe-*")
    assert process.stdout.read() == b"", "the target goes on to its end, which closes its output"
    time.sleep(0.1)
    subprocess.run(
        [*FSPROBE, "salvage", str(scratch), "-o", str(tmp_path / "y.fsprobe")], check=True, capture_output=True
    )
    assert {b"/before", b"/after"} <= set(paths_of(tmp_path / "y.fsprobe"))
    assert not scratch.exists()


def test_a_signal_reaches_the_command(tmp_path: Path) -> None:
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\nprint('on', flush=True)\ntime.sleep(20)"
    command = [
        *FSPROBE,
        "run",
        "--backend",
        "audit",
        "-q",
        "--record-only",
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        "--",
    ]
    process = subprocess.Popen([*command, sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.wait(20) == 9
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["exit_code"] == 9


def test_children_that_outlive_the_command_leave_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import os, time\\nfor _ in range(60): os.stat(\"/\"); time.sleep(0.05)'],"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)\n"
        "time.sleep(0.5)\n"
    )
    words = ("--tmp-dir", str(tmp_path), "--wait-descendants", "0.2")
    done = run(tmp_path / "x.fsprobe", sys.executable, "-c", code, words=words)
    assert done.returncode == 0
    manifest = Recording(str(tmp_path / "x.fsprobe")).manifest
    assert manifest["descendants_left"] is True
    assert manifest["user_s"] > 0
    time.sleep(1.0)
    assert list(tmp_path.glob("fsprobe-*")) == []


@pytest.mark.needs_root
def test_a_full_scratch_costs_the_tail_alone(tmp_path: Path) -> None:
    need(os.geteuid() == 0, "a small filesystem needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=66M", "small", str(place)], check=True)
    try:
        code = (
            "import os, sys, time\n"
            "for _ in range(20): [os.stat('/') for _ in range(2000)]; time.sleep(0.01)\n"
            "f = open(sys.argv[1] + '/fill', 'wb')\n"
            "try:\n"
            "    while True: f.write(b'x' * 65536); f.flush()\n"
            "except OSError: print('full')\n"
            "[os.stat('/') for _ in range(5000)]\n"
        )
        done = run(tmp_path / "x.fsprobe", sys.executable, "-c", code, str(place), words=("--tmp-dir", str(place)))
        assert (done.returncode, done.stdout) == (0, b"full\n"), done.stderr
        assert Recording(str(tmp_path / "x.fsprobe")).manifest["log_truncated"]
        assert list(place.glob("fsprobe-*")) == []
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
