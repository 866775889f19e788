"""Latency, bandwidth and cap: judged by the server's own account, and by times only as lower bounds."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fileserver import serve, share_cap
from benchmarks.fileserver.pacing import Line, open_queue, take_turn, transfer

REPOSITORY = Path(__file__).resolve().parents[3]


def timed(action: Callable[[], object]) -> float:
    start_s = time.monotonic()
    action()
    return time.monotonic() - start_s


def test_metadata_requests_pay_their_latency(src: Path, mnt: Path) -> None:
    for number in range(30):
        (src / str(number)).touch()
    with serve(src, mnt, meta_ms=5, read_ms=0) as server:
        elapsed_s = timed(lambda: [(mnt / str(number)).stat() for number in range(30)])
        now = server.counters()
    assert now.metadata == now.lookup == 30
    assert now.metadata_wait_ns == 30 * 5_000_000
    assert now.queue_wait_ns == now.data_wait_ns == 0
    assert elapsed_s >= 30 * 0.005


def test_reads_pay_theirs(src: Path, mnt: Path) -> None:
    (src / "file").write_bytes(b"x" * 1000)
    with serve(src, mnt, meta_ms=0, read_ms=50) as server:
        elapsed_s = timed((mnt / "file").read_bytes)
        now = server.counters()
    assert (now.read, now.read_bytes) == (1, 1000)
    assert now.data_wait_ns == 50_000_000
    assert now.metadata_wait_ns == 0
    assert elapsed_s >= 0.05


def test_ioctl_release_and_forget_are_counted_without_latency(src: Path, mnt: Path) -> None:
    (src / "file").write_bytes(b"x")
    with serve(src, mnt, meta_ms=20, read_ms=0) as server:
        descriptor = os.open(mnt / "file", os.O_RDONLY)
        before = server.counters()
        for _ in range(5):
            with pytest.raises(OSError, match="Inappropriate ioctl"):
                fcntl.ioctl(descriptor, termios.TCGETS, bytes(64))
        assert not os.isatty(descriptor)
        os.close(descriptor)
        since = server.counters() - before
        assert since.ioctl == 6
        assert since.metadata == since.metadata_wait_ns == since.data_wait_ns == 0


def test_latency_is_bounded(src: Path, mnt: Path) -> None:
    with pytest.raises(ValueError, match="meta_ms"), serve(src, mnt, meta_ms=60_000):
        pass
    with pytest.raises(ValueError, match="read_ms"), serve(src, mnt, read_ms=-1):
        pass
    with pytest.raises(ValueError, match="cap below 1"), share_cap(0.1):
        pass


def test_requests_in_flight_wait_side_by_side(src: Path, mnt: Path) -> None:
    """Look-ups in one directory too: that is PARALLEL_DIROPS."""
    for number in range(8):
        (src / str(number)).touch()
    with serve(src, mnt, meta_ms=500, read_ms=0) as server:
        threads = [threading.Thread(target=(mnt / str(number)).stat) for number in range(8)]

        def stat_all() -> None:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        elapsed_s = timed(stat_all)
        assert server.counters().lookup == 8
    assert 0.5 <= elapsed_s < 8 * 0.5


@pytest.mark.parametrize("n_mounts", [1, 2])
def test_a_cap_holds_over_all_mounts(src: Path, tmp_path: Path, fuse: None, n_mounts: int) -> None:
    n_files, ops_per_s = 60, 200
    for number in range(n_files):
        (src / str(number)).touch()
    mounts = [tmp_path / f"mnt{number}" for number in range(2)]
    for mount in mounts:
        mount.mkdir()
    with (
        share_cap(ops_per_s) as cap,
        serve(src, mounts[0], meta_ms=0, read_ms=0, cap=cap) as first,
        serve(src, mounts[1], meta_ms=0, read_ms=0, cap=cap) as second,
    ):
        n_before = cap.n_turns

        def stat_all(mount: Path) -> None:
            for number in range(n_files):
                (mount / str(number)).stat()

        threads = [threading.Thread(target=stat_all, args=(mount,)) for mount in mounts[:n_mounts]]
        start_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed_s = time.monotonic() - start_s
        n_turns = cap.n_turns - n_before
        counted = [server.counters() for server in (first, second)]
    assert [now.metadata for now in counted] == [n_files if number < n_mounts else 0 for number in range(2)]
    assert n_turns == n_mounts * n_files
    assert elapsed_s >= (n_turns - 1) / ops_per_s
    assert elapsed_s < 10 * n_turns / ops_per_s
    assert all(now.queue_wait_ns > 0 for now in counted[:n_mounts])


def test_turns_are_one_interval_apart_for_everyone() -> None:
    with share_cap(10) as cap:
        one, other = open_queue(cap.descriptor, 10), open_queue(cap.descriptor, 10)
        turns = [take_turn(queue, 100.0) for queue in (one, other, other, one)]
        assert turns == pytest.approx([100.0, 100.1, 100.2, 100.3])
        assert take_turn(one, 200.0) == 200.0, "nobody saves up turns"
        assert cap.n_turns == 5


def test_no_turn_is_given_twice_to_threads() -> None:
    with share_cap(1000) as cap:
        queue = open_queue(cap.descriptor, 1000)
        turns: list[float] = []
        threads = [
            threading.Thread(target=lambda: turns.extend([take_turn(queue, 1.0) for _ in range(500)])) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(turns) == pytest.approx([1 + n / 1000 for n in range(2000)])


def test_no_turn_is_given_twice_to_processes() -> None:
    program = (
        "import sys\n"
        "from benchmarks.fileserver.pacing import open_queue, take_turn\n"
        "queue = open_queue(int(sys.argv[1]), 1000)\n"
        "for _ in range(20_000): take_turn(queue, 1.0)\n"
    )
    with share_cap(1000) as cap:
        command = [sys.executable, "-c", program, str(cap.descriptor)]
        running = [subprocess.Popen(command, cwd=REPOSITORY, pass_fds=[cap.descriptor]) for _ in range(3)]
        assert [process.wait() for process in running] == [0, 0, 0]
        assert cap.n_turns == 60_000
        assert take_turn(open_queue(cap.descriptor, 1000), 1.0) == pytest.approx(61.0)


def test_a_line_carries_one_transfer_after_the_other() -> None:
    line = Line(bytes_per_s=100.0)
    assert transfer(line, 10.0, 50) == 10.5
    assert transfer(line, 10.0, 100) == 11.5
    assert transfer(line, 20.0, 10) == 20.1


def test_bandwidth_is_owed_on_top_of_latency(src: Path, mnt: Path) -> None:
    (src / "file").write_bytes(b"x" * 100_000)
    with serve(src, mnt, meta_ms=0, read_ms=1, mb_per_s=1) as server:
        assert len((mnt / "file").read_bytes()) == 100_000
        now = server.counters()
    assert now.read_bytes == 100_000
    assert now.data_wait_ns >= 100_000_000 + now.read * 1_000_000
