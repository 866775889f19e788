"""The kernel's counters of NFS and Lustre clients, from samples in the documented formats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe.capture.machine import counters, mounts

DATA = Path(__file__).resolve().parents[2] / "data" / "counters"
NFS = (DATA / "mountstats-1.1").read_bytes()
LCTL = (DATA / "get_param").read_bytes()


def test_operations_of_one_nfs_mount() -> None:
    found = counters.parse_mountstats(NFS, b"/home")
    assert found is not None
    assert (found["lookup"], found["open"], found["readdir"], found["read"]) == (1094, 418, 104, 1000)
    # all but reads, writes and commits
    assert found["metadata"] == 418 + 1 + 419 + 54 + 36 + 1094 + 104 + 2


def test_a_mount_point_with_a_space() -> None:
    assert counters.parse_mountstats(NFS, b"/two words") == {"null": 0, "lookup": 7, "metadata": 7}


def test_the_older_form_without_errors() -> None:
    found = counters.parse_mountstats((DATA / "mountstats-1.0").read_bytes(), b"/scratch")
    assert found is not None
    assert found["metadata"] == 36 + 12 + 3


@pytest.mark.parametrize("place", [b"/dev/shm", b"/proc", b"/nowhere", b"/hom"])
def test_what_is_no_nfs_mount_has_no_counters(place: bytes) -> None:
    assert counters.parse_mountstats(NFS, place) is None


def test_an_nfs_source_reads_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "mountstats"
    file.write_bytes(NFS)
    source, why_not = counters.find_nfs(b"/home", str(file))
    assert source is not None
    assert why_not == ""
    before = source.read()
    file.write_bytes(NFS.replace(b"LOOKUP: 1094", b"LOOKUP: 1100"))
    assert source.read()["lookup"] - before["lookup"] == 6


def test_why_nfs_counters_are_missing(tmp_path: Path) -> None:
    assert counters.find_nfs(b"/home", str(tmp_path / "none"))[1].endswith("No such file or directory")
    (tmp_path / "empty").write_bytes(b"")
    assert "does not list /home" in counters.find_nfs(b"/home", str(tmp_path / "empty"))[1]


def test_lctl_output_adds_up_over_metadata_targets() -> None:
    found = counters.parse_get_param(LCTL)
    assert set(found) == {"llite.stats", "mdc.md_stats", "mdc.stats"}
    assert found["mdc.md_stats"]["intent_lock"] == 1046326 + 74
    assert found["mdc.stats"]["mds_close"] == 1024327
    assert "snapshot_time" not in found["mdc.stats"]
    assert found["llite.stats"]["open"] == 52003


def program(directory: Path, text: str) -> str:
    """A program in place of lctl: prints what the test says."""
    path = directory / "lctl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_requests_are_preferred_and_counted_once(tmp_path: Path) -> None:
    lctl = program(tmp_path, f"cat {DATA / 'get_param'}")
    source, why_not = counters.find_lustre(b"10.0.0.1@o2ib:/scratch", lctl=lctl, roots=())
    assert source is not None
    assert why_not == ""
    assert "requests to the metadata server" in source.name
    # req_waittime and req_active are the same requests again
    assert source.read()["metadata"] == 1024327 + 1091492


def test_lctl_is_asked_for_this_filesystem_alone(tmp_path: Path) -> None:
    said = tmp_path / "said"
    lctl = program(tmp_path, f'echo "$@" > {said}; cat {DATA / "get_param"}')
    counters.find_lustre(b"10.0.0.1@o2ib:10.0.0.2@o2ib:/scratch/project", lctl=lctl, roots=())
    assert said.read_text().split() == [
        "get_param",
        "mdc.scratch-*.stats",
        "mdc.scratch-*.md_stats",
        "llite.scratch-*.stats",
    ]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """The same counters as files, as under /proc/fs/lustre."""
    for name, text in (
        ("mdc/scratch-MDT0000-mdc-ffff/md_stats", "intent_lock 9 samples [reqs]\nclose 4 samples [reqs]\n"),
        ("mdc/other-MDT0000-mdc-ffff/md_stats", "intent_lock 99 samples [reqs]\n"),
        ("llite/scratch-ffff/stats", "open 5 samples [regs]\n"),
    ):
        path = tmp_path / "lustre" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("snapshot_time 1.5 secs.nsecs\n" + text)
    yield tmp_path / "lustre"
    os.chmod(tmp_path / "lustre", 0o700)


def test_files_where_lctl_says_nothing(tree: Path, tmp_path: Path) -> None:
    lctl = program(tmp_path, "echo 'error: get_param: Permission denied' >&2; exit 1")
    source, _ = counters.find_lustre(b"mgs@tcp:/scratch", lctl=lctl, roots=(str(tree),))
    assert source is not None
    assert "md_stats" in source.name
    # what is better and denied is said
    assert "Permission denied" in source.name
    assert source.read() == {
        "mdc.md_stats:intent_lock": 9,
        "mdc.md_stats:close": 4,
        "llite.stats:open": 5,
    }


def test_calls_of_programs_are_not_taken_for_requests(tree: Path) -> None:
    for path in tree.glob("mdc/scratch-*/md_stats"):
        path.unlink()
    source, _ = counters.find_lustre(b"mgs@tcp:/scratch", lctl="", roots=(str(tree),))
    assert source is not None
    assert "not requests" in source.name
    assert "metadata" not in source.read()


def test_denied_is_said_with_what_to_do(tmp_path: Path) -> None:
    lctl = program(tmp_path, "echo 'error: get_param: Operation not permitted' >&2; exit 1")
    source, why_not = counters.find_lustre(b"mgs@tcp:/scratch", lctl=lctl, roots=(str(tmp_path / "none"),))
    assert source is None
    assert "Permission denied" in why_not
    assert "lctl get_param mdc.*.stats" in why_not


def test_nothing_there_is_said_too(tmp_path: Path) -> None:
    source, why_not = counters.find_lustre(b"mgs@tcp:/scratch", lctl="", roots=(str(tmp_path / "none"),))
    assert source is None
    assert "lctl is not on PATH" in why_not
    assert "No such file or directory" in why_not


def test_the_mount_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        b"21 1 0:1 / / rw - ext4 /dev/vda rw\n"
        b"22 21 0:2 / /home rw - nfs4 server:/export/home rw\n"
        b"23 21 0:3 / /scratch rw - lustre 10.0.0.1@o2ib:/scratch rw\n"
    )
    monkeypatch.setattr(mounts, "read_own", lambda: table)
    asked: list[bytes] = []
    monkeypatch.setattr(counters, "find_nfs", lambda mount: (asked.append(mount), (None, "nfs"))[1])
    monkeypatch.setattr(counters, "find_lustre", lambda device: (asked.append(device), (None, "lustre"))[1])
    assert counters.find(b"/opt/venv") == (None, "")
    assert counters.find(b"/home/me/venv") == (None, "nfs")
    assert counters.find(b"/scratch/me/venv") == (None, "lustre")
    assert asked == [b"/home", b"10.0.0.1@o2ib:/scratch"]
