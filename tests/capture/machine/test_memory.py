"""Limits of memory: which count, what they leave, and what is done about it. The files are as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.capture.backends import text_log
from fsprobe.capture.directories import scratch
from fsprobe.capture.machine import memory
from fsprobe.capture.machine.mounts import parse_mountinfo

MIB = 1 << 20
V1 = b"30 20 0:20 / /cg/memory rw - cgroup cgroup rw,memory\n31 20 0:21 / /cg/cpu rw - cgroup cgroup rw,cpu\n"
V2 = b"30 20 0:20 / /cg rw - cgroup2 cgroup2 rw\n"
PLACES = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n40 1 0:30 / /dev/shm rw - tmpfs tmpfs rw\n"


def cgroup(place: Path, version: int, limit: str, used: int, on_disk: int = 0) -> None:
    """One directory, with the kernel's names."""
    place.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    (place / names[0]).write_text(limit + "\n")
    (place / names[1]).write_text(f"{used}\n")
    prefix = "total_" if version == 1 else ""
    (place / "memory.stat").write_text(f"cache 7\n{prefix}inactive_anon 5\n{prefix}inactive_file {on_disk}\n")


@pytest.mark.parametrize(
    ("version", "mount", "own", "top"),
    [(1, V1, b"4:memory:/job/step\n3:cpu:/other\n", "cg/memory"), (2, V2, b"0::/job/step\n", "cg")],
)
def test_the_limits_above_count_too(tmp_path: Path, version: int, mount: bytes, own: bytes, top: str) -> None:
    none = str((1 << 63) - 4096) if version == 1 else "max"
    cgroup(tmp_path / top / "job", version, str(100 * MIB), 90 * MIB, 20 * MIB)
    cgroup(tmp_path / top / "job/step", version, none, 50 * MIB)
    found = memory.limits(parse_mountinfo(mount), own, str(tmp_path), 1 << 34)
    assert [one.free_bytes() for one in found] == [30 * MIB]
    # in a container the path is the host's, and what is mounted is the cgroup itself
    cgroup(tmp_path / top, version, str(64 * MIB), 10 * MIB)
    own = own.replace(b"/job/step", b"/of/the/host")
    found = memory.limits(parse_mountinfo(mount), own, str(tmp_path), 1 << 34)
    assert [one.free_bytes() for one in found] == [54 * MIB]


def test_no_limit_is_none(tmp_path: Path) -> None:
    assert memory.limits(parse_mountinfo(V2), b"0::/job\n", str(tmp_path), 1 << 34) == []
    cgroup(tmp_path / "cg/job", 2, str(1 << 35), 1)
    assert memory.limits(parse_mountinfo(V2), b"0::/job\n", str(tmp_path), 1 << 34) == []
    assert memory.limits(parse_mountinfo(V2), b"nonsense\n::\n0:\n", str(tmp_path), 1 << 34) == []


def test_a_log_in_memory_stops_before_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "cg/job"
    cgroup(place, 2, str(100 * MIB), 70 * MIB)
    limit = memory.limits(parse_mountinfo(V2), b"0::/job\n", str(tmp_path), 1 << 34)
    monkeypatch.setattr(memory, "limits", lambda *_: limit)
    in_memory = memory.Charge("/dev/shm", parse_mountinfo(PLACES))
    on_disk = memory.Charge("/tmp", parse_mountinfo(PLACES))
    assert (in_memory.is_low(), on_disk.is_low()) == (False, False)
    cgroup(place, 2, str(100 * MIB), 80 * MIB)
    assert (in_memory.is_low(), on_disk.is_low()) == (True, False)
    log = tmp_path / "log"
    for n_lines, why in ((10, ""), (500000, text_log.LOW_MEMORY)):
        log.write_bytes(b"5 1.0 (+0.0) call()\n" * n_lines)
        bound = text_log.Bound(str(log), str(tmp_path), 1 << 30, 0)
        bound._charge = in_memory
        bound.check(5)
        if why:
            assert (bound.why, bound.packer is not None) == ("", True), "first what there is is compressed"
            bound.check(5)
        assert bound.why == why


def test_disks_come_first_where_a_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = parse_mountinfo(PLACES)
    places = ["/dev/shm", "/dev/shm/tmp", "/tmp"]
    monkeypatch.setattr(memory, "limits", lambda *_: [])
    assert scratch.ordered(places, rows) == places
    monkeypatch.setattr(memory, "limits", lambda *_: [object()])
    assert scratch.ordered(places, rows) == ["/tmp", "/dev/shm", "/dev/shm/tmp"]


@pytest.mark.parametrize(("told_mib", "n"), [(1 << 40, 0), (100, 1)])
def test_the_first_version_tells_of_all_limits_at_once(tmp_path: Path, told_mib: int, n: int) -> None:
    """`hierarchical_memory_limit` is the least of those that count; where it is none, nothing above is asked."""
    for place, limit in (("job", 100), ("job/step", 1 << 40)):
        cgroup(tmp_path / "cg/memory" / place, 1, str(limit * MIB), MIB)
        stat = tmp_path / "cg/memory" / place / "memory.stat"
        stat.write_text(f"cache 7\nhierarchical_memory_limit {told_mib * MIB}\nhierarchical_memsw_limit 5\n")
    own = b"4:memory:/job/step\n0::/x\n"
    cgroup(tmp_path / "cg/x", 2, str(3 * MIB), 0)  # memory belongs to one hierarchy alone
    rows = parse_mountinfo(V1 + V2)
    assert [one.max_bytes for one in memory.limits(rows, own, str(tmp_path), 1 << 34)] == [100 * MIB] * n
