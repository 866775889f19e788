"""fsprobe's own metadata calls: what the recorder adds to those of the program that it records, on the same filesystems."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fsprobe
from fsprobe import pipeline
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import METADATA_OPS, Call, ParseQuality
from fsprobe.recording.file import Recording
from tests.capture.directories.test_hook_place import own
from tests.conftest import ROOT, clean_environment

__all__ = ["own"]

MOST = {"inline": 270, "audit": 250}
"""Backend -> more than the bare interpreter makes. Of a checkout, where each source is looked at."""
MOST_OF_AN_INSTALLED = 140
"""The same of the command of an installed fsprobe, which takes its code from one file."""
MOST_OF_A_RANK = 64
"""The same of a rank by the line for jobs, of an interpreter whose extension modules are files, and one more for each directory that
the prefix lies in."""

RANK_1 = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}


def own_calls(strace_program: str, log: Path, *words: str, **variables: str) -> int:
    """The metadata calls of the recorder itself, or of another program, without those of what it starts."""
    # strace can't trace a process that is traced already, so the child is left out (no -f)
    subprocess.run(
        [strace_program, "-q", "-o", str(log), "-e", "trace=%file,getdents64", *words],
        check=True,
        env=clean_environment(CI="", **variables),
        capture_output=True,
    )
    events = parse(log.read_bytes().splitlines(keepends=True), ParseQuality())
    calls = [event for event in events if isinstance(event, Call) and event.op in METADATA_OPS]
    # how many limits of memory there are to read is the machine's: one for each level of its cgroups
    return sum(not call.path.startswith(b"/sys/fs/cgroup/") for call in calls)


def recording_words(path: Path, *command: str, backend: str = "inline") -> list[str]:
    options = ["--record-only", "-q", "--backend", backend, "--force", "-o", str(path)]
    return [sys.executable, "-m", "fsprobe", "run", *options, "--", *command]


@pytest.mark.parametrize("backend", MOST)
def test_own_calls_of_the_recorder_are_few(tmp_path: Path, strace_program: str, backend: str) -> None:
    """At most so many more than the same interpreter makes to start; a module that is looked at anew each time costs one."""
    target = [sys.executable, "-I", "-S", "-c", "pass"]
    log, words = tmp_path / "log", recording_words(tmp_path / "x.fsprobe", *target, backend=backend)
    own_calls(strace_program, log, *words)  # byte code and snapshot are there the second time
    n_calls = own_calls(strace_program, log, *words) - own_calls(strace_program, log, sys.executable, "-c", "pass")
    assert 100 < n_calls <= MOST[backend], n_calls


def test_own_calls_of_the_installed_command(tmp_path: Path, strace_program: str) -> None:
    package = Path(fsprobe.__file__).parent
    shutil.copytree(package, tmp_path / "site" / "fsprobe", ignore=shutil.ignore_patterns("__pycache__"))
    info = tmp_path / "site" / f"fsprobe-{fsprobe.__version__}.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("fsprobe/__init__.py,,\n")
    script = ROOT / "packaging" / "bin" / "fsprobe"
    target = [sys.executable, "-I", "-S", "-c", "pass"]
    words = [sys.executable, str(script), *recording_words(tmp_path / "x.fsprobe", *target)[3:]]
    path = {"PYTHONPATH": str(tmp_path / "site")}
    own_calls(strace_program, tmp_path / "log", *words, **path)
    n_calls = own_calls(strace_program, tmp_path / "log", *words, **path)
    n_calls -= own_calls(strace_program, tmp_path / "log", sys.executable, "-c", "pass", **path)
    assert 60 < n_calls <= MOST_OF_AN_INSTALLED, n_calls


def test_own_calls_of_a_rank_by_the_line_for_jobs(own: Path, tmp_path: Path, strace_program: str) -> None:
    """`python -I -S fsprobe run` out of a prefix that nobody else can write to, as docs/jobs.md has it."""
    site = own / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    shutil.copytree(Path(fsprobe.__file__).parent, site / "fsprobe", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"fsprobe-{fsprobe.__version__}.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("fsprobe/__init__.py,,\n")
    (own / "bin").mkdir()
    own.chmod(0o755)  # root's recorder has to be where every user can read it
    script = shutil.copy(ROOT / "packaging" / "bin" / "fsprobe", own / "bin" / "fsprobe")
    bare = [sys.executable, "-I", "-S", "-c", "pass"]
    words = [
        *bare[:3],
        str(script),
        "run",
        "--record-only",
        "--backend",
        "inline",
        "-o",
        f"{tmp_path}/rec/",
        "--",
        *bare,
    ]
    own_calls(strace_program, tmp_path / "log", *words)  # alone it writes the snapshot, a rank does not
    rank = {"SLURM_JOB_ID": "1", "SLURM_LOCALID": "1", **RANK_1}
    own_calls(strace_program, tmp_path / "log", *words, **rank)
    n_calls = own_calls(strace_program, tmp_path / "log", *words, **rank)
    n_calls -= own_calls(strace_program, tmp_path / "bare.log", *bare)
    assert 45 < n_calls <= MOST_OF_A_RANK + len(own.parts), n_calls


@pytest.mark.parametrize("job", [RANK_1, {}], ids=["rank 1", "no rank"])
def test_own_calls_of_a_rank_do_not_grow_with_the_environment(
    tmp_path: Path, strace_program: str, job: dict[str, str]
) -> None:
    """What owns a name that is no distribution's is told by who reads a rank's recording, else by the run itself."""
    n_calls = {}
    for n in (5, 60):
        site = tmp_path / f"env{n:02}" / "lib" / "python3" / "site-packages"
        (site / "odd_name").mkdir(parents=True)
        (site / "odd_name" / "__init__.py").touch()
        for number in range(n):
            info = site / f"planted_{number:02}-1.0.dist-info"
            info.mkdir()
            (info / "RECORD").write_text("odd_name/__init__.py,,\n" if number == n - 1 else "other/x.py,,\n")
        code = f"import sys; sys.path.insert(0, {str(site)!r}); import odd_name"
        words = recording_words(tmp_path / f"x{n:02}.fsprobe", sys.executable, "-I", "-S", "-B", "-c", code)
        own_calls(strace_program, tmp_path / "log", *words, **job)
        n_calls[n] = own_calls(strace_program, tmp_path / "log", *words, **job)
        (recording,) = tmp_path.glob(f"x{n:02}*.fsprobe")
        assert ("undecided" in json.loads(Recording(str(recording)).whole("lookups"))) == bool(job)
        owners = {row.key for row in pipeline.analyse(recording).metrics.by_package}
        assert f"planted-{n - 1:02}" in owners, owners
        assert "odd_name" not in owners
    # RECORD of each, and that there is no top_level.txt
    assert n_calls[60] - n_calls[5] == (0 if job else 55 * 2)
