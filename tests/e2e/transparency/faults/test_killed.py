"""fsprobe or its command is killed, or a descendant goes on: what was recorded can be had."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE, LIMIT_S, Fsprobe, clean_environment, run_plain
from tests.e2e.transparency.faults.command import assert_one_clear_line, assert_salvaged, n_missing, wait_until_empty

PATIENT = """
import os, sys, time
end = time.monotonic() + 1.2
n = 0
while time.monotonic() < end:
    os.path.exists('/nowhere/%d' % n)
    n += 1
    time.sleep(0.002)
open(sys.argv[1], 'w').write(str(n))
print('done')
"""


def start_and_kill(fsprobe: Fsprobe, command: Sequence[str], delay_s: float) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        fsprobe.command(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()
    )
    time.sleep(delay_s)
    child.kill()
    return child


@pytest.mark.parametrize("seed", range(12))
def test_fsprobe_is_killed(run_fsprobe: Fsprobe, tmp_path: Path, seed: int) -> None:
    """At a random moment: the command runs to its end, and every call of it can be had from what was left."""
    delay_s = random.Random(seed).uniform(0.05, 1.2)
    count = tmp_path / "count"
    child = start_and_kill(run_fsprobe, [sys.executable, "-I", "-c", PATIENT, str(count)], delay_s)
    out, err = child.communicate(timeout=LIMIT_S)  # ends when the command and its tracer have closed their ends
    assert err == b""
    if not count.exists():
        # killed before there was a command: nothing ran, nothing was recorded
        assert out == b""
        for left in run_fsprobe.left():
            done = run_plain([*FSPROBE, "salvage", str(run_fsprobe.scratch / left)])
            assert_one_clear_line(done, status=3, says="")
        return
    assert out == b"done\n"
    if not run_fsprobe.left():
        assert n_missing(tmp_path / "x.fsprobe") == int(count.read_text())
        return
    recording = assert_salvaged(run_fsprobe, int(count.read_text()))
    assert recording.manifest["exit_code"] == 0
    assert recording.manifest["salvaged"]
    assert not list(tmp_path.glob("*.part"))


def test_salvage_while_the_command_still_runs(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    count, go = tmp_path / "count", tmp_path / "go"
    program = PATIENT.replace("monotonic() + 1.2", "monotonic() + 60").replace(
        "n += 1", "n += 1\n    if os.path.exists(sys.argv[2]): break"
    )
    command = [sys.executable, "-I", "-c", program, str(count), str(go)]
    child = subprocess.Popen(
        run_fsprobe.command(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()
    )
    wait_until(lambda: any(b"/nowhere/9" in log.read_bytes() for log in run_fsprobe.scratch.glob("*/log")))
    child.kill()
    (left,) = run_fsprobe.left()
    early = tmp_path / "early.fsprobe"
    done = run_plain([*FSPROBE, "salvage", str(run_fsprobe.scratch / left), "-o", str(early)])
    assert done.status == 0, done.err
    assert "still running" in done.own_lines[1]
    assert n_missing(early) > 0
    assert run_fsprobe.left() == [left]
    n_more = n_missing(early) + 1
    wait_until(lambda: b'/nowhere/%d"' % n_more in (run_fsprobe.scratch / left / "log").read_bytes())
    go.touch()
    assert child.communicate(timeout=LIMIT_S) == (b"done\n", b"")
    assert n_missing(early) < int(count.read_text())
    wait_for_tracer(run_fsprobe.scratch / left)
    assert_salvaged(run_fsprobe, int(count.read_text()))


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for_tracer(scratch: Path) -> None:
    wait_until(lambda: not any(str(scratch).encode() in cmdline(pid) for pid in os.listdir("/proc") if pid.isdigit()))


def cmdline(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "file", "not ours", "no log", "bad state", "state of another kind"]
)
def test_salvage_of_what_is_no_scratch(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "fsprobe-x"
    if kind == "file":
        place.write_text("")
    elif kind != "missing":
        place.mkdir()
        (place / "keep").write_text("mine")
        state = {"no log": '{"command": ["x"], "host": "h"}', "bad state": "{", "state of another kind": "[1]"}.get(
            kind
        )
        if kind == "not ours":
            (place / "log").write_text("x")
        if state is not None:
            (place / "state.json").write_text(state)
    done = run_plain([*FSPROBE, "salvage", str(place)], cwd=tmp_path)
    assert_one_clear_line(done, status=3, says=str(place))
    assert not place.is_dir() or (place / "keep").exists()


def test_command_is_killed_in_mid_import(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text("import json, decimal, killer\n")
    (tmp_path / "killer.py").write_text("import os, time\ntime.sleep(0.1)\nimport csv\nos.kill(os.getpid(), 9)\n")
    done = run_fsprobe([sys.executable, "-c", "import outer"], cwd=tmp_path)
    assert (done.status, done.out, done.err) == (-signal.SIGKILL, b"", b"")
    recording = Recording(str(done.recording))
    recording.verify()
    assert recording.manifest["signal"] == signal.SIGKILL
    assert b"killer.py" in b"".join(recording.section("log"))
    assert b">decimal\n" in b"".join(recording.section("marks"))
    assert run_fsprobe.left() == []


@pytest.mark.parametrize("leave", ["os._exit(3)", "os.execv('/bin/sh', ['sh', '-c', 'exit 3'])"])
def test_marks_of_a_process_that_leaves_in_mid_import(run_fsprobe: Fsprobe, tmp_path: Path, leave: str) -> None:
    (tmp_path / "leaver.py").write_text(f"import os, json, time\ntime.sleep(0.1)\nimport decimal\n{leave}\n")
    done = run_fsprobe([sys.executable, "-c", "import leaver"], cwd=tmp_path)
    assert done.status == 3
    assert b">leaver\n" in b"".join(Recording(str(done.recording)).section("marks"))


@pytest.mark.parametrize("new_session", [True, False])
def test_descendant_that_goes_on(run_fsprobe: Fsprobe, tmp_path: Path, new_session: bool) -> None:
    """The report does not wait for it longer than it was told, and it goes on unharmed."""
    later, go = tmp_path / "later", tmp_path / "go"
    grandchild = (
        f"import time, os\nfor _ in range(3000): os.path.exists({str(go)!r}) or time.sleep(0.02)\n"
        f"import json; open({str(later)!r}, 'w').write(json.dumps(os.path.exists('/')))"
    )
    program = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}], start_new_session={new_session}, "
        "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "for k in range(30):\n    os.path.exists('/nowhere/%d' % k)\n"
        "sys.exit(6)\n"
    )
    # stderr goes to a file: the tracer holds it for as long as it has somebody to trace
    with open(tmp_path / "err", "wb") as err:
        words = run_fsprobe.command([sys.executable, "-c", program], options=("--wait-descendants=0.3",))
        status = subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=err, env=clean_environment(), check=False
        ).returncode
    assert status == 6
    assert not later.exists()
    text = (tmp_path / "err").read_text()
    assert "--wait-descendants" in text
    assert n_missing(tmp_path / "x.fsprobe") == 30
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["descendants_left"]
    go.touch()
    wait_until(lambda: later.exists() and bool(later.read_text()))
    assert later.read_text() == "true"
    wait_until_empty(run_fsprobe)


def test_descendant_that_ends_in_time_is_waited_for(run_fsprobe: Fsprobe) -> None:
    done = run_fsprobe(["/bin/sh", "-c", "(sleep 0.5; test -e /nowhere/late) & exit 2"], options=())
    assert done.status == 2
    assert n_missing(done.recording) == 1
    assert not Recording(str(done.recording)).manifest["descendants_left"]
    assert len(done.own_lines) == 1


def test_a_signal_ends_the_wait_for_descendants(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"sleep 4 >/dev/null 2>&1 & echo x > {ready}; exit 2"
    words = run_fsprobe.command(["/bin/sh", "-c", script], options=("-q", "--wait-descendants=60"))
    child = subprocess.Popen(words, env=clean_environment(), stderr=subprocess.DEVNULL)
    wait_until(ready.exists)
    time.sleep(0.5)
    child.terminate()
    assert child.wait(timeout=LIMIT_S) == 2
    assert (tmp_path / "x.fsprobe").exists()
    wait_until_empty(run_fsprobe)
