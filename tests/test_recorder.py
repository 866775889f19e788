"""The recorder that travels: one file, on every interpreter, in a root that holds next to nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import click
import pytest

import fsprobe
from fsprobe import pipeline
from fsprobe.capture import shipped
from fsprobe.capture.backends.inline import library
from fsprobe.capture.backends.ptrace.entry import why_not
from fsprobe.cli import recorder
from fsprobe.errors import EXIT_NOT_FOUND, EXIT_OWN_FAILURE
from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE, clean_environment, need, run_plain
from tests.job_recordings import rank_variables

PROGRAM = "import json, csv, os; os.path.exists('/no/such'); print('done')"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recorder") / "fsprobe-rec.pyz"
    recorder.build(file)
    return file


def rows(file: Path) -> Counter[tuple[bytes, str]]:
    """Every path with its calls and those that found nothing, the target's own."""
    tally = pipeline.read(file).tally
    return Counter({(path, "not found"): row.counts.n_not_found for path, row in tally.by_path.items()}) + Counter(
        {(path, "all"): row.counts.n_metadata for path, row in tally.by_path.items()}
    )


def need_ptrace() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("backend", ["strace", "ptrace", "inline"])
def test_every_interpreter_records_what_fsprobe_records(
    archive: Path, tmp_path: Path, interpreter: str, backend: str, strace_program: str
) -> None:
    if backend == "ptrace":
        need_ptrace()
    if backend == "inline":
        need(os.path.exists(shipped.path(library.DATA_FILE)), "the inline recorder is not built")
    command = [interpreter, "-c", PROGRAM]
    run_plain(command, env=clean_environment())  # so that every .pyc is there
    mine, theirs = tmp_path / "mine.fsprobe", tmp_path / "theirs.fsprobe"
    options = ["-q", "--backend", backend]
    done = run_plain(
        [interpreter, str(archive), *options, "--force", "-o", str(mine), "--", *command], env=clean_environment()
    )
    assert (done.status, done.out, done.err) == (0, b"done\n", b"")
    done = run_plain(
        [*FSPROBE, "run", "--record-only", *options, "--force", "-o", str(theirs), "--", *command],
        env=clean_environment(),
    )
    assert done.status == 0
    assert rows(mine) == rows(theirs)
    profile = pipeline.analyse(mine)
    assert profile.manifest.backend == backend
    assert profile.metrics.n_metadata > 0
    assert any(row.key == "json" for row in profile.metrics.by_module)


def test_the_audit_hook_is_found_in_the_archive(archive: Path, tmp_path: Path) -> None:
    done = run_plain(
        [sys.executable, str(archive), "-q", "--backend", "audit", "--force", "-o", str(tmp_path / "x.fsprobe"), "--"]
        + [sys.executable, "-c", PROGRAM],
        env=clean_environment(),
    )
    assert (done.status, done.out, done.err) == (0, b"done\n", b"")
    assert pipeline.analyse(tmp_path / "x.fsprobe").metrics.n_metadata > 0


