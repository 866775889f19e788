"""pack from the command line: interrupted, killed, on a full disk, behind a wrapper that clamps times."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.layouts.environments import (
    fsprobe,
    fsprobe_argv,
    fsprobe_environment,
    left_behind,
    make_venv,
    need,
    site_of,
    snapshot,
)


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("mksquashfs", "unsquashfs")
    return make_venv(tmp_path_factory.mktemp("pack") / "venv")


def wrapper(directory: Path, script: str) -> dict[str, str]:
    """An environment whose mksquashfs is `script`; the real one is $REAL."""
    import shutil

    directory.mkdir()
    program = directory / "mksquashfs"
    program.write_text(f"#!/bin/sh\nREAL={shutil.which('mksquashfs')}\n{script}\n")
    program.chmod(0o755)
    return fsprobe_environment(PATH=f"{directory}:{os.environ['PATH']}")


def test_times_that_are_clamped_are_refused(venv: Path, tmp_path: Path) -> None:
    before = snapshot(venv)
    out = tmp_path / "out"
    out.mkdir()
    environment = wrapper(tmp_path / "bin", 'exec $REAL "$@" -all-time 0')
    done = fsprobe("pack", str(venv), "-o", str(out / "i"), env=environment)
    assert done.returncode == 3
    assert b"3 of 3 .pyc files would be stale" in done.stderr
    assert list(out.iterdir()) == []
    assert snapshot(venv) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_interrupted_it_leaves_no_image(venv: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    out.mkdir()
    word = f"43.{os.getpid()}"
    environment = wrapper(tmp_path / "bin", f'$REAL "$@" >/dev/null; exec sleep {word}')  # all is written, nothing done
    process = subprocess.Popen(
        fsprobe_argv("pack", str(venv), "-o", str(out / "i")), env=environment, stderr=-1, stdout=-1
    )
    deadline = time.monotonic() + 20
    while not left_behind(f"sleep {word}") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    err = process.communicate(timeout=20)[1]
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert b"Traceback" not in err
    while left_behind(f"sleep {word}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left_behind(f"sleep {word}") == []
    names = [path.name for path in out.iterdir()]
    assert "i" not in names
    assert "i.json" not in names
    assert len(names) == (number == signal.SIGKILL)  # its unfinished file, which the next pack removes
    assert fsprobe("pack", str(venv), "-o", str(out / "i")).returncode == 0
    assert sorted(path.name for path in out.iterdir()) == ["i", "i.json"]


def test_a_full_disk_leaves_nothing(venv: Path, tmp_path: Path) -> None:
    need("unshare", root=True)
    full = tmp_path / "full"
    full.mkdir()
    import shutil

    big = tmp_path / "venv"
    shutil.copytree(venv, big, symlinks=True)
    (site_of(big) / "noise.bin").write_bytes(os.urandom(3_000_000))  # does not compress
    before = snapshot(big)
    # room enough for what an environment usually shrinks to, not for this one
    script = 'mount -t tmpfs -o size=1600k tmpfs "$1"; echo old > "$1/other"; shift; "$@"; rc=$?; ls -A "$0"; exit $rc'
    line = fsprobe_argv("pack", str(big), "-o", str(full / "i"))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(full), str(full), *line],
        capture_output=True,
        env=fsprobe_environment(),
    )
    assert done.returncode == 4, done.stderr
    assert b"no room for the image" in done.stderr
    assert done.stdout == b"other\n"
    assert snapshot(big) == before


def test_a_full_staging_place_leaves_nothing(venv: Path, tmp_path: Path) -> None:
    need("unshare", root=True)
    stage = tmp_path / "stage"
    stage.mkdir()
    import shutil

    bare = tmp_path / "venv"
    shutil.copytree(venv, bare, symlinks=True)
    shutil.rmtree(site_of(bare) / "apples" / "__pycache__")
    script = 'mount -t tmpfs -o size=200k,nr_inodes=15 tmpfs "$1"; shift; "$@"; rc=$?; ls -A "$0"; exit $rc'
    line = fsprobe_argv("pack", str(bare), "-o", str(tmp_path / "i"), "--compile", "--staging", str(stage))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(stage), str(stage), *line],
        capture_output=True,
        env=fsprobe_environment(),
    )
    assert (done.returncode, done.stdout) == (4, b""), done.stderr
    assert b"--staging" in done.stderr
    assert not (tmp_path / "i").exists()


def test_the_environment_is_only_read(venv: Path, tmp_path: Path) -> None:
    need("strace")
    log = tmp_path / "log"
    before = snapshot(venv)
    done = subprocess.run(
        ["strace", "-f", "-o", log, "-e", "trace=%file", *fsprobe_argv("pack", str(venv), "-o", str(tmp_path / "i"))],
        capture_output=True,
        env=fsprobe_environment(),
    )
    assert done.returncode == 0
    changes = ("O_WRONLY", "O_RDWR", "mkdir", "unlink", "rename", "utime", "chmod", "chown", "truncate", "symlink(")
    touched = [
        line for line in log.read_text().splitlines() if str(venv) in line and any(word in line for word in changes)
    ]
    assert touched == []
    assert snapshot(venv) == before


def test_progress_only_on_a_terminal(venv: Path, tmp_path: Path) -> None:
    import pty

    assert fsprobe("pack", str(venv), "-o", str(tmp_path / "a")).stderr == b""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        fsprobe_argv("pack", str(venv), "-o", str(tmp_path / "b")),
        env=fsprobe_environment(TERM="xterm", COLUMNS="80"),
        stderr=theirs,
        stdout=subprocess.PIPE,
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # how a terminal says that the other end is gone
            break
        said += chunk
        if not chunk:
            break
    assert process.stdout is not None
    assert process.stdout.read().startswith(b"packed ")
    assert process.wait() == 0
    assert b"packing" in said
    os.close(ours)


def test_scan_agrees_with_pack(venv: Path, tmp_path: Path) -> None:
    import json

    row = json.loads(fsprobe("scan", str(venv), "--json").stdout)
    said = fsprobe("pack", str(venv), "-o", str(tmp_path / "i")).stdout.decode()
    assert f"{row['n_files']:,} files, {row['n_directories']:,} directories, {row['n_symlinks']:,} symlinks" in said
    assert f"{row['pycs']['n_sources']} .pyc files valid" in said


def test_scan_is_readable_in_80_columns(venv: Path) -> None:
    done = fsprobe("scan", str(venv), "--quota-files", "1000")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert all(len(line) <= 80 or " " not in line[14:] for line in lines)
    assert any(line.startswith("apples") for line in lines)
    assert any("of 1,000 files" in line for line in lines)
    missing = fsprobe("scan", "/nowhere/at/all")
    assert missing.returncode == 3
    assert missing.stderr.decode().splitlines() == [
        "fsprobe: /nowhere/at/all: no such directory",
        "fsprobe: hint: name the environment: the directory that `python -m venv` made",
    ]
