"""The log's place is missing, full or bounded: the command goes on, and the recording says what it lacks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE, Fsprobe, run_plain
from tests.e2e.transparency.faults.command import assert_one_clear_line, n_missing, resize, wait_until_empty, work


@pytest.mark.parametrize("kind", ["missing", "file", "read-only", "too small", "no inodes"])
def test_scratch_that_will_not_do(run_fsprobe: Fsprobe, tmp_path: Path, small_disk: Path, kind: str) -> None:
    place = tmp_path / "missing" if kind == "missing" else small_disk
    if kind == "file":
        place = tmp_path / "file"
        place.write_text("")
    elif kind == "read-only":
        resize(small_disk, "ro")
    elif kind == "no inodes":
        resize(small_disk, "size=200m,nr_inodes=3")
    done = run_fsprobe(work(1), options=("-q", f"--tmp-dir={place}"))
    assert_one_clear_line(done, status=125, says="no place for the log")
    assert done.out == b""
    assert not place.is_dir() or os.listdir(place) == []


def test_log_reaches_its_bound(run_fsprobe: Fsprobe) -> None:
    done = run_fsprobe(work(40000, 7), options=("--max-log=200K",))
    assert (done.status, done.out) == (7, b"done 3\n")
    assert len(done.own_lines) == 2, done.own_lines
    assert "--max-log" in done.own_lines[0]
    recording = Recording(str(done.recording))
    log = b"".join(recording.section("log"))
    assert b"\0" not in log
    assert log.endswith(b"\n")
    assert len(log) > 200_000
    assert 1000 < n_missing(done.recording) < 40000
    assert recording.manifest["exit_code"] == 7
    assert run_fsprobe.left() == []
    report = run_plain([*FSPROBE, "report", str(done.recording)])
    assert report.status == 0, report.err


def test_status_of_the_command_is_known_though_its_log_was_cut(run_fsprobe: Fsprobe) -> None:
    """Its last lines are past the bound, and a descendant keeps the tracer alive: only the cut-off part has the exit line."""
    words = ["/bin/sh", "-c", 'sleep 3 >/dev/null 2>&1 & exec "$@"', "sh", *work(20000, 9)]
    done = run_fsprobe(words, options=("-q", "--max-log=50K", "--wait-descendants=0.3"))
    assert done.status == 9
    assert Recording(str(done.recording)).manifest["exit_code"] == 9
    wait_until_empty(run_fsprobe)


def test_scratch_runs_full_while_the_command_runs(run_fsprobe: Fsprobe, tmp_path: Path, small_disk: Path) -> None:
    """Somebody else fills the disk: what was logged before stays, the command and its stderr are left in peace."""
    resize(small_disk, "size=80m")
    program = (
        "import os, sys, time\n"
        "for k in range(5000):\n    os.path.exists('/nowhere/%d' % k)\n"
        f"f = open({str(small_disk / 'filler')!r}, 'wb')\n"
        "for k in range(12):\n    f.write(bytes(5 << 20)); f.flush(); time.sleep(0.05)\n"
        "for k in range(20000):\n    os.path.exists('/nowhere/%d' % k)\n"
        "print('done')\n"
    )
    done = run_fsprobe([sys.executable, "-c", program], options=("-q", f"--tmp-dir={small_disk}"))
    assert (done.status, done.out, done.err) == (0, b"done\n", b"")
    assert 5000 <= n_missing(done.recording) < 25000
    assert "nearly full" in Recording(str(done.recording)).manifest["log_truncated"]
    assert os.listdir(small_disk) == ["filler"]


@pytest.mark.parametrize("backend", ["strace", "ptrace"])
def test_scratch_is_filled_to_the_last_byte_at_once(run_fsprobe: Fsprobe, small_disk: Path, backend: str) -> None:
    """Faster than anybody can look: the command's stderr is its own, it goes on, the recording says it is not whole."""
    resize(small_disk, "size=70m")
    program = (
        "import os\n"
        "for k in range(3000):\n    os.path.exists('/nowhere/%d' % k)\n"
        f"f = os.open({str(small_disk / 'filler')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "try:\n    while True:\n        os.write(f, bytes(1 << 20))\nexcept OSError:\n    pass\n"
        "for k in range(3000):\n    os.path.exists('/nowhere/%d' % k)\n"
        "print('done')\n"
    )
    done = run_fsprobe(
        [sys.executable, "-c", program], options=("-q", f"--backend={backend}", f"--tmp-dir={small_disk}")
    )
    assert (done.status, done.out, done.err) == (0, b"done\n", b"")
    # what the tracer had in its buffer when the last byte went finds no room
    assert n_missing(done.recording) >= 3000 - 600
    assert Recording(str(done.recording)).manifest["log_truncated"]
    assert os.listdir(small_disk) == ["filler"]
