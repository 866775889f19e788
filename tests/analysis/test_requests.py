"""The request model on logs that are written out: what each line asks a cold client's server for."""

from __future__ import annotations

import os
from typing import Any

import pytest

from fsprobe.analysis.attribution.attribute import Attributed, ProcessInfo
from fsprobe.analysis.attribution.ownership import Owners
from fsprobe.analysis.requests.model import CAVEAT, RequestModel, Requests
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Mount, Op, ParseQuality
from fsprobe.model.requests import RequestCounts
from fsprobe.model.serial import to_json

SERVED = b"/m"


def mount(path: bytes, fstype: str = "fuse.standin") -> Mount:
    return Mount(path=path, fstype=fstype, fs_class="network", source=b"x", options="ro")


MOUNTS = [mount(b"/", "ext4"), mount(SERVED), mount(b"/m/inner"), mount(b"/proc", "proc")]


def feed(log: str, lookups: dict[str, Any] | None = None, cwd: bytes | None = None) -> RequestModel:
    """A model fed with calls, one a line, without their heads."""
    lines = [b"7 " + line.strip().encode() + b"\n" for line in log.strip().splitlines()]
    model = RequestModel(MOUNTS, lookups, cwd)
    for event in parse(lines, ParseQuality(), cwd=cwd or b"/", on_status=model.add_status):
        if isinstance(event, Call):
            model.add(event)
    return model


def asked(requests: Requests) -> dict[str, dict[str, int]]:
    """Path -> what was asked on the served mount; reads left out."""
    return {
        path.decode(): {
            name: getattr(row, name)
            for name in ("lookup", "negative", "open", "opendir", "readdir", "readlink", "change")
            if getattr(row, name)
        }
        for path, row in requests.per_path.items()
        if path.startswith(SERVED)
    }


def count(log: str, lookups: dict[str, Any] | None = None, cwd: bytes | None = None) -> dict[str, dict[str, int]]:
    return asked(feed(log, lookups, cwd).count())


MISS = "= -1 ENOENT (No such file or directory)"


def test_a_name_is_asked_for_once_and_an_open_each_time() -> None:
    log = f"""
        stat("/m/a/x", {{st_mode=S_IFREG|0644, st_size=300000, ...}}) = 0
        stat("/m/a/x", {{st_mode=S_IFREG|0644, st_size=300000, ...}}) = 0
        openat(AT_FDCWD</>, "/m/a/x", O_RDONLY|O_CLOEXEC) = 3</m/a/x>
        openat(AT_FDCWD</>, "/m/a/x", O_RDONLY|O_CLOEXEC) = 3</m/a/x>
        openat(AT_FDCWD</m/a>, "no", O_RDONLY|O_CLOEXEC) {MISS}
        access("/m/a/no", F_OK) {MISS}
    """
    assert count(log) == {
        "/m/a": {"lookup": 1},
        "/m/a/x": {"lookup": 1, "open": 2},
        "/m/a/no": {"lookup": 1, "negative": 1},
    }
    row = feed(log).count().by_mount()["/m"]
    assert (row.lookup, row.negative, row.n_metadata) == (3, 1, 5), "negative ones are among the look-ups"
    assert row.read_max == 3


def test_a_missing_directory_is_known_from_later_calls_or_from_the_lookups() -> None:
    probes = f"""
        openat(AT_FDCWD</>, "/m/lib/hwcaps/v4/x.so", O_RDONLY) {MISS}
        stat("/m/lib/hwcaps/v4", 0x7ffe) {MISS}
        stat("/m/lib", {{st_mode=S_IFDIR|0755, st_size=10, ...}}) = 0
    """
    first = {"/m/lib": {"lookup": 1}, "/m/lib/hwcaps": {"lookup": 1, "negative": 1}}
    assert count(probes) == first, "nothing was ever found in it"
    second = {"/m/lib": {"lookup": 1}, "/m/lib/hwcaps": {"lookup": 1}, "/m/lib/hwcaps/v4": {"lookup": 1, "negative": 1}}
    assert count(probes, {"links": {"/m/lib/hwcaps": None}, "missing": ["/m/lib/hwcaps/v4"]}) == second
    assert count(probes + 'openat(AT_FDCWD</>, "/m/lib/hwcaps/z.so", O_RDONLY) = 3</m/lib/hwcaps/z.so>\n') == {
        **second,
        "/m/lib/hwcaps/z.so": {"lookup": 1, "open": 1},
    }


