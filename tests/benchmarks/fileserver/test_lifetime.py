"""However it ends, nothing stays mounted and nothing stays running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fileserver import serve
from benchmarks.fileserver.kernel.mounting import device_at
from fsprobe.errors import BadInput
from tests.benchmarks.conftest import is_mounted

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys, time
from benchmarks.fileserver import serve
with serve(sys.argv[1], sys.argv[2], meta_ms=float(sys.argv[3]), read_ms=0) as server:
    print(server._keeper.pid, flush=True)
    time.sleep(60)
"""


def wait_until(condition: Callable[[], bool], limit_s: float = 15) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def children_of(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends between open and read
        return False


def is_dead(mnt: Path) -> bool:
    """Tell whether the mount has lost its server."""
    try:
        os.statvfs(mnt)
    except OSError:
        return True
    return False


def start_parent(src: Path, mnt: Path, meta_ms: float = 0) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a program that serves `src`; returns it, and the processes that the server consists of."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(src), str(mnt), str(meta_ms)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    keeper = int(parent.stdout.readline())
    servers = children_of(keeper)
    assert len(servers) == 1
    return parent, [keeper, *servers]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_mount_goes_when_its_parent_is_ended(src: Path, mnt: Path, how: signal.Signals) -> None:
    (src / "file").write_bytes(b"x")
    parent, processes = start_parent(src, mnt)
    assert (mnt / "file").read_bytes() == b"x"
    parent.send_signal(how)
    assert parent.wait(15) != 0
    assert wait_until(lambda: not is_mounted(mnt))
    assert wait_until(lambda: not any(is_running(process) for process in processes))
    assert os.listdir(mnt) == []


def test_the_mount_goes_also_with_a_request_in_flight(src: Path, mnt: Path) -> None:
    (src / "file").write_bytes(b"x")
    parent, processes = start_parent(src, mnt, meta_ms=1000)
    client = subprocess.Popen(["cat", mnt / "file"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not is_mounted(mnt))
    assert client.wait(15) is not None
    assert wait_until(lambda: not any(is_running(process) for process in processes))


def test_an_exception_in_the_block_unmounts(src: Path, mnt: Path) -> None:
    was_mounted = None
    try:
        with serve(src, mnt):
            was_mounted = is_mounted(mnt)
            raise RuntimeError("on purpose")
    except RuntimeError:
        pass
    assert was_mounted
    assert not is_mounted(mnt)


def test_a_tree_in_use_is_unmounted_lazily(src: Path, mnt: Path) -> None:
    (src / "dir").mkdir()
    with serve(src, mnt, meta_ms=0):
        client = subprocess.Popen(["sleep", "60"], cwd=mnt / "dir")
    try:
        assert not is_mounted(mnt)
        assert client.poll() is None
    finally:
        client.kill()
        client.wait()


@pytest.mark.parametrize("victim", ["keeper", "server"])
def test_a_killed_part_takes_the_mount_with_it(src: Path, mnt: Path, victim: str) -> None:
    (src / "file").write_bytes(b"x")
    with serve(src, mnt, meta_ms=0) as server:
        assert server._keeper is not None
        keeper = server._keeper.pid
        (served_by,) = children_of(keeper)
        os.kill(keeper if victim == "keeper" else served_by, signal.SIGKILL)
        assert wait_until(lambda: not is_running(served_by))
        if victim == "server":
            assert wait_until(lambda: not is_mounted(mnt))
        else:
            assert wait_until(lambda: is_dead(mnt)), "nobody is left to unmount it before the block ends"
    assert not is_mounted(mnt)


def test_what_was_mounted_there_before_stays(src: Path, mnt: Path, tmp_path: Path) -> None:
    (src / "file").write_bytes(b"x")
    below = tmp_path / "below"
    below.mkdir()
    (below / "other").touch()
    with serve(below, mnt, meta_ms=0):
        lower = device_at(os.fsencode(mnt))
        with serve(src, mnt, meta_ms=0) as server:
            assert os.listdir(mnt) == ["file"]
            subprocess.run(["umount", mnt], check=True)  # by somebody else: ours is gone before we end
            assert server.counters().lookup == 0
        assert device_at(os.fsencode(mnt)) == lower
        assert os.listdir(mnt) == ["other"]


def test_directories_that_can_not_be_served(src: Path, mnt: Path) -> None:
    with pytest.raises(BadInput, match="is not a directory"), serve(src / "missing", mnt):
        pass
    with pytest.raises(BadInput, match="is not a directory"), serve(src, mnt / "missing"):
        pass
    (src / "inside").mkdir()
    with pytest.raises(BadInput, match="lies in the tree"), serve(src, src / "inside"):
        pass
