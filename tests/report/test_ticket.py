"""The ticket's texts and archive, from hand-built values."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fsprobe import capabilities
from fsprobe.errors import FsprobeError
from fsprobe.model.comparison import Comparison, LayoutRow
from fsprobe.model.manifest import PythonFacts
from fsprobe.report.ticket import archive, bundle, reproducer
from tests.report.profiles import changed, comparison, hand_built

ENVIRONMENT = {
    "path": "/env",
    "n_files": 11_128,
    "n_directories": 1_094,
    "n_symlinks": 4,
    "n_bytes": 1_000_000,
    "n_packages": 5,
    "python": "3.11.7",
    "misfits": [],
}


def item(**manifest: Any) -> reproducer.Item:
    changes = {f"manifest__{name}": value for name, value in manifest.items()}
    return reproducer.Item(name="01", file="slow.fsprobe", value=changed(hand_built(), **changes))


def answers(one: reproducer.Item, environment: dict[str, Any] | None = None) -> dict[str, str]:
    return dict(bundle.answers(one.value, environment))


def test_every_question_of_a_support_desk_has_an_answer() -> None:
    job = {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "3",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_JOB_PARTITION": "small",
        "SLURM_CLUSTER_NAME": "c1",
    }
    python = PythonFacts(version="3.11.7", prefix="/project/env")
    told = answers(item(job=job, python=python), {**ENVIRONMENT, "path": "/project/env"})
    assert told["What"] == "python -c 'import big'"
    assert told["Where"] == "node1, cluster c1, partition small, /work"
    assert told["When"] == "2023-11-14 22:13:20 UTC"
    assert told["Wall time, traced"] == "1.5 s"
    assert told["Cache, cold or warm"] == "cold"
    assert told["Nodes x ranks"] == "2 x 8 (this is rank 3)"
    assert told["Job"] == "77"
    assert told["Filesystem"].startswith("/project (lustre, network): ")
    assert told["Filesystem"].endswith("the environment is on /project (lustre)")
    assert told["Environment"] == "/project/env, 11,128 files"


def test_what_was_not_observed_says_so() -> None:
    told = answers(item(cache="unknown", wall_s=None, started_s=None, host="", python=None, command=None, cwd=""))
    for label in ("What", "Where", "When", "Wall time, traced", "Cache, cold or warm"):
        assert told[label] == "not observed", label
    assert told["Environment"] == "not observed; files not counted (--env)"
    assert told["Nodes x ranks"] == "no job that fsprobe knows: one process was started"


def test_a_batch_script_is_no_rank() -> None:
    told = answers(item(job={"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NTASKS": "16", "SLURM_PROCID": "0"}))
    assert told["Nodes x ranks"] == "2 x 16 (this is the batch script, or outside of its ranks)"


def test_the_summary_holds_verdict_findings_tables_and_what_is_left_out() -> None:
    profile = hand_built()
    one = reproducer.Item(name="01", file="a|b`.fsprobe", value=profile)
    text = bundle.summary([one], ENVIRONMENT, is_redacted=False)
    for wanted in (
        "11,128",
        "### Findings",
        "### Packages",
        "### Mounts",
        "## What this ticket leaves out",
        "None: names",
    ):
        assert wanted in text
    assert profile.findings
    for finding in profile.findings:
        assert finding.code in text
    assert "a&#124;b&#96;" in text
    redacted = bundle.summary([one], None, is_redacted=True)
    assert all(line in redacted for line in bundle.REDACTED)


def test_a_hostile_name_stays_in_its_cell() -> None:
    evil = "x | y\n## <script>alert(1)</script> @all"
    text = bundle.summary(
        [item(cwd=evil, host=evil, command=(evil,))], {**ENVIRONMENT, "path": evil}, is_redacted=False
    )
    assert not any(line.startswith("## <script>") for line in text.split("\n"))
    rows = [line for line in text.split("\n") if line.startswith("| Where |")]
    assert len(rows) == 1
    assert "@all" not in rows[0]


def run_script(script: str, place: Path) -> list[str]:
    """Run a reproducer with `fsprobe`, `srun` and `mpirun` that only note how they were called."""
    tools = place / "bin"
    tools.mkdir()
    for name in ("fsprobe", "srun", "mpirun"):
        tool = tools / name
        tool.write_text(
            f'#!/bin/sh\n{{ printf "%s" {name}; printf " [%s]" "$@"; echo; pwd; echo "$PYTHONPATH"; }} >> {place}/calls\n'
        )
        tool.chmod(0o755)
    path = place / "reproduce.sh"
    path.write_bytes(script.encode("utf-8", "surrogateescape"))
    done = subprocess.run(
        ["bash", str(path)],
        cwd=place,
        env={"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "syntax error" not in done.stderr
    return (place / "calls").read_text().split("\n")[:-1]


def test_the_reproducer_calls_the_very_command(tmp_path: Path) -> None:
    place = tmp_path / "it's here; $(false)"
    place.mkdir()
    command = ["true", "a b", "it's", "$HOME", "`x`", "line\nbreak", ""]
    one = item(
        command=tuple(command),
        cwd=str(place),
        environment={"PYTHONPATH": "/p q:/r", "APPTAINER_NAME": "x\ny"},
        ranks="0,3",
    )
    told = "\n".join(run_script(reproducer.reproducer([one], is_redacted=False), tmp_path))
    words = ["run", "-o", "01-again.fsprobe", "--ranks", "0,3", "--", *command]
    assert told == "fsprobe" + "".join(f" [{word}]" for word in words) + f"\n{place}\n/p q:/r"


def test_the_reproducer_makes_a_copy_again_that_is_gone(tmp_path: Path) -> None:
    plain = replace(comparison().rows[0], layout="plain", kind="plain")
    made = replace(
        plain, layout="flash", kind="copy", where="/flash/me/env-fsprobe-31578d50a4ed88d3/copy", is_made=True
    )
    there = replace(plain, layout="other", kind="copy", where="/scratch/me/env")
    value = replace(comparison(), environment="/project/env", rows=(plain, made, there))
    one = reproducer.Item(name="01", file="layouts.fsprobe", value=value)
    told = run_script(reproducer.reproducer([one], is_redacted=False), tmp_path)[0]
    assert told.startswith(
        "fsprobe [compare] [--env] [/project/env] [--flash] [/flash/me] [--layout] [other=/scratch/me/env] [--runs]"
    )


def test_the_reproducer_of_a_rank_starts_all_ranks(tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}
    calls = run_script(
        reproducer.reproducer([item(cwd=str(tmp_path), command=("true",), job=job)], is_redacted=True), tmp_path
    )
    assert calls[0] == "srun [--nodes=2] [--ntasks=4] [true]"
    assert calls[3] == "srun [--nodes=2] [--ntasks=4] [fsprobe] [run] [-o] [01-again.fsprobe] [--] [true]"


def test_the_reproducer_sees_no_more_than_the_recording_shows() -> None:
    some = (capabilities.RESULTS,)
    script = reproducer.reproducer([item(command=("true",), backend="audit", capabilities=some)], is_redacted=False)
    assert "fsprobe run -o 01-again.fsprobe --backend audit -- true\n" in script


def test_the_reproducer_of_what_is_not_known_does_nothing() -> None:
    script = reproducer.reproducer([item(command=None)], is_redacted=False)
    assert subprocess.run(["bash", "-c", script], check=False, timeout=30).returncode == 0
    assert "fsprobe run" not in script


def test_the_reproducer_of_a_comparison() -> None:
    kinds = (("plain", "plain", "cold"), ("flash", "copy", "warm"), ("squashfs", "squashfs", "warm"))
    comparison = Comparison(
        baseline="plain",
        environment="/my env",
        command=("env/bin/python", "x y"),
        n_runs=5,
        make_cold="",
        rows=tuple(
            LayoutRow(layout=label, kind=kind, where="/w", fstype="ext4", cache=cache) for label, kind, cache in kinds
        ),
    )
    script = reproducer.reproducer([reproducer.Item(name="02", file="", value=comparison)], is_redacted=False)
    (line,) = [line for line in script.split("\n") if line.startswith("fsprobe")]
    assert shlex.split(line) == [
        *[
            "fsprobe",
            "compare",
            "--env",
            "/my env",
            "--layout",
            "flash=/w",
            "--squashfs",
            "--runs",
            "5",
            "--cache",
            "both",
        ],
        *["-o", "02-again.fsprobe", "--", "env/bin/python", "x y"],
    ]


# -- the archive --------------------------------------------------------------------------------------------------------


def entries(place: Path) -> list[archive.Entry]:
    big = place / "big"
    big.write_bytes(os.urandom(3) * 1_000_000)
    return [
        archive.Entry(name="summary.md", body=b"# x\n"),
        archive.Entry(name="reproduce.sh", body=b"#!/bin/sh\n", is_program=True),
        archive.Entry(name="recordings/01.fsprobe", body=big),
    ]


def test_the_archive_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    given = entries(tmp_path)
    archive.write(str(tmp_path / "a.zip"), given)
    os.utime(tmp_path / "big", (1, 1))
    archive.write(str(tmp_path / "b.zip"), given)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["summary.md", "reproduce.sh", "recordings/01.fsprobe", "SHA256SUMS"]
        assert {info.date_time for info in opened.infolist()} == {archive.EPOCH}
        assert [info.external_attr >> 16 for info in opened.infolist()] == [0o100644, 0o100755, 0o100644, 0o100644]
        for line in opened.read(archive.SUMS).decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256(opened.read(name)).hexdigest() == digest


def test_sha256sum_agrees(tmp_path: Path) -> None:
    archive.write(str(tmp_path / "a.zip"), entries(tmp_path))
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        opened.extractall(tmp_path / "out")
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", archive.SUMS], cwd=tmp_path / "out", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.count(b": OK")) == (0, 3)


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FsprobeError, match="cannot write"):
        archive.write(str(tmp_path / "no" / "a.zip"), entries(tmp_path))
    missing = archive.Entry(name="x", body=tmp_path / "gone")
    with pytest.raises(FsprobeError, match="cannot write"):
        archive.write(str(tmp_path / "a.zip"), [missing])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big"]
