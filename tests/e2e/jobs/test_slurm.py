"""Real jobs: a Slurm of two nodes, and MPI's own launchers."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fsprobe import pipeline
from fsprobe.model.rows import Counts
from tests import slurm
from tests.analysis.findings.evidence import LOCAL, LUSTRE, fact, found, make
from tests.conftest import FSPROBE, clean_environment, need, run_plain
from tests.job_recordings import cut, merge, profile

PROGRAM = "import json, csv, http.client"
SUMMED = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found", "n_metadata")
WIDE = ("-N2", "-n8", "--ntasks-per-node=4")


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[slurm.Slurm]:
    reason = slurm.why_not()
    if reason and os.getuid():
        pytest.skip(reason)
    need(not reason, reason)
    with slurm.running() as started:
        yield started


def record(place: Path, *options: str) -> list[str]:
    scratch = place.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return [
        *FSPROBE,
        "run",
        "-q",
        "--record-only",
        "--tmp-dir",
        str(scratch),
        "--force",
        "-o",
        f"{place}/",
        *options,
        "--",
    ]


def check_sum(output: Path, place: Path) -> dict[str, object]:
    """The job's numbers are the sum of what each recording alone says; returns its section `job`."""
    made = profile(output)
    metrics, section = made["metrics"], made["job"]
    assert isinstance(metrics, dict)
    assert isinstance(section, dict)
    alone = [pipeline.analyse(file).metrics for file in place.glob("*.fsprobe")]
    assert {name: metrics[name] for name in SUMMED} == {
        name: sum(getattr(one, name) for one in alone) for name in SUMMED
    }
    return section


def test_all_ranks_of_a_job(cluster: slurm.Slurm, tmp_path: Path) -> None:
    place, output = tmp_path / "ranks", tmp_path / "job.fsprobe"
    status, _, err = cluster.run([*record(place), sys.executable, "-c", PROGRAM], *WIDE)
    assert (status, err) == (0, b"")
    done = merge(str(place), "-o", str(output))
    assert done.status == 0
    assert b"8 ranks on 2 nodes" in done.out
    section = check_sum(output, place)
    assert [row["rank"] for row in section["ranks"]] == list(range(8))  # type: ignore[attr-defined]
    assert [(row["key"], row["n_recordings"]) for row in section["nodes"]] == [("n1", 4), ("n2", 4)]  # type: ignore[attr-defined]
    assert section["absent"] == {"ranks": [], "n": 0}
    assert os.listdir(tmp_path / "scratch") == []


def test_one_rank_per_node(cluster: slurm.Slurm, tmp_path: Path) -> None:
    place, output = tmp_path / "ranks", tmp_path / "job.fsprobe"
    code = "import os; print(os.environ['SLURM_PROCID'], open('/proc/self/status').read().split('TracerPid:')[1].split()[0] != '0')"
    status, out, err = cluster.run([*record(place, "--ranks", "one-per-node"), sys.executable, "-c", code], *WIDE)
    assert (status, err) == (0, b"")
    assert sorted(out.splitlines()) == [b"%d %s" % (n, b"True" if n in (0, 4) else b"False") for n in range(8)]
    done = merge(str(place), "-o", str(output))
    assert b"2 of 8 ranks on 2 nodes" in done.out
    section = check_sum(output, place)
    scaled = section["scaled"]
    assert isinstance(scaled, dict)
    assert scaled["metrics"]["n_metadata"] == 4 * sum(row["n_metadata"] for row in section["ranks"])  # type: ignore[attr-defined]