def test_it_holds_the_recorder_and_nothing_else(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        assert all(info.compress_type == zipfile.ZIP_STORED for info in opened.infolist())
    assert "__main__.py" in names
    assert {
        "fsprobe/capture/record.py",
        "fsprobe/capture/backends/ptrace/tracer.py",
        "fsprobe/capture/hook/sitecustomize.py",
    } <= names
    outside = {
        name
        for name in names
        if name.startswith(("fsprobe/analysis", "fsprobe/report", "fsprobe/events", "fsprobe/layouts"))
    }
    assert outside == set()


def test_what_it_imports_is_in_it_or_in_the_standard_library(archive: Path, tmp_path: Path) -> None:
    # outside of the source tree, without site-packages: every module in it loads
    with zipfile.ZipFile(archive) as opened:
        modules = [name[:-3].replace("/", ".") for name in opened.namelist() if name.endswith(".py")]
    modules = [name.replace(".__init__", "") for name in modules if "hook" not in name and name != "__main__"]
    code = "import sys; sys.path.insert(0, sys.argv[1])\nfor name in sys.argv[2:]: __import__(name)"
    subprocess.run([sys.executable, "-I", "-S", "-c", code, str(archive), *modules], cwd=tmp_path, check=True)


def test_the_same_fsprobe_makes_the_same_file(archive: Path, tmp_path: Path) -> None:
    recorder.build(tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == archive.read_bytes()
    assert os.access(tmp_path / "again.pyz", os.X_OK)
    done = run_plain([*FSPROBE, "recorder", "-o", str(tmp_path / "none" / "x.pyz")])
    assert done.status == 3
    assert b"hint:" in done.err


def test_exit_codes_signals_and_streams(archive: Path, tmp_path: Path, strace_program: str) -> None:
    start = [sys.executable, str(archive), "-q", "--force", "-o", str(tmp_path / "x.fsprobe"), "--"]
    assert run_plain([*start, "sh", "-c", "cat; exit 7"], stdin=b"through").status == 7
    assert run_plain([*start, "sh", "-c", "kill -TERM $$"]).status == -15
    assert run_plain([*start, "/no/such"]).status == EXIT_NOT_FOUND
    assert run_plain([sys.executable, str(archive), "--nonsense", "--", "true"]).status == EXIT_OWN_FAILURE
    assert (
        run_plain([sys.executable, str(archive), "--image", "i", "--at", "/p", "--", "true"]).status == EXIT_OWN_FAILURE
    )
    assert run_plain([sys.executable, str(archive)]).status == EXIT_OWN_FAILURE
    helped = run_plain([sys.executable, str(archive), "--help"])
    assert helped.status == 0
    assert b"--ranks" in helped.out
    assert b"--image" not in helped.out
    # a batch script that says `fsprobe run` needs only its first word changed
    assert run_plain([sys.executable, str(archive), "run", *start[2:], "true"]).status == 0


def test_from_a_relative_name_and_another_directory(archive: Path, tmp_path: Path) -> None:
    need_ptrace()
    shutil.copy(archive, tmp_path / "rec.pyz")
    done = run_plain(
        [
            sys.executable,
            "rec.pyz",
            "-q",
            "--backend",
            "ptrace",
            "--force",
            "-o",
            "x.fsprobe",
            "--",
            sys.executable,
            "-c",
            "import csv",
        ],
        cwd=tmp_path,
    )
    assert (done.status, done.err) == (0, b"")
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["backend"] == "ptrace"


def test_ranks_left_out(archive: Path, tmp_path: Path, strace_program: str) -> None:
    for number in (0, 1):
        done = run_plain(
            [
                sys.executable,
                str(archive),
                "-q",
                "--ranks",
                "1",
                "--force",
                "-o",
                f"{tmp_path}/",
                "--",
                "sh",
                "-c",
                "exit 5",
            ],
            env=clean_environment(**rank_variables(number, size=2, per_node=2)),
        )
        assert done.status == 5
    (file,) = tmp_path.glob("*.fsprobe")
    assert "rank0001" in file.name


@pytest.fixture
def debian_python() -> str:
    """The distribution's own interpreter."""
    need(os.access("/usr/bin/python3", os.X_OK), "no /usr/bin/python3")
    return "/usr/bin/python3"


@pytest.mark.parametrize("with_strace", [True, False])
def test_in_a_root_that_holds_python_and_strace_alone(
    archive: Path, tmp_path: Path, debian_python: str, strace_program: str, with_strace: bool
) -> None:
    bwrap = shutil.which("bwrap")
    need(bwrap, "no bwrap on PATH")
    if not with_strace:
        need_ptrace()
    assert bwrap is not None
    programs = [debian_python, os.path.realpath(debian_python)] + [strace_program] * with_strace
    root = [
        bwrap,
        "--unshare-pid",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--bind",
        str(tmp_path),
        "/out",
    ]
    root += ["--ro-bind", str(archive), "/rec.pyz"]
    for place in [*programs, "/usr/lib", "/usr/lib64", "/lib64", "/etc/ld.so.cache", "/lib"]:
        if os.path.islink(place) and place.startswith("/lib"):
            root += ["--symlink", os.readlink(place), place]
        else:
            root += ["--ro-bind", place, place]
    command = [debian_python, "-c", PROGRAM]
    done = run_plain(
        [*root, "--chdir", "/out", debian_python, "/rec.pyz", "-q", "-o", "/out/x.fsprobe", "--", *command],
        env=clean_environment(),
    )
    assert (done.status, done.out, done.err) == (0, b"done\n", b"")
    recorded = tmp_path / "x.fsprobe"
    manifest = Recording(str(recorded)).manifest
    assert manifest["backend"] == ("strace" if with_strace else "ptrace")
    analysis = pipeline.read(recorded)
    assert analysis.profile.quality.n_unparsed == 0
    # the same program in the same root by the whole of fsprobe, which is bound in with the interpreter of these tests
    prefix = {
        sys.prefix,
        sys.base_prefix,
        str(Path(fsprobe.__file__).parent.parent),
        str(Path(click.__file__).parent.parent),
    }
    whole = list(root)
    for place in sorted(prefix):
        if not place.startswith("/usr"):
            whole += ["--ro-bind", place, place]
    done = run_plain(
        [
            *whole,
            "--chdir",
            "/out",
            *FSPROBE,
            "run",
            "-q",
            "--record-only",
            "--force",
            "-o",
            "/out/y.fsprobe",
            "--",
            *command,
        ],
        env=clean_environment(),
    )
    assert done.status == 0, done.err
    assert rows(recorded) == rows(tmp_path / "y.fsprobe")