def test_links_are_followed_once_read_once() -> None:
    log = """
        openat(AT_FDCWD</>, "/m/link/x", O_RDONLY) = 3</m/real/x>
        openat(AT_FDCWD</>, "/m/link/../real/x", O_RDONLY) = 3</m/real/x>
        lstat("/m/link", {st_mode=S_IFLNK|0777, st_size=4, ...}) = 0
        readlink("/m/link", "real", 4096) = 4
    """
    expected = {
        "/m/link": {"lookup": 1, "readlink": 1},
        "/m/real": {"lookup": 1},
        "/m/real/x": {"lookup": 1, "open": 2},
    }
    assert count(log) == expected
    opens = "\n".join(log.strip().splitlines()[:2])
    assert count(opens, {"links": {"/m": None, "/m/link": "real"}}) == expected
    assert count(opens) == expected, "the descriptor's path alone shows that there is a link"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('lstat("/m/l", {st_mode=S_IFLNK|0777, st_size=1, ...}) = 0', {"/m/l": {"lookup": 1}}),
        (
            'newfstatat(AT_FDCWD</>, "/m/l", {st_mode=S_IFLNK|0777, st_size=1, ...}, AT_SYMLINK_NOFOLLOW) = 0',
            {"/m/l": {"lookup": 1}},
        ),
        (
            'openat(AT_FDCWD</>, "/m/l", O_RDONLY|O_NOFOLLOW) = -1 ELOOP (Too many levels of symbolic links)',
            {"/m/l": {"lookup": 1}},
        ),
        (
            'stat("/m/l", {st_mode=S_IFDIR|0755, st_size=1, ...}) = 0',
            {"/m/l": {"lookup": 1, "readlink": 1}, "/m/d": {"lookup": 1}},
        ),
        (
            'lstat("/m/l/", {st_mode=S_IFDIR|0755, st_size=1, ...}) = 0',
            {"/m/l": {"lookup": 1, "readlink": 1}, "/m/d": {"lookup": 1}},
        ),
        (
            'openat(AT_FDCWD</>, "/m/l", O_RDONLY|O_DIRECTORY) = 3</m/d>',
            {"/m/l": {"lookup": 1, "readlink": 1}, "/m/d": {"lookup": 1, "opendir": 1}},
        ),
        (
            'openat(AT_FDCWD</>, "/m/l", O_RDONLY|O_PATH) = 3</m/d>',
            {"/m/l": {"lookup": 1, "readlink": 1}, "/m/d": {"lookup": 1}},
        ),
        ('stat("/m/f/x", 0x7ff) = -1 ENOTDIR (Not a directory)', {"/m/f": {"lookup": 1}}),
        ('stat("/m/d/x", 0x7ff) = -1 EACCES (Permission denied)', {"/m/d": {"lookup": 1}}),
        (
            'openat(AT_FDCWD</>, "/m/d/x", O_RDONLY) = -1 EACCES (Permission denied)',
            {"/m/d": {"lookup": 1}, "/m/d/x": {"lookup": 1}},
        ),
        ('getcwd("/m/d", 4096) = 5', {}),
        ('statfs("/m", {f_type=FUSE_SUPER_MAGIC, ...}) = 0', {}),
    ],
)
def test_what_one_call_asks(call: str, expected: dict[str, dict[str, int]]) -> None:
    assert count(call, {"links": {"/m/l": "d", "/m/d": None, "/m/f": None}, "files": ["/m/f"]}) == expected


def test_a_loop_of_links_ends() -> None:
    log = 'stat("/m/l/x", 0x7ff) = -1 ELOOP (Too many levels of symbolic links)'
    assert count(log, {"links": {"/m/l": "l"}}) == {"/m/l": {"lookup": 1, "readlink": 1}}


