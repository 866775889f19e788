"""/proc/self/mountinfo: its lines, its escapes, and what kind of filesystem a type is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsprobe.capture.machine import mounts
from fsprobe.capture.machine.mounts import classify, classify_all, mount_of, parse_mountinfo, read_own, unescape

SAMPLE = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /scratch\040disk rw,nosuid shared:2 master:1 - lustre 10.0.0.1@tcp:/scr rw,flock
41 22 0:36 /x /scratch\040disk/env ro - squashfs /dev/loop0 ro
42 22 0:37 / /net rw - nfs4 server:/e\134x rw,vers=4.2
a line that is none
43 22 0:38 / /odd rw - tmpfs
"""


def test_lines() -> None:
    rows = parse_mountinfo(SAMPLE)
    assert [row[:3] for row in rows] == [
        (b"/", "ext4", b"/dev/sda1"),
        (b"/scratch disk", "lustre", b"10.0.0.1@tcp:/scr"),
        (b"/scratch disk/env", "squashfs", b"/dev/loop0"),
        (b"/net", "nfs4", b"server:/e\\x"),
    ]
    assert rows[1][3] == "rw,nosuid,rw,flock"


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        (b"/", "ext4"),
        (b"/scratch disk/env/lib/x.py", "squashfs"),
        (b"/scratch disk/envious", "lustre"),
        (b"/scratch disk", "lustre"),
        (b"/network", "ext4"),
        (b"/net/x", "nfs4"),
    ],
)
def test_mount_of_a_path(path: bytes, fstype: str) -> None:
    row = mount_of(path, parse_mountinfo(SAMPLE))
    assert row is not None
    assert row[1] == fstype


def test_the_last_mount_on_a_point_hides_the_earlier_ones() -> None:
    rows = parse_mountinfo(SAMPLE + b"50 22 0:50 / /net rw - tmpfs none rw\n")
    row = mount_of(b"/net/x", rows)
    assert row is not None
    assert row[1] == "tmpfs"
    assert mount_of(b"/x", []) is None


@pytest.mark.parametrize(
    ("fstype", "kind"),
    [
        ("lustre", "network"),
        ("fuse.sshfs", "network"),
        ("fuse", "network"),
        ("fuse.squashfuse_ll", "image"),
        ("squashfs", "image"),
        ("fuse.fuse-overlayfs", "local"),
        ("overlay", "local"),
        ("ext4", "local"),
        ("tmpfs", "memory"),
        ("proc", "pseudo"),
        ("something-new", "local"),
    ],
)
def test_kinds(fstype: str, kind: str) -> None:
    assert classify(fstype) == kind


@given(st.binary(max_size=40))
def test_escapes_are_undone_exactly(path: bytes) -> None:
    """As the kernel escapes: space, tab, newline and backslash. Source: proc(5), mangle_path."""
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in path)
    assert unescape(escaped) == path


def test_many_escapes_do_not_nest() -> None:
    assert unescape(b"\\040" * 5000) == b" " * 5000


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_complaint(data: bytes) -> None:
    assert isinstance(parse_mountinfo(data), list)


def test_own_mounts_agree_with_the_system(tmp_path: Path) -> None:
    row = mount_of(str(tmp_path.resolve()).encode(), parse_mountinfo(read_own()))
    assert row is not None
    done = subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, check=True, text=True)
    assert row[1] in done.stdout.strip() or done.stdout.strip().startswith(row[1][:3])


# As Apptainer 1.4.5 has it in a container (user namespace, image x.sif); a sandbox directory's table is the same.
SESSION = b"/var/lib/apptainer/mnt/session"
APPTAINER = rb"""110 82 0:42 / / rw,nodev,relatime unbindable - overlay overlay ro,lowerdir=%b/overlay-lowerdir:%b/rootfs,redirect_dir=on
134 110 254:0 /me /home/me rw,nosuid - lustre mgs:/p rw
""" % (SESSION, SESSION)


@pytest.mark.parametrize(
    ("container", "kind"), [("", "image"), ("/images/x.sif", "image"), ("/project/sandbox", "local")]
)
def test_a_containers_root_is_what_lies_below_it(container: str, kind: str) -> None:
    assert classify_all(parse_mountinfo(APPTAINER), container) == [kind, "network"]


@pytest.mark.parametrize(
    ("below", "kind"),
    [
        ("/img", "image"),
        ("/net/env", "network"),
        ("/tmp/x", "local"),
        ("/img:/net/env", "network"),
        ("/not\\054known:/img", "image"),
    ],
)
def test_an_overlay_is_of_the_class_of_its_layers(below: str, kind: str) -> None:
    table = (
        b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:35 / /img ro - squashfs /dev/loop0 ro\n"
        b"41 22 0:36 / /net rw - nfs4 server:/e rw\n"
        b"42 22 0:37 / /env rw - overlay overlay rw,lowerdir=%b,upperdir=/tmp/u,workdir=/tmp/w\n" % below.encode()
    )
    assert classify_all(parse_mountinfo(table))[3] == kind


def test_a_container_that_is_no_apptainers_stays_local() -> None:
    docker = (
        b"1 0 0:42 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B\n"
    )
    assert classify_all(parse_mountinfo(docker)) == ["local"]


def test_a_table_is_read_whole_however_little_the_kernel_gives_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table of many lines it gives a page for each read."""
    (tmp_path / "mountinfo").write_bytes(
        b"".join(b"%d 1 0:%d / /m%d rw - tmpfs x rw\n" % (n, n, n) for n in range(500))
    )
    whole = (tmp_path / "mountinfo").read_bytes()
    read, open_ = os.pread, os.open
    with monkeypatch.context() as patch:
        patch.setattr(mounts, "_held", {})
        patch.setattr(os, "pread", lambda fd, n_bytes, at: read(fd, min(n_bytes, 4096), at))
        patch.setattr(os, "open", lambda _, *flags: open_(tmp_path / "mountinfo", *flags))
        assert read_own() == whole
        assert read_own(holds=True) == whole
        (held,) = mounts._held.values()
        patch.setattr(os, "open", lambda *_: pytest.fail("opened again"))
        assert read_own() == read_own(holds=True) == whole
        os.close(held)
