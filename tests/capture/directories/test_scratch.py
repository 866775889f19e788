"""The scratch directory: where it goes, who may see it, and that it goes away."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fsprobe.capture.directories import scratch
from fsprobe.capture.machine.mounts import parse_mountinfo, read_own
from fsprobe.errors import FsprobeError


def rows_with(path: Path, fstype: str) -> list[tuple[bytes, str, bytes, str]]:
    return [*parse_mountinfo(read_own()), (os.fsencode(path), fstype, b"server:/x", "rw")]


def test_is_private_and_goes_away(tmp_path: Path) -> None:
    place = scratch.make(str(tmp_path), {}, [])
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o700
    assert sorted(os.listdir(place)) == [scratch.MARKS]
    (Path(place) / scratch.MARKS / "deeper").mkdir()
    (Path(place) / scratch.MARKS / "deeper" / "x").write_text("")
    (Path(place) / scratch.LOG).write_text("")
    scratch.remove(place)
    assert os.listdir(tmp_path) == []
    scratch.remove(place)


def test_what_a_link_points_at_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    place = scratch.make(str(tmp_path), {}, [])
    os.symlink(tmp_path / "precious", os.path.join(place, "link"))
    scratch.remove(place)
    assert (tmp_path / "precious" / "data").read_text() == "x"


def test_network_filesystems_are_passed_over_but_taken_when_named(tmp_path: Path) -> None:
    rows = rows_with(tmp_path, "lustre")
    assert "network filesystem (lustre)" in scratch.why_not(str(tmp_path), rows)
    assert scratch.make(str(tmp_path), {}, rows).startswith(str(tmp_path))


def test_candidates_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scratch.candidates({"TMPDIR": "/x"}) == ["/dev/shm", "/x", "/tmp"]
    assert scratch.candidates({}) == ["/dev/shm", "/tmp"]
    monkeypatch.setattr(scratch, "candidates", lambda environment: [str(tmp_path / "missing"), str(tmp_path)])
    assert scratch.make(None, {}, []).startswith(str(tmp_path))


def test_every_place_and_its_reason_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    places = [str(tmp_path / "missing"), str(tmp_path / "file"), str(tmp_path)]
    monkeypatch.setattr(scratch, "candidates", lambda environment: places)
    monkeypatch.setattr(scratch, "free_bytes", lambda directory: 5 << 20)
    with pytest.raises(FsprobeError) as caught:
        scratch.make(None, {}, [])
    assert all(place in caught.value.message for place in places)
    assert "only 5 MiB free" in caught.value.message
    assert "--tmp-dir" in caught.value.hint


def test_a_half_made_one_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        if path.endswith(scratch.MARKS):
            raise OSError(28, "No space left on device")
        make(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(FsprobeError, match="No space left"):
        scratch.make(str(tmp_path), {}, [])
    assert os.listdir(tmp_path) == []


def test_what_was_left_behind_is_found(tmp_path: Path) -> None:
    place = scratch.make(str(tmp_path), {}, [])
    assert place not in scratch.left_behind({"TMPDIR": str(tmp_path)})
    (Path(place) / scratch.STATE).write_text("{}")
    assert place in scratch.left_behind({"TMPDIR": str(tmp_path)})


def test_a_place_without_room_for_files_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "free_files", lambda directory: 3)
    with pytest.raises(FsprobeError) as caught:
        scratch.make(str(tmp_path), {}, [])
    assert "room for only 3 more files" in caught.value.message
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(scratch, "free_files", lambda directory: None)  # such as btrfs: no such number
    scratch.remove(scratch.make(str(tmp_path), {}, []))


def test_a_mount_point_is_its_own_real_path(tmp_path: Path) -> None:
    """Unless something lies over the directory above it since: then a link may be there."""
    (tmp_path / "shm").mkdir()
    (tmp_path / "linked").symlink_to("shm")
    real = str(tmp_path / "shm")
    for name in ("shm", "linked"):
        place = scratch.make(str(tmp_path / name), {}, rows_with(tmp_path / "shm", "tmpfs"))
        assert os.path.dirname(place) == real
        scratch.remove(place)
    (tmp_path / "shm").rmdir()
    (tmp_path / "shm").symlink_to(tmp_path)
    rows = [*rows_with(tmp_path / "shm", "tmpfs"), (os.fsencode(tmp_path), "tmpfs", b"x", "rw")]
    place = scratch.make(real, {}, rows)
    assert os.path.dirname(place) == str(tmp_path)
    scratch.remove(place)


@pytest.mark.parametrize(("mask", "hint"), [(0o777, "umask (0777)"), (0o277, "umask (0277)"), (0o027, "--tmp-dir")])
def test_a_umask_against_oneself_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int, hint: str
) -> None:
    def refuse(path: str, mode: int = 0o777) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(scratch.os, "mkdir", refuse)
    before = os.umask(mask)
    try:
        with pytest.raises(FsprobeError) as caught:
            scratch.make(str(tmp_path), {}, [])
        assert hint in caught.value.hint
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
