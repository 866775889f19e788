"""Savings in requests, counted by a file server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fileserver import Server, serve
from fsprobe.model.finding import Finding
from tests.conftest import ROOT, need
from tests.e2e.findings.runs import evidence_of, findings_of, record, undisturbed

pytestmark = [pytest.mark.usefixtures("strace_program", "_device"), pytest.mark.needs_root]

PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
SMALL = [PYTHON, "-c", "import json, email.message"]


@pytest.fixture
def _device() -> None:
    need(os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK), "the file server needs root and /dev/fuse")


@pytest.fixture
def src(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    return tmp_path / "src"


@pytest.fixture
def mnt(tmp_path: Path) -> Path:
    (tmp_path / "mnt").mkdir()
    return tmp_path / "mnt"


@pytest.fixture
def server(src: Path, mnt: Path) -> Iterator[Server]:
    with serve(src, mnt, meta_ms=0, read_ms=0) as server:
        yield server


def measured(
    server: Server, command: list[str], where: Path, environment: dict[str, str]
) -> tuple[dict[str, Finding], int]:
    """The findings of a cold run, and the metadata requests that the server counted."""

    def measure() -> tuple[Path, int]:
        server.remount()
        before = server.counters()
        file = record(command, where, environment)
        return file, server.metadata_since(before)

    file, n_requests = undisturbed(measure)
    return findings_of(evidence_of(file)), n_requests


def check(code: str, before: tuple[dict[str, Finding], int], after: tuple[dict[str, Finding], int]) -> None:
    saved = before[0][code].saves["requests"]
    assert saved > 0
    assert saved == pytest.approx(before[1] - after[1], rel=0.02)
    assert code not in after[0]


def test_dead_entries(server: Server, mnt: Path, tmp_path: Path) -> None:
    paths = {"PYTHONPATH": ":".join(str(mnt / f"gone{n}") for n in range(6))}
    check("FSP002", measured(server, SMALL, tmp_path, paths), measured(server, SMALL, tmp_path, {}))


def test_unused_entries(server: Server, src: Path, mnt: Path, tmp_path: Path) -> None:
    for n in range(4):
        (src / f"empty{n}").mkdir()
    paths = {"PYTHONPATH": ":".join(str(mnt / f"empty{n}") for n in range(4))}
    check("FSP004", measured(server, SMALL, tmp_path, paths), measured(server, SMALL, tmp_path, {}))


def test_library_path(server: Server, mnt: Path, tmp_path: Path) -> None:
    paths = {"LD_LIBRARY_PATH": ":".join(str(mnt / f"lib{n}") for n in range(10))}
    check("FSP003", measured(server, SMALL, tmp_path, paths), measured(server, SMALL, tmp_path, {}))


def test_user_site(server: Server, src: Path, mnt: Path, tmp_path: Path) -> None:
    (src / "home" / ".local" / "lib" / f"python{VERSION}" / "site-packages").mkdir(parents=True)
    # the recorder looks for a place of its own, below HOME unless XDG_CACHE_HOME is set: both runs would ask for it
    home = {"HOME": str(mnt / "home"), "XDG_CACHE_HOME": str(Path.home() / ".cache")}
    before = measured(server, SMALL, tmp_path, {**home, "PYTHONNOUSERSITE": ""})
    after = measured(server, SMALL, tmp_path, home)
    check("FSP005", before, after)


def test_an_environment_in_an_image(server: Server, src: Path, mnt: Path, tmp_path: Path) -> None:
    need(shutil.which("mksquashfs"), "no mksquashfs on PATH")
    venv = mnt / "venv"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    for package in ("one", "two", "three", "four"):
        (site / package).mkdir()
        (site / package / "__init__.py").write_text("".join(f"from . import m{n}\n" for n in range(50)))
        for n in range(50):
            (site / package / f"m{n}.py").write_text(f"x = {n}\n")
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(site)], check=True)
    shutil.copytree(tmp_path / "venv", src / "venv", symlinks=True)
    image = src / "venv.sqsh"
    subprocess.run(
        ["mksquashfs", str(src / "venv"), str(image), "-quiet", "-no-progress"], check=True, stdout=subprocess.DEVNULL
    )
    command = [str(venv / "bin" / "python"), "-c", "import one, two, three, four"]
    before = measured(server, command, tmp_path, {})
    saved = before[0]["FSP001"].saves["requests"]

    start = [
        sys.executable,
        "-m",
        "fsprobe",
        "exec",
        "--image",
        str(mnt / "venv.sqsh"),
        "--at",
        str(venv),
        "--",
        *command,
    ]

    def measure_in_image() -> int:
        server.remount()
        earlier = server.counters()
        done = subprocess.run(start, capture_output=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr.decode()
        return server.metadata_since(earlier)

    assert saved == pytest.approx(before[1] - undisturbed(measure_in_image), rel=0.02)