def test_a_listing_is_read_by_the_first_who_opens_the_directory() -> None:
    once = """
        openat(AT_FDCWD</>, "/m/d", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3</m/d>
        getdents64(3</m/d>, 0x5 /* 3 entries */, 32768) = 72
        getdents64(3</m/d>, 0x5 /* 0 entries */, 32768) = 0
    """
    assert count(once * 3) == {"/m/d": {"lookup": 1, "opendir": 3, "readdir": 2}}


def test_a_listing_that_is_left_is_read_again() -> None:
    once = """
        openat(AT_FDCWD</>, "/m/d", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3</m/d>
        getdents64(3</m/d>, 0x5 /* 3 entries */, 32768) = 72
    """
    assert count(once * 2)["/m/d"]["readdir"] == 2


def test_the_kernel_opens_what_a_program_names() -> None:
    log = 'execve("/m/bin/script", ["script"], 0x5 /* 1 var */) = 0\n' * 2
    programs = {"/m/bin/script": "/m/bin/python", "/m/bin/python": "/m/lib/ld.so", "/m/lib/ld.so": None}
    assert count(log, {"programs": programs, "sizes": {"/m/bin/python": 200_000}}) == {
        "/m/bin": {"lookup": 1},
        "/m/bin/script": {"lookup": 1, "open": 2},
        "/m/bin/python": {"lookup": 1, "open": 2},
        "/m/lib": {"lookup": 1},
        "/m/lib/ld.so": {"lookup": 1, "open": 2},
    }


def test_what_a_run_makes_is_known_and_what_it_removes_is_asked_for_again() -> None:
    log = f"""
        mkdir("/m/new", 0777) = 0
        openat(AT_FDCWD</>, "/m/new/f.tmp", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0666) = 3</m/new/f.tmp>
        rename("/m/new/f.tmp", "/m/new/f") = 0
        openat(AT_FDCWD</>, "/m/new/f", O_RDONLY) = 3</m/new/f>
        unlink("/m/new/f") = 0
        stat("/m/new/f", 0x7ff) {MISS}
    """
    assert count(log) == {
        "/m/new": {"lookup": 1, "negative": 1, "change": 1},
        "/m/new/f.tmp": {"lookup": 1, "negative": 1, "change": 1},
        "/m/new/f": {"lookup": 2, "negative": 2, "open": 1, "change": 2},
    }


def test_mounts_in_mounts_and_the_working_directory_are_known_before() -> None:
    log = """
        stat("/m/inner/x", {st_mode=S_IFREG|0644, st_size=3, ...}) = 0
        openat(AT_FDCWD</m/work/here>, "y", O_RDONLY) = 3</m/work/here/y>
    """
    requests = feed(log, cwd=b"/m/work/here").count()
    assert asked(requests) == {"/m/inner/x": {"lookup": 1}, "/m/work/here/y": {"lookup": 1, "open": 1}}
    by_mount = requests.by_mount()
    assert (by_mount["/m/inner"].n_metadata, by_mount["/m"].n_metadata) == (1, 2)


def test_unfinished_calls_look_up_and_open_nothing() -> None:
    log = 'openat(AT_FDCWD</>, "/m/a/x", O_RDONLY <unfinished ...>\n+++ killed by SIGKILL +++'
    assert count(log) == {"/m/a": {"lookup": 1}, "/m/a/x": {"lookup": 1}}


