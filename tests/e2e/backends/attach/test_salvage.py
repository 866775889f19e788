"""What an attached fsprobe recorded and could not write, or was killed before it wrote it, is salvaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe.capture import attach, salvage
from fsprobe.cli import group
from fsprobe.errors import EXIT_USAGE, FsprobeError
from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE

pytestmark = pytest.mark.alone

BUSY = "import os, time\nfor i in range(3000): os.path.exists('/nowhere/%d' % i); time.sleep(0.005)"


@pytest.fixture
def target(strace_program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that looks names up."""
    assert strace_program
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        yield process
        process.kill()


def test_an_output_that_cannot_be_written(target: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Not known beforehand: a pipe takes the name meanwhile."""
    (tmp_path / "scratch").mkdir()
    with pytest.raises(FsprobeError, match="it is a pipe and no file") as caught:
        attach.attach(
            target.pid,
            0.5,
            str(tmp_path / "x"),
            tmp_dir=str(tmp_path / "scratch"),
            on_start=lambda *_: os.mkfifo(tmp_path / "x"),
        )
    (left,) = (tmp_path / "scratch").iterdir()
    assert f"fsprobe salvage {left} " in caught.value.hint
    # as of a target in a mount namespace of its own
    table = Path(f"/proc/{target.pid}/mountinfo").read_bytes() + b"99999 1 0:99 / /elsewhere rw - lustre x rw\n"
    (left / "mounts").write_bytes(table)
    path, running = salvage.salvage(str(left), str(tmp_path / "y"))
    made = Recording(path)
    assert not running
    assert b"".join(made.section("mounts")) == table
    assert json.loads(b"".join(made.section("lookups"))) == {}
    assert made.manifest["attached"]["pid"] == target.pid
    assert made.manifest["wall_s"] >= 0.5
    assert not left.exists()


def test_a_killed_fsprobe(target: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    words = ["attach", str(target.pid), "--for", "20", "-q", "--tmp-dir", str(tmp_path / "scratch")]
    with subprocess.Popen([*FSPROBE, *words, "-o", str(tmp_path / "x")]) as fsprobe:
        deadline = time.monotonic() + 20
        while not (logs := list(tmp_path.glob("scratch/*/log"))) or logs[0].stat().st_size < 4000:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        fsprobe.send_signal(signal.SIGKILL)
    time.sleep(0.5)
    path, running = salvage.salvage(str(logs[0].parent), str(tmp_path / "y"))
    assert not running
    assert b"/nowhere/" in b"".join(Recording(path).section("log"))
    assert b"".join(Recording(path).section("mounts")) == Path(f"/proc/{target.pid}/mountinfo").read_bytes()
    assert target.poll() is None


def test_what_was_left_behind_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs whose fsprobe is gone, with a line to type; none of those that go on, none of what is no run."""
    words = ["python", "x.py", "a b", "\x1b[2J", "word " * 20]
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    for name, pid in (("fsprobe-dead one", gone.pid), ("fsprobe-alive", os.getpid())):
        (tmp_path / name).mkdir(mode=0o700)
        state = {"command": words, "host": "here", "fsprobe_pid": pid}
        (tmp_path / name / "state.json").write_text(json.dumps(state))
    (tmp_path / "fsprobe-empty").mkdir(mode=0o700)
    (tmp_path / "fsprobe-odd").mkdir(mode=0o700)
    (tmp_path / "fsprobe-odd" / "state.json").write_text("[]")
    monkeypatch.setattr(salvage.scratch_dir, "candidates", lambda environment: [str(tmp_path)])
    assert group.main(["salvage"]) == 0
    line, what = capsys.readouterr().out.splitlines()
    assert line == f"fsprobe salvage '{tmp_path}/fsprobe-dead one'"
    assert r"  python x.py 'a b' '\x1b[2J' 'word word" in what
    assert len(what) <= 80
    assert what.endswith(" ...")
    assert group.main(["salvage", "--force"]) == EXIT_USAGE
