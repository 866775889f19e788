"""No tracer that works: one clear line where it was asked for by name, else the command runs without."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Done, Fsprobe, clean_environment, need, run_plain
from tests.e2e.transparency.faults.command import DENY, assert_one_clear_line, n_missing, work


def put_on_path(tmp_path: Path, text: str | None) -> str:
    """A PATH on which strace is this script, or is not."""
    place = tmp_path / "tools"
    place.mkdir()
    for tool in ("sh", "sleep"):
        (place / tool).symlink_to(shutil.which(tool) or "/bin/sh")
    if text is not None:
        (place / "strace").write_text(text)
        (place / "strace").chmod(0o755)
    return str(place)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no strace on PATH"),
        ("#!/bin/sh\necho strace -- version 4.8\n", "is version 4.8"),
        ("#!/bin/sh\nexit 1\n", "does not run"),
        ("#!/bin/sh\nkill -9 $$\n", "does not run"),
        ("#!/no/such/interpreter\n", "does not run"),
        ("#!/bin/sh\n[ $1 = -V ] && echo strace -- version 6.1\nexit 1\n", "could not trace"),
    ],
)
def test_strace_that_is_of_no_use(run_fsprobe: Fsprobe, tmp_path: Path, text: str | None, says: str) -> None:
    env = clean_environment(PATH=put_on_path(tmp_path, text))
    done = run_fsprobe(work(1), options=("-q", "--backend=strace"), env=env)
    assert_one_clear_line(done, status=125, says=says)
    assert (done.out, run_fsprobe.left()) == (b"", [])


def test_without_strace_another_backend_is_taken(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    done = run_fsprobe(work(50, 7), env=clean_environment(PATH=put_on_path(tmp_path, None)))
    assert (done.status, done.out, done.err) == (7, b"done 3\n", b"")
    assert n_missing(done.recording) == 50


@pytest.mark.parametrize("backend", ["auto", "strace", "ptrace"])
def test_fsprobe_that_is_traced_already(run_fsprobe: Fsprobe, strace_program: str, backend: str) -> None:
    words = run_fsprobe.command(work(1, 7), options=("-q", f"--backend={backend}"))
    done = run_plain([strace_program, "-f", "-qq", "-o", os.devnull, "-e", "trace=none", *words])
    assert_denied(run_fsprobe, done, backend)


def assert_denied(fsprobe: Fsprobe, done: Done, backend: str) -> None:
    """A tracer that was asked for by name is refused before the command starts; `auto` runs the command without one."""
    if backend == "auto":
        assert (done.status, done.out, done.err) == (7, b"done 3\n", b"")
    else:
        assert_one_clear_line(done, status=125, says="")
        assert done.out == b""
    assert fsprobe.left() == []


@pytest.mark.parametrize("backend", ["auto", "strace", "ptrace"])
def test_ptrace_denied_by_a_policy(run_fsprobe: Fsprobe, backend: str) -> None:
    """As in a container: a seccomp filter answers ptrace with EPERM."""
    need(os.uname().machine in ("x86_64", "aarch64"), "the filter is written for two machines")
    words = run_fsprobe.command(work(1, 7), options=("-q", f"--backend={backend}"))
    assert_denied(run_fsprobe, run_plain([sys.executable, "-c", DENY, *words]), backend)