def test_sizes_come_from_fstat_also_in_halves() -> None:
    log = """
        openat(AT_FDCWD</>, "/m/a", O_RDONLY) = 3</m/a>
        newfstatat(3</m/a>, "", {st_mode=S_IFREG|0644, st_size=131073, ...}, AT_EMPTY_PATH) = 0
        openat(AT_FDCWD</>, "/m/b", O_RDONLY) = 4</m/b>
        newfstatat(4</m/b>, "",  <unfinished ...>
        <... newfstatat resumed>{st_mode=S_IFREG|0644, st_size=0, ...}, AT_EMPTY_PATH) = 0
        openat(AT_FDCWD</>, "/m/d", O_RDONLY) = 5</m/d>
        newfstatat(5</m/d>, "", {st_mode=S_IFDIR|0755, st_size=10, ...}, AT_EMPTY_PATH) = 0
    """
    requests = feed(log).count()
    assert asked(requests)["/m/d"] == {"lookup": 1, "opendir": 1}
    assert requests.by_mount()["/m"].read_max == 3
    unsized = feed(log + 'openat(AT_FDCWD</>, "/m/c", O_RDONLY) = 4</m/c>').count()
    assert unsized.by_mount()["/m"].read_max is None, "not observed is not 0"


def call(path: bytes, module: str, own: bool = False) -> Attributed:
    result = b"3<" + path + b">"
    made = Call(7, None, "open", Op.OPEN, path, "", None, b'"' + path + b'", O_RDONLY', result)
    return Attributed(made, "import", module, (), ProcessInfo(7, 1), own)


def test_groupings_sum_to_the_total_and_own_calls_are_out() -> None:
    model = RequestModel(MOUNTS)
    site = b"/m/lib/python3.11/site-packages"
    for path, module in ((b"/numpy/a.py", "numpy"), (b"/numpy/a.py", "pandas"), (b"/pandas/b.py", "pandas")):
        model.fold(call(site + path, module))
    model.fold(call(b"/m/hook/x", "numpy", own=True))
    requests = model.count()
    total = requests.total()
    assert (total.lookup, total.open) == (7, 3)
    for table in (requests.by_mount(), requests.by_package(Owners([], {})), requests.per_module):
        assert sum(row.n_metadata for row in table.values()) == total.n_metadata
    assert requests.per_module["pandas"].value() == RequestCounts(lookup=2, open=2, again=2, read_max=None)
    assert requests.per_module["pandas"].n_metadata == 4
    assert requests.by_package(Owners([], {}))["numpy"].lookup == 2
    assert requests.environment(site + b"/numpy").n_metadata == 4
    assert requests.environment(site + b"/num").n_metadata == 0


def test_the_contract() -> None:
    value = feed('stat("/m/x", {st_mode=S_IFREG|0644, st_size=3, ...}) = 0').count().value(Owners([], {}))
    assert set(to_json(value)) == {"by_mount", "by_package", "by_module", "n_unplaced", "caveat", "at_servers"}
    wanted = {"key", "lookup", "negative", "open", "opendir", "readdir", "readlink", "read_max"}
    assert wanted <= set(to_json(value)["by_mount"][0])
    assert value.by_mount[0].key == "/m"
    assert "FUSE" in value.caveat
    assert "Lustre" in value.caveat
    assert value.caveat == CAVEAT


def test_counting_looks_at_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The tree may be gone, or be another one, when a recording is analysed."""
    path = f"/m{tmp_path}"
    model = feed(f'openat(AT_FDCWD</>, "{path}/x", O_RDONLY) = 3<{path}/x>', {"links": {path: None}})
    for name in ("stat", "lstat", "readlink", "listdir", "scandir", "open", "access"):
        monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("the filesystem was asked"))
    requests = model.count()
    monkeypatch.undo()
    assert requests.per_path[f"{path}/x".encode()].open == 1


def test_counting_again_and_with_calls_left_out() -> None:
    log = f"""
        openat(AT_FDCWD</>, "/m/dead/x.so", O_RDONLY) {MISS}
        openat(AT_FDCWD</>, "/m/live/x.so", O_RDONLY) = 3</m/live/x.so>
        rename("/m/live/x.so", "/m/live/y.so") = 0
        stat("/m/dead", {{st_mode=S_IFDIR|0755, st_size=3, ...}}) = 0
    """
    model = feed(log)
    first = model.count()
    without = model.count(leave_out=lambda path: path.startswith(b"/m/dead"))
    assert model.count() == first
    assert first.total().n_metadata - without.total().n_metadata == 2
