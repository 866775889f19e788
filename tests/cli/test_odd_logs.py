"""Logs that hold a part of their run: nobody is acquitted, no limit is passed, and what was not traced is no 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fsprobe.cli import check, compare, load, report
from fsprobe.errors import EXIT_BAD_INPUT, EXIT_DONE
from fsprobe.loading import load_logs
from fsprobe.recording.file import Recording

MOUNTS = "22 1 0:20 / / rw - ext4 /dev/x rw\n"
STAMP = 1_700_000_000.0
HOME = "/v/lib/python3.11"


def whole() -> list[str]:
    """A start of Python on a local disk, as strace -f -ttt -T has it: 1 execve, 40 opens, 40 stats, 30 failed, 10 listings."""
    calls = ['execve("/v/bin/python3", ["python3", "p.py"], 0x7ffc /* 4 vars */) = 0']
    calls += [f'newfstatat(AT_FDCWD, "{HOME}/encodings/x{i}", 0x7ffc, 0) = -1 ENOENT (No such file)' for i in range(30)]
    calls += [f'openat(AT_FDCWD, "{HOME}/encodings/m{i}.py", O_RDONLY) = 3' for i in range(30)]
    calls += [f'newfstatat(AT_FDCWD, "{HOME}/m{i}.py", {{st_mode=S_IFREG|0644}}, 0) = 0' for i in range(10)]
    for i in range(10):
        calls += [
            f'openat(AT_FDCWD, "{HOME}/d{i}", O_RDONLY|O_DIRECTORY) = 3',
            "getdents64(3, 0x55, 32768) = 0",
            "close(3) = 0",
        ]
    return [f"7 {STAMP + i / 1000:.6f} {call} <0.000010>" for i, call in enumerate(calls)]


def only(*words: str) -> list[str]:
    return [line for line in whole() if any(word in line for word in words)]


ODD = {
    "open alone": (only("openat"), "no execve", "40 open, stat not observed, list not observed"),
    "no stat": (
        only("execve", "openat", "getdents", "close"),
        "the log has no stat calls",
        "40 open, stat not observed, 10 list",
    ),
    "failed alone": (only("ENOENT"), "nothing but failed lookups", "open not observed, 30 stat, list not observed"),
    "cut at the head": (whole()[40:], "no execve", "10 stat"),
    "exits alone": (
        ["7 1700000000.1 +++ exited with 0 +++"],
        "no call on a path",
        "open not observed, stat not observed, list not observed",
    ),
    "reads alone": (
        ['7 1700000000.1 read(3, "x", 1) = 1 <0.000010>'],
        "no call on a path",
        "open not observed, stat not observed",
    ),
    "mostly not strace": (
        [line for call in whole() for line in (call, "Epoch 1 loss")],
        "were not understood",
        "40 stat",
    ),
}


def run(command: click.Command, words: Sequence[object], status: int = EXIT_DONE) -> str:
    done = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    code = getattr(done.exception, "exit_code", done.exit_code) if done.exception else done.return_value or 0
    said = " ".join(f"{done.output} {done.exception or ''}".split())
    assert code == status, said
    return said


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[Sequence[str], str], Path]:
    def make(lines: Sequence[str], name: str) -> Path:
        (tmp_path / "mounts").write_text(MOUNTS)
        log, recording = tmp_path / f"{name}.log", tmp_path / f"{name}.fsprobe"
        log.write_text("".join(f"{line}\n" for line in lines))
        run(load.command, ["--mounts", tmp_path / "mounts", log, "-o", recording])
        return recording

    return make


def test_a_whole_log_is_acquitted(loaded: Callable[[Sequence[str], str], Path]) -> None:
    file = loaded(whole(), "whole")
    said = run(report.command, [file])
    assert "It is not the filesystem: 91 metadata calls" in said
    assert "40 open, 40 stat, 10 list" in said
    run(check.command, ["--max-metadata", 1000, file])


@pytest.mark.parametrize("name", ODD)
def test_a_part_acquits_nobody(name: str, loaded: Callable[[Sequence[str], str], Path]) -> None:
    lines, why, counts = ODD[name]
    file = loaded(lines, "part")
    said = run(report.command, [file])
    assert "It is not the filesystem" not in said
    assert "can't be told" in said
    assert why in said
    assert counts in said
    assert " 0 stat" not in said
    told = run(check.command, ["--max-metadata", 1000, file], EXIT_BAD_INPUT)
    assert "can't be told" in told


def test_parts_compare_with_a_word_of_warning(loaded: Callable[[Sequence[str], str], Path]) -> None:
    files = loaded(whole(), "whole"), loaded(only("openat"), "part")
    said = run(compare.command, files, 1)
    assert "part.fsprobe holds a part of its run" in said
    assert "fewer server requests" not in said


def test_a_clock_that_was_set_back_gives_no_duration(loaded: Callable[[Sequence[str], str], Path]) -> None:
    lines = whole()
    back = [line.replace("7 17000", "7 16999", 1) if i > 60 else line for i, line in enumerate(lines)]
    said = run(report.command, [loaded(back, "back")])
    assert "wall not observed" in said
    assert "-" not in said.partition("wall ")[2][:20]


@pytest.mark.parametrize("clock", ["date", "day"])
def test_a_clock_that_was_set_ahead_is_said_where_the_log_has_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: str
) -> None:
    """As `strace -ttt -r` and `-tt -r` write it: -r is monotonic."""

    def line(i: int, ahead_s: int) -> str:
        when = f"{STAMP + i / 1000 + ahead_s:.6f}" if clock == "date" else f"{8 + ahead_s // 3600:02}:00:00.{i:03}000"
        relative = "0.000000" if i == 0 else "0.000990"
        return f'7 {when} (+     {relative}) openat(AT_FDCWD, "/x{i}", O_RDONLY) = 3\n'

    (tmp_path / "set").write_text("".join(line(i, 7200 if i > 20 else 0) for i in range(40)))
    (tmp_path / "even").write_text("".join(line(i, 0) for i in range(40)))
    done = CliRunner().invoke(load.command, [str(tmp_path / "set"), "-o", str(tmp_path / "set.fsprobe")])
    assert done.exit_code == EXIT_DONE
    said = capsys.readouterr().err + done.stderr
    assert "takes 7,200 s more than by the stamps of -r" in said
    assert Recording(str(tmp_path / "set.fsprobe")).manifest["wall_s"] is None
    quality = load_logs([tmp_path / "even"], str(tmp_path / "even.fsprobe"))
    assert quality.set_ahead_ns == 0
    assert Recording(str(tmp_path / "even.fsprobe")).manifest["wall_s"] == 0.039


def test_values_that_no_analysis_reads_are_not_kept(tmp_path: Path) -> None:
    """What was read and written, arguments of child programs, values of xattrs: whoever made the log may not have thought of them."""
    lines = """
        7 1.0 execve("/bin/sh", ["sh", "x.sh", "own"], 0x7f /* 9 vars */) = 0
        7 1.1 read(3, "SECRET1 \\" SECRET2", 100) = 9
        7 1.2 [pid 8] write(1, "SECRET3"..., 8) = 8
        7 1.3 <... recvfrom resumed>"SECRET4", 100, 0, NULL, NULL) = 7
        8 1.4 execve("/bin/echo", ["echo", "SECRET5"], ["A=SECRET6"]) = 0
        8 1.5 getxattr("/x", "user.a", "SECRET7", 100) = 7
        8 1.6 pwrite64(3, "SECRET8", 7, 0) = 7
        8 1.7 openat(AT_FDCWD, "/write(\\"kept", O_RDONLY) = 3
        8 1.8 +++ exited with 0 +++
    """
    (tmp_path / "log").write_text("".join(line.strip() + "\n" for line in lines.strip().splitlines()))
    load_logs([tmp_path / "log"], str(tmp_path / "x.fsprobe"))
    kept = Recording(str(tmp_path / "x.fsprobe")).whole("log")
    assert b"SECRET" not in kept
    assert b'/write(\\"kept' in kept
    assert b'"own"' in kept
    assert kept.count(b"\n") == 9
