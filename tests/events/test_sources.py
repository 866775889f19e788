"""Logs as they lie about: packed, in families, damaged."""

from __future__ import annotations

import gzip
import importlib
from pathlib import Path

import pytest

from fsprobe.errors import BadInput
from fsprobe.events.strace.parser import parse
from fsprobe.events.strace.sources import check_understood, read_logs
from fsprobe.model.events import ParseQuality
from tests.events.reading import calls, processes, rows

LOG = Path(__file__).parent.parent / "data" / "strace" / "shell_own_command.log"
FORK = b"clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = "


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_an_ordinary_log_comes_as_it_is() -> None:
    assert b"".join(read_logs([LOG])) == LOG.read_bytes()


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    packed = tmp_path / "log"
    packed.write_bytes(gzip.compress(LOG.read_bytes()[:5000]) + gzip.compress(LOG.read_bytes()[5000:]))
    assert b"".join(read_logs([packed])) == LOG.read_bytes()


def test_zstd(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="the optional module zstandard is not installed")
    packed = tmp_path / "log.zst"
    packed.write_bytes(zstandard.compress(LOG.read_bytes()[:5000]) + zstandard.compress(LOG.read_bytes()[5000:]))
    assert b"".join(read_logs([packed])) == LOG.read_bytes()


def test_zstd_without_a_decompressor_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without_zstd(name: str) -> object:
        if "zstd" in name or "zstandard" in name:
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without_zstd)
    packed = tmp_path / "log.zst"
    packed.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    with pytest.raises(BadInput) as caught:
        read_logs([packed])
    assert "zstandard" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_family_is_merged_by_time_and_named_by_file(tmp_path: Path) -> None:
    parent = write(
        tmp_path / "log.70",
        b"1795506711.000001 (+     0.000000000) execve(\"/bin/sh\", [\"sh\"], 0x7f) = 0",
        b"1795506711.000002 (+     0.000001000) " + FORK + b"71",
        b"1795506711.000005 (+     0.000001000) access(\"/three\", F_OK) = 0",
    )  # fmt: skip
    child = write(
        tmp_path / "log.71",
        b'1795506711.000003 (+     0.000001000) access("/one", F_OK) = 0',
        b'1795506711.000004 (+     0.000001000) access("/two", F_OK) = 0',
        b"1795506711.000006 (+     0.000001000) +++ exited with 0 +++",
    )
    quality = ParseQuality()
    events = list(parse(read_logs([child, parent]), quality))
    assert [(call.tid, call.path, call.t_ns) for call in calls(events)] == [
        (70, b"/bin/sh", 1795506711000001000),
        (71, b"/one", 1795506711000003000),
        (71, b"/two", 1795506711000004000),
        (70, b"/three", 1795506711000005000),
    ]
    assert [(one.kind, one.tid, one.child) for one in processes(events)[1:]] == [("fork", 70, 71), ("exit", 71, 0)]
    assert (quality.n_unparsed, quality.has_tids) == (0, True)


@pytest.mark.parametrize("stamp", [b"", b"     0.000001 "])
def test_a_family_without_a_common_clock_gives_parents_before_children(tmp_path: Path, stamp: bytes) -> None:
    access = stamp + b'access("/%d", F_OK) = 0'
    paths = [
        write(tmp_path / "log.5", access % 5),
        write(tmp_path / "log.70", stamp + FORK + b"71", stamp + FORK + b"5", access % 70),
        write(tmp_path / "log.71", access % 71, stamp + FORK + b"72"),
        write(tmp_path / "log.72", access % 72),
    ]
    quality = ParseQuality()
    events = list(parse(read_logs(paths), quality))
    assert [call.tid for call in calls(events)] == [70, 71, 72, 5]
    assert [(one.tid, one.child) for one in processes(events)] == [(70, 71), (71, 72), (70, 5)]
    assert {call.t_ns for call in calls(events)} == {None}
    assert (quality.has_times, quality.n_unparsed) == (False, 0)


def test_a_family_that_runs_past_midnight(tmp_path: Path) -> None:
    parent = write(tmp_path / "log.70", b"23:59:59.9 " + FORK + b"71", b'00:00:00.2 access("/b", F_OK) = 0')
    child = write(tmp_path / "log.71", b'00:00:00.1 access("/a", F_OK) = 0', b'00:00:00.3 access("/c", F_OK) = 0')
    events = list(parse(read_logs([child, parent]), ParseQuality()))
    assert [path for _, path, _ in rows(events)] == [b"/a", b"/b", b"/c"]
    times = [call.t_ns for call in calls(events)]
    assert times == [86_400_100_000_000, 86_400_200_000_000, 86_400_300_000_000]


def test_a_large_family_needs_few_open_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    paths = [
        write(tmp_path / f"log.{tid}", b'17955067%02d.5 access("/%d", F_OK) = 0' % (tid % 100, tid)) for tid in range(1000, 1100)
    ]  # fmt: skip
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 20, hard))
    try:
        lines = list(read_logs(paths))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(lines) == 100
    assert lines == sorted(lines)


def test_bad_files_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\0\0")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(LOG.read_bytes())[:40])
    for name in ("missing", "empty", "binary", "cut.gz", "."):
        with pytest.raises(BadInput) as caught:
            read_logs([LOG, tmp_path / name])
        assert caught.value.exit_code == 3
        assert caught.value.hint
    with pytest.raises(BadInput):
        read_logs([])


def test_damage_further_on_is_a_clear_error_too(tmp_path: Path) -> None:
    noise = b"".join(b'7 access("/%d", F_OK) = %d\n' % (n * n * 7919 % 999983, n) for n in range(50_000))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(noise)[:-2000])
    with pytest.raises(BadInput, match="damaged or cut short"):
        list(read_logs([tmp_path / "cut.gz"]))


def test_text_that_is_no_log_is_refused_with_its_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.txt", b"Dear diary", b"today I traced nothing")
    quality = ParseQuality()
    events = list(parse(read_logs([path]), quality))
    with pytest.raises(BadInput, match="Dear diary"):
        check_understood(quality, len(events), [path])
    quality = ParseQuality()
    events = list(parse(read_logs([LOG]), quality))
    check_understood(quality, len(events), [LOG])