def test_ranks_that_end_badly_are_named(cluster: slurm.Slurm, tmp_path: Path) -> None:
    place, output = tmp_path / "ranks", tmp_path / "job.fsprobe"
    words = shlex.join([*record(place), sys.executable, "-c"])
    script = f"""case $SLURM_PROCID in
    1) exit 0;;
    2) {words} 'import os; os.kill(os.getpid(), 9)';;
    3) {words} 'raise SystemExit(3)';;
    *) {words} '{PROGRAM}';;
    esac"""
    cluster.run(["sh", "-c", script], *WIDE, "--kill-on-bad-exit=0")
    (file,) = place.glob("*rank0005*")
    cut(file)
    done = merge(str(place), "-o", str(output))
    assert done.status == 0
    assert file.name.encode() in done.err
    for words_said in (b"1, 5", b"rank 2 (SIGKILL)", b"rank 3 (exit code 3)", b"1 file left out"):
        assert words_said in done.out, done.out
    section = profile(output)["job"]
    assert isinstance(section, dict)
    assert [row["rank"] for row in section["ranks"]] == [0, 2, 3, 4, 6, 7]
    assert section["absent"] == {"ranks": [1, 5], "n": 2}


def test_a_cancelled_job_leaves_its_recordings(cluster: slurm.Slurm, tmp_path: Path) -> None:
    # rank 0 ends when it is asked to; rank 1 does not, and is killed with everything around it
    place = tmp_path / "ranks"
    code = (
        "import os, signal, sys, time\n"
        "if os.environ['SLURM_PROCID'] == '1': signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "import json; print('up', flush=True); time.sleep(90)"
    )
    process = cluster.popen([*record(place), sys.executable, "-c", code], "-N2", "-n2", "--job-name=cancelled")
    assert process.stdout is not None
    assert [process.stdout.readline(), process.stdout.readline()] == [b"up\n", b"up\n"]
    subprocess.run(["scancel", "--name=cancelled"], env=cluster.environment, check=True)
    process.communicate(timeout=60)
    end = time.monotonic() + 20
    while len(list(place.glob("*.fsprobe"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    done = merge(str(place), "-o", str(tmp_path / "job.fsprobe"))
    section = check_sum(tmp_path / "job.fsprobe", place)
    assert [row["signal"] for row in section["ranks"]] == [15, None]  # type: ignore[attr-defined]
    assert section["incomplete"] == ["rank 1"], done.out


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with rich and Jinja in it, as pip installs them, compiled."""
    place = tmp_path_factory.mktemp("jobs") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, env=clean_environment())
    python = place / "bin" / "python"
    words = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "rich", "jinja2"]
    done = subprocess.run(words, capture_output=True, check=False, env=clean_environment())
    if done.returncode:
        pytest.skip(f"pip reaches no registry: {done.stderr.decode('utf-8', 'replace')[-200:]}")
    return place


def test_an_image_over_the_environment(cluster: slurm.Slurm, venv: Path, tmp_path: Path) -> None:
    need(shutil.which("mksquashfs"), "no mksquashfs here")
    image = tmp_path / "venv.sqsh"
    packed = run_plain([*FSPROBE, "pack", str(venv), "-o", str(image)])
    assert packed.status == 0, packed.err
    code = "import rich.console, rich.table, jinja2; print(jinja2.__file__)"
    jobs: dict[str, dict[str, Any]] = {}
    for name in ("plain", "image"):
        place, output = tmp_path / name, tmp_path / f"{name}.fsprobe"
        words = [*record(place), str(venv / "bin" / "python"), "-c", code]
        if name == "image":
            words = [*FSPROBE, "exec", "--image", str(image), "--at", str(venv), *words]
        status, out, err = cluster.run(words, *WIDE)
        assert status == 0, err
        # its paths are the same in both
        assert set(out.splitlines()) == {os.fsencode(next(venv.rglob("jinja2/__init__.py")))}
        assert merge(str(place), "--force", "-o", str(output)).status == 0
        section = check_sum(output, place)
        assert section["absent"] == {"ranks": [], "n": 0}
        jobs[name] = dict(profile(output))
    environment = str(venv)
    mounts = {name: {row["key"]: row for row in made["metrics"]["by_mount"]} for name, made in jobs.items()}
    assert environment not in mounts["plain"]
    assert mounts["image"][environment]["fs_class"] == "image"
    compared = run_plain([*FSPROBE, "compare", str(tmp_path / "plain.fsprobe"), str(tmp_path / "image.fsprobe")])
    said = compared.out.decode()
    assert compared.status == 0, said
    n_calls = jobs["plain"]["metrics"]["n_metadata"]
    assert f"The ranks of both jobs made the same {n_calls:,} metadata calls." in said
    as_json = run_plain(
        [*FSPROBE, "compare", "--json", str(tmp_path / "plain.fsprobe"), str(tmp_path / "image.fsprobe")]
    )
    found = json.loads(as_json.out)["jobs"]
    assert found["same_calls"] is True
    requests = found["requests"]
    # what was asked for the environment is asked of the image now, by each node for itself, and of no file server
    by_mount = {row["key"]: row["n_metadata"] for row in jobs["image"]["requests"]["by_mount"]}
    asked_of_image = by_mount[environment]
    assert requests["baseline"] - requests["other"] >= asked_of_image
    assert asked_of_image > 8 * 100  # an open of each module by each rank
    assert requests["ratio"] < 0.75
    before, become = f"{requests['baseline']:,} ", f"requests (cold cache) become {requests['other']:,}: "
    assert any(line.startswith(before) and become in line for line in said.splitlines())


_STARTER = """#!/bin/bash
# what a container's starter does with `exec -B IMAGE:PATH:image-src=/ CONTAINER COMMAND...`, without a container
IFS=: read -r image place _ <<< "$3"
shift 4
exec {fsprobe} exec --image "$image" --at "$place" -- "$@"
"""


def test_an_image_is_sent_to_the_nodes_by_each_job(cluster: slurm.Slurm, tmp_path: Path) -> None:
    need(shutil.which("mksquashfs"), "no mksquashfs here")
    env, local = tmp_path / f"venv{os.getpid()}", Path(f"/tmp/venv{os.getpid()}.sqsh")
    (env / "lib").mkdir(parents=True)
    (env / "lib" / "word").write_text("packed")
    starter = tmp_path / "singularity"
    starter.write_text(_STARTER.format(fsprobe=shlex.join(FSPROBE)))
    starter.chmod(0o755)
    finding = found(
        make(
            {os.fsencode(env / "lib" / str(n)): Counts(n_open=1) for n in range(500)},
            facts=[fact(str(env))],
            job={"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_JOB_NUM_NODES": "2"},
            mounts=[LOCAL, replace(LUSTRE, path=os.fsencode(tmp_path))],
            manifest={"command": ("cat", str(env / "lib" / "word"))},
        )
    )["FSP018"]
    pack, *lines = finding.commands
    assert lines[0].startswith("sbcast ")
    assert run_plain(["bash", "-c", pack]).status == 0
    (env / "lib" / "word").write_text("in the directory")
    path = f"{tmp_path}:{os.environ['PATH']}"
    try:
        # the second job finds the image of the first
        for _ in range(2):
            words = ["salloc", "-N2", "-n2", "bash", "-e", "-c", "\n".join(lines)]
            done = subprocess.run(
                words,
                env={**cluster.environment, "PATH": path, "SIF": "none"},
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stdout) == (0, b"packed" * 2), done.stderr
    finally:
        local.unlink(missing_ok=True)


@pytest.mark.parametrize("launcher", ["mpirun.mpich", "mpirun.openmpi"])
def test_mpi_launchers(launcher: str, tmp_path: Path, strace_program: str) -> None:
    need(shutil.which(launcher), f"no {launcher} here (apt: mpich openmpi-bin)")
    place, output = tmp_path / "ranks", tmp_path / "job.fsprobe"
    options = ["-n", "4"]
    if launcher.endswith("openmpi"):
        options += ["--oversubscribe", *(["--allow-run-as-root"] if os.getuid() == 0 else [])]
    for selection, traced in (("all", [0, 1, 2, 3]), ("one-per-node", [0]), ("1-2", [1, 2])):
        words = [launcher, *options, *record(place, "--ranks", selection), sys.executable, "-c", PROGRAM]
        done = subprocess.run(words, env=clean_environment(), capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert merge(str(place), "--force", "-o", str(output)).status == 0
        section = check_sum(output, place)
        assert [row["rank"] for row in section["ranks"]] == traced  # type: ignore[attr-defined]
        assert (section["n_ranks"], section["n_nodes"], section["absent"]["n"]) == (4, 1, 0)  # type: ignore[index]
        shutil.rmtree(place)
