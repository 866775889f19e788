"""The recording can't be written, or nobody can read what is reported: nothing recorded is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import FSPROBE, Fsprobe, clean_environment, run_plain
from tests.e2e.transparency.faults.command import assert_one_clear_line, assert_salvaged, n_missing, resize, work


@pytest.mark.parametrize(
    "kind", ["missing directory", "read-only", "device", "too long", "below a file", "loop", "fifo"]
)
def test_a_recording_that_cannot_be_written_is_told_before_the_command_starts(
    run_fsprobe: Fsprobe, tmp_path: Path, small_disk: Path, kind: str
) -> None:
    output = tmp_path / "missing" / "x"
    if kind == "read-only":
        resize(small_disk, "ro")
        output = small_disk / "x"
    elif kind == "device":
        output = tmp_path / "null"
        os.mknod(output, 0o20666, os.makedev(1, 3))
    elif kind == "too long":
        output = tmp_path / ("x" * 300)
    elif kind == "below a file":
        (tmp_path / "file").write_text("")
        output = tmp_path / "file" / "x"
    elif kind == "loop":
        output = tmp_path / "loop"
        output.symlink_to(output)
    elif kind == "fifo":
        output = tmp_path / "fifo"
        os.mkfifo(output)
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(small_disk))
    done = run_plain(run_fsprobe.command(work(500), recording=output))
    assert done.out == b""
    assert_one_clear_line(done, status=125, says=f"cannot write {output}: ")
    assert sorted({*os.listdir(tmp_path)} - {"scratch"}) == sorted({*before[0]} - {"scratch"})
    assert sorted(os.listdir(small_disk)) == before[1]
    assert run_fsprobe.left() == []


@pytest.mark.parametrize("status", [0, 7])
@pytest.mark.parametrize("kind", ["full", "directory goes"])
def test_recording_that_can_no_longer_be_written(
    run_fsprobe: Fsprobe, tmp_path: Path, small_disk: Path, kind: str, status: int
) -> None:
    output = small_disk / "x"
    words = work(500, status)
    if kind == "full":
        (small_disk / "filler").write_bytes(bytes(8 << 20))
    else:
        (tmp_path / "goes").mkdir()
        output = tmp_path / "goes" / "x"
        words = ["sh", "-c", 'rmdir "$0" && exec "$@"', str(output.parent), *words]
    before = sorted(os.listdir(small_disk))
    done = run_plain(run_fsprobe.command(words, recording=output))
    assert done.out == b"done 3\n"
    assert_one_clear_line(done, status=status, says="cannot write")
    assert "fsprobe salvage " in done.own_lines[1]
    assert sorted(os.listdir(small_disk)) == before
    assert_salvaged(run_fsprobe, 500)


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_output_that_is_there_already_is_replaced_whole(run_fsprobe: Fsprobe, tmp_path: Path, kind: str) -> None:
    real = tmp_path / "real.fsprobe"
    output = real
    if kind != "dangling link":
        real.write_text("old")
    if kind != "file":
        output = tmp_path / "link"
        output.symlink_to(real)
    done = run_plain(run_fsprobe.command(work(20), recording=output))
    assert (done.status, done.err) == (0, b"")
    assert n_missing(real) == 20
    assert output.is_symlink() == (kind != "file")


@pytest.mark.parametrize("options", [("-q",), ()])
def test_stderr_is_closed(run_fsprobe: Fsprobe, options: tuple[str, ...]) -> None:
    done = run_fsprobe(work(10, 4), options=options, before=lambda: os.close(2))
    assert (done.status, done.out, done.err) == (4, b"done 3\n", b"")
    assert n_missing(done.recording) == 10


@pytest.mark.parametrize("options", [("-q",), ()])
def test_stderr_is_a_pipe_that_nobody_reads(run_fsprobe: Fsprobe, options: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    words = run_fsprobe.command(work(10, 4), options=options)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=write_end, env=clean_environment(), check=False)
    os.close(write_end)
    assert (done.returncode, done.stdout) == (4, b"done 3\n")
    assert n_missing(run_fsprobe.tmp / "x.fsprobe") == 10


def test_stderr_is_full(run_fsprobe: Fsprobe) -> None:
    words = run_fsprobe.command(work(10, 4), options=())
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=full, env=clean_environment(), check=False)
    assert (done.returncode, done.stdout) == (4, b"done 3\n")
    assert n_missing(run_fsprobe.tmp / "x.fsprobe") == 10


@pytest.mark.parametrize("kind", ["closed", "pipe", "full"])
@pytest.mark.parametrize("status", [0, 4])
def test_report_that_nobody_can_read(run_fsprobe: Fsprobe, tmp_path: Path, kind: str, status: int) -> None:
    """The report can't be shown; the command's exit code and its recording are what they are."""
    output = tmp_path / "x.fsprobe"
    words = [
        *FSPROBE,
        "run",
        "--force",
        "-o",
        str(output),
        "--tmp-dir",
        str(run_fsprobe.scratch),
        "--",
        *work(10, status),
    ]
    read_end, write_end = os.pipe()
    os.close(read_end)
    if kind == "full":
        os.close(write_end)
        write_end = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=write_end,
        env=clean_environment(),
        preexec_fn=(lambda: os.close(2)) if kind == "closed" else None,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stdout) == (status, b"done 3\n")
    assert n_missing(output) == 10
    assert run_fsprobe.left() == []
