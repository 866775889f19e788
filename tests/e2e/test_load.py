"""fsprobe load: logs made elsewhere, and what they cannot tell."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.model import serial
from fsprobe.model.profile import Profile
from fsprobe.model.rows import Rates

PROGRAM = "import json, subprocess, os; subprocess.run(['true']); os.stat('/'); os.path.exists('/not/there')"


def fsprobe(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fsprobe", *map(str, words)], capture_output=True, text=True)


def trace(strace: str, log: Path, *flags: str, program: str = PROGRAM) -> None:
    subprocess.run(
        [strace, *flags, "-o", str(log), sys.executable, "-I", "-c", program], check=True, capture_output=True
    )


def counts(path: Path) -> dict[str, int]:
    metrics = pipeline.analyse(path).metrics
    return {name: getattr(metrics, name) for name in ("n_open", "n_stat", "n_not_found", "n_list", "n_exec")}


@pytest.mark.parametrize(
    "flags",
    [
        ["-f"],
        ["-f", "-t"],
        ["-f", "-tt", "-T"],
        ["-f", "-r"],
        ["-f", "-ttt", "-T", "-yy"],
        ["-f", "-xx", "-s", "4096"],
        ["-f", "-e", "trace=%file,getdents64"],
    ],
    ids=" ".join,
)
def test_counts_do_not_depend_on_the_flags(flags: list[str], tmp_path: Path, strace_program: str) -> None:
    trace(strace_program, tmp_path / "best", "-f", "-ttt", "-T", "-y")
    trace(strace_program, tmp_path / "log", *flags)
    for name in ("best", "log"):
        done = fsprobe("load", tmp_path / name, "-o", tmp_path / f"{name}.fsprobe")
        assert done.returncode == 0, done.stderr
        assert "not understood" not in done.stderr
    assert counts(tmp_path / "log.fsprobe") == counts(tmp_path / "best.fsprobe")
    assert pipeline.analyse(tmp_path / "log.fsprobe").quality.n_unparsed == 0


def test_a_family_of_logs_is_one_run(tmp_path: Path, strace_program: str) -> None:
    trace(strace_program, tmp_path / "best", "-f", "-ttt", "-T", "-y")
    trace(strace_program, tmp_path / "ff", "-ff", "-ttt")
    logs = sorted(tmp_path.glob("ff.*"))
    assert len(logs) == 2
    assert fsprobe("load", tmp_path / "best", "-o", tmp_path / "best.fsprobe").returncode == 0
    assert fsprobe("load", *logs, "-o", tmp_path / "ff.fsprobe").returncode == 0
    assert counts(tmp_path / "ff.fsprobe") == counts(tmp_path / "best.fsprobe")


def test_what_a_log_cannot_tell_is_not_observed(tmp_path: Path, strace_program: str) -> None:
    trace(strace_program, tmp_path / "log")
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress((tmp_path / "log").read_bytes()))
    done = fsprobe("load", packed, "-o", tmp_path / "x.fsprobe")
    assert "no times, no durations, no process ids: not observed" in done.stderr
    profile = serial.from_json(
        Profile, json.loads(fsprobe("report", tmp_path / "x.fsprobe", "--format", "json").stdout)
    )
    assert profile.manifest.backend == "strace log"
    assert profile.manifest.wall_s is None
    assert profile.metrics.time_s is None
    assert profile.metrics.rates == Rates()
    assert profile.metrics.by_mount[0].fstype is None
    assert profile.quality.n_estimated > 0
    text = fsprobe("report", tmp_path / "x.fsprobe").stdout
    assert "estimate" in text
    assert "None" not in text


def test_the_mounts_of_the_other_machine_can_be_given(tmp_path: Path, strace_program: str) -> None:
    trace(strace_program, tmp_path / "log", "-f", "-y")
    (tmp_path / "mountinfo").write_text("30 1 0:1 / / rw - lustre 10.0.0.1@tcp:/fs rw\n")
    assert (
        fsprobe("load", tmp_path / "log", "--mounts", tmp_path / "mountinfo", "-o", tmp_path / "x.fsprobe").returncode
        == 0
    )
    mounts = pipeline.analyse(tmp_path / "x.fsprobe").metrics.by_mount
    assert {row.fstype for row in mounts} == {"lustre"}


def test_an_empty_path_is_the_programs_own_and_on_the_only_mount(tmp_path: Path, strace_program: str) -> None:
    # as the path hook of an editable install asks for; the log knows of no hook of fsprobe, whose directory it could be
    asks = "; [os.path.exists('') for _ in range(7)]"
    (tmp_path / "mountinfo").write_text("30 1 0:1 / / rw - lustre 10.0.0.1@tcp:/fs rw\n")
    for name, program in (("without", PROGRAM), ("with", PROGRAM + asks)):
        trace(strace_program, tmp_path / name, "-f", "-y", program=program)
        words = ("--mounts", tmp_path / "mountinfo", "-o", tmp_path / f"{name}.fsprobe")
        assert fsprobe("load", tmp_path / name, *words).returncode == 0
    without, with_it = counts(tmp_path / "without.fsprobe"), counts(tmp_path / "with.fsprobe")
    assert with_it["n_stat"] - without["n_stat"] == 7
    assert with_it["n_not_found"] - without["n_not_found"] == 7
    metrics = pipeline.analyse(tmp_path / "with.fsprobe").metrics
    assert [(row.key, row.fstype, row.n_metadata) for row in metrics.by_mount] == [("/", "lustre", metrics.n_metadata)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello\nworld\n", "not a log of strace"),
        (b"\x00\x01\x02", "binary"),
        (b"\x1f\x8bxx", "damaged"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    done = fsprobe("load", tmp_path / "log", "-o", tmp_path / "x.fsprobe")
    assert done.returncode == 3
    assert says in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.fsprobe").exists()


def test_lines_that_are_not_understood_are_shown(tmp_path: Path, strace_program: str) -> None:
    trace(strace_program, tmp_path / "log", "-f", "-ttt", "-T", "-y")
    (tmp_path / "log").write_bytes((tmp_path / "log").read_bytes() + b"what is this?\n" * 3)
    done = fsprobe("load", tmp_path / "log", "-o", tmp_path / "x.fsprobe")
    assert done.returncode == 0
    assert "3 of" in done.stderr
    assert "what is this?" in done.stderr
