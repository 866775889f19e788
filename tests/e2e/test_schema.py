"""What fsprobe prints as JSON is as docs/schema says, its groupings sum to its totals, and it is read back to the same value."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.model.serial import from_json, to_json
from tests.conftest import FSPROBE, clean_environment, need, run_plain
from tests.job_recordings import merge, run_rank
from tests.model.test_schema import validator

PROGRAM = "import json, subprocess, os\nsubprocess.run(['cat', '/dev/null'])\nos.path.exists('/nowhere')\nprint(1)"
CALLS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found", "n_metadata")


def fsprobe(*words: object, status: int = 0) -> bytes:
    done = run_plain([*FSPROBE, *map(str, words)], env=clean_environment())
    assert done.status == status, done.err
    return done.out


def shown(path: Path, kind: str) -> dict[str, Any]:
    """The JSON report, checked."""
    found: dict[str, Any] = json.loads(fsprobe("report", path, "--format", "json"))
    validator(kind).validate(found)
    cls = Comparison if kind == "comparison" else Profile
    assert to_json(from_json(cls, found)) == found
    if cls is Profile:
        check_groupings(found)
    return found


def check_groupings(profile: dict[str, Any]) -> None:
    metrics = profile["metrics"]
    for name in CALLS:
        for table in ("by_phase", "by_package", "by_mount", "by_process", "by_path", "by_module"):
            if metrics[table] is not None:
                assert sum(row[name] for row in metrics[table]) == metrics[name], (table, name)
    assert sum(row["n"] for row in metrics["not_found"]) == metrics["n_not_found"]
    assert sum(metrics["processes"].values()) == metrics["n_processes"]
    assert sum(sum(row["by_phase"].values()) for row in metrics["timeline"]) in (0, metrics["n_metadata"])
    requests = profile["requests"]
    if requests is None:
        return
    for name in ("lookup", "negative", "open", "opendir", "readdir", "readlink", "n_metadata"):
        total = requests["at_servers"][name]
        served = [row for row in requests["by_mount"] if row["fs_class"] not in ("image", "memory", "pseudo")]
        tables = [served, requests["by_package"], *([] if profile["kind"] == "job" else [requests["by_module"]])]
        for rows in tables:
            assert sum(row[name] for row in rows) == total, name
        if profile["kind"] == "job":
            assert sum(node["requests"][name] for node in profile["job"]["nodes"]) == total


@pytest.mark.parametrize(
    "options",
    [(), ("--no-markers",), ("--markers", "access"), ("--backend", "ptrace"), ("--backend", "audit"), ("--stream",)],
)
def test_a_run(options: tuple[str, ...], tmp_path: Path, strace_program: str) -> None:
    path = tmp_path / "x.fsprobe"
    fsprobe("run", "-q", "--record-only", "--force", "-o", path, *options, "--", sys.executable, "-c", PROGRAM)
    profile = shown(path, "recording")
    assert profile["format"] == 2
    assert profile["metrics"]["n_metadata"] > 50
    assert profile["manifest"]["capabilities"]
    if "audit" not in options:
        assert profile["metrics"]["processes"] == {"python": 1, "program": 1}


def test_attach(tmp_path: Path, strace_program: str) -> None:
    program = "import os, time\nfor i in range(400): os.path.exists(f'/nowhere/{i}'); time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            words = ["attach", str(process.pid), "--for", "0.5", "--force", "-o", str(tmp_path / "x.fsprobe")]
            done = run_plain([*FSPROBE, *words], env=clean_environment())
        finally:
            process.terminate()
    need(done.status != 4, f"attaching is not possible here: {done.err.decode()}")
    assert done.status == 0, done.err
    assert shown(tmp_path / "x.fsprobe", "recording")["manifest"]["attached"]["pid"] == process.pid


@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_a_job(options: tuple[str, ...], tmp_path: Path, strace_program: str) -> None:
    for number in range(3):
        command = [sys.executable, "-c", PROGRAM]
        done = run_rank(tmp_path / "ranks", number, command, size=4, per_node=2, options=options)
        assert done.status == 0, done.err
    done = merge(str(tmp_path / "ranks"), "-o", str(tmp_path / "job.fsprobe"))
    assert done.status == 0, done.err
    profile = shown(tmp_path / "job.fsprobe", "job")
    assert profile["metrics"]["processes"] == {"python": 3, "program": 3}
    assert profile["job"]["absent"] == {"ranks": [3], "n": 1}


def test_a_comparison_of_layouts(tmp_path: Path, strace_program: str) -> None:
    env, path = tmp_path / "env", tmp_path / "c.fsprobe"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    (tmp_path / "flash").mkdir()
    words = ["compare", "--env", env, "--flash", tmp_path / "flash", "--runs", 5, "-o", path, "--json"]
    printed = json.loads(fsprobe(*words, "--", "python", "-c", "import json"))
    validator("comparison").validate(printed)
    assert shown(path, "comparison") == printed
    again = json.loads(fsprobe("whatif", path, "--json"))
    validator("whatif").validate(again)


def test_a_comparison_of_recordings_and_a_check(tmp_path: Path, strace_program: str) -> None:
    for name in ("a", "b"):
        words = ["run", "-q", "--record-only", "--force", "-o", tmp_path / name, "--", sys.executable, "-c", PROGRAM]
        fsprobe(*words)
    validator("comparison").validate(json.loads(fsprobe("compare", tmp_path / "a", tmp_path / "b", "--json")))
    for most, status in ((1, 1), (10**6, 0)):
        words = ["check", tmp_path / "a", "--max-metadata", most, "--max-requests", most, "--format", "json"]
        validator("check").validate(json.loads(fsprobe(*words, status=status)))


def test_jobs_compared_and_files_of_format_1(tmp_path: Path) -> None:
    place = Path(__file__).parents[1] / "data" / "format1"
    jobs = [place / "job.fsprobe", place / "job2.fsprobe"]
    validator("comparison").validate(json.loads(fsprobe("compare", *jobs, "--json", status=1)))
    for path in sorted(place.rglob("*.fsprobe")):
        kind = path.read_bytes().split(b"\n", 1)[0].split()[2].decode()
        found = json.loads(fsprobe("report", path, "--format", "json"))
        validator(kind).validate(found)
