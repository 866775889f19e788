"""fsprobe whatif, and its formula against a file server that counts: nodes are mounts, processes share a node's cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.fileserver import serve
from fsprobe import pipeline
from fsprobe.analysis import whatif
from tests.layouts.environments import clean_environment, fsprobe, fsprobe_environment, make_venv, need

CODE = "import pears"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_venv(tmp_path_factory.mktemp("whatif") / "venv")


@pytest.fixture(scope="module")
def recording(env: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("strace")
    file = tmp_path_factory.mktemp("recording") / "x.fsprobe"
    python = str(env / "bin" / "python")
    done = fsprobe("run", "--record-only", "-q", "--force", "-o", str(file), "--", python, "-c", CODE, cwd="/")
    assert done.returncode == 0, done.stderr
    return file


def test_a_recording_as_it_is_and_as_one_file(recording: Path) -> None:
    done = fsprobe("whatif", str(recording), "--nodes", "64", "--ranks-per-node", "128", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    rows = {(row["layout"], row["latency"]): row for row in result["rows"]}
    assert {layout for layout, _ in rows} == {"plain", "squashfs"}
    plain = rows["plain", "Lustre, quiet"]
    analysis = pipeline.read(recording)
    assert analysis.requests is not None
    assert analysis.profile.manifest.python is not None
    prefix = analysis.profile.manifest.python.prefix
    assert prefix is not None
    environment = analysis.requests.environment(os.fsencode(prefix))
    shared = environment.lookup + environment.readdir + environment.readlink
    opened = environment.open + environment.opendir
    assert plain["n_requests"] == environment.n_metadata == shared + opened
    assert plain["n_requests_node"] == shared + 128 * opened
    assert plain["job_s"] == pytest.approx(max(plain["start_s"], 64 * plain["n_requests_node"] / 75_000), abs=1e-3)
    assert plain["start_s"] == pytest.approx(plain["cpu_s"] + plain["n_requests"] * 0.5e-3, abs=2e-3)
    assert all(row["latency_source"] for row in rows.values())
    assert [row["n_nodes"] for row in result["curve"] if row["layout"] == "plain"] == list(whatif.DEFAULT_NODES)


def test_the_terminal_table_fits_and_says_what_it_is(recording: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    done = fsprobe(
        "whatif", str(recording), "--nodes", "16", "--latency-ms", "1.5", "--mds-rate", "1000", "--plot", str(picture)
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert max(map(len, text.splitlines())) <= 80
    for word in (
        "1.5 ms",
        "are estimates",
        "1,000 requests/s",
        "measured: CPU (of the traced run",
        "server saturates",
    ):
        assert word in " ".join(text.split())
    assert re.search(r"at [0-9,]+ nodes?\b", text)
    assert "squashfs was not run" in " ".join(text.split())
    assert picture.stat().st_size > 10_000


def test_a_job_is_its_average_rank_on_its_average_node(env: Path, tmp_path: Path) -> None:
    need("strace")
    python = str(env / "bin" / "python")
    for rank, node in enumerate(("a", "a", "b", "b")):
        variables = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NTASKS": "4"}
        variables.update(SLURM_NNODES="2", SLURMD_NODENAME=node, SLURM_LOCALID=str(rank % 2))
        words = ["run", "--record-only", "-q", "--force", "-o", f"{tmp_path}/ranks/", "--", python, "-c", CODE]
        (tmp_path / "ranks").mkdir(exist_ok=True)
        done = fsprobe(*words, env=fsprobe_environment(**variables), cwd="/")
        assert done.returncode == 0, done.stderr
    # the first one of its node, which has looked up what the trace leaves open
    job, one = tmp_path / "job.fsprobe", min((tmp_path / "ranks").glob("*.fsprobe"))
    assert fsprobe("merge", f"{tmp_path}/ranks", "-o", str(job)).returncode == 0
    done = fsprobe("whatif", str(job), "--latency-ms", "1", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["n_nodes"], row["n_ranks_per_node"]) == (2, 2)  # the job's own
    # four ranks that did the same: what one of them asks, and of a node its opens once more
    profile = pipeline.analyse(one)
    assert profile.requests is not None
    rows = [counts for counts in profile.requests.by_mount if counts.fs_class not in ("image", "memory", "pseudo")]
    assert row["n_requests"] == sum(counts.n_metadata for counts in rows)
    assert row["n_requests_node"] == row["n_requests"] + sum(counts.open + counts.opendir for counts in rows)
    assert fsprobe("whatif", str(job), "--env", str(env)).returncode == 2


def test_a_comparison_has_a_row_for_each_of_its_layouts(env: Path, tmp_path: Path) -> None:
    need("strace", "mksquashfs", root=True)
    copy = tmp_path / "venv"
    shutil.copytree(env, copy, symlinks=True)
    file = tmp_path / "c.fsprobe"
    done = fsprobe(
        "compare",
        "--env",
        str(copy),
        "--squashfs",
        "--runs",
        "5",
        "-o",
        str(file),
        "--",
        "python",
        "-c",
        CODE,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(fsprobe("whatif", str(file), "--ranks-per-node", "10", "--latency-ms", "1", "--json").stdout)[
        "rows"
    ]
    plain, image = rows
    assert (plain["layout"], image["layout"]) == ("plain", "squashfs")
    # the image is mounted once a node: more processes ask for nothing more
    assert image["n_requests"] == image["n_requests_node"] < 6
    assert plain["n_requests_node"] > plain["n_requests"]


def test_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no")
    assert fsprobe("whatif", str(tmp_path / "x")).returncode == 3


@pytest.mark.parametrize(("nodes", "ranks"), [(1, 1), (1, 3), (3, 1), (2, 2)])
def test_requests_of_nodes_and_processes(env: Path, recording: Path, tmp_path: Path, nodes: int, ranks: int) -> None:
    """One process after the other on each node: listings are read once. (Those that start together may read them twice.)"""
    need("/dev/fuse", root=True)
    requests = pipeline.read(recording).requests
    assert requests is not None
    demand = whatif.demand_of("plain", 0.0, requests.environment(os.fsencode(os.path.realpath(env))))
    served = 0
    for number in range(nodes):
        mount = tmp_path / f"node-{number}"
        mount.mkdir()
        with serve(env, mount, meta_ms=0, read_ms=0) as server:
            for _ in range(ranks):
                subprocess.run(
                    [str(mount / "bin" / "python"), "-c", CODE], check=True, env=clean_environment(), cwd="/"
                )
            served += server.counters().metadata
    # the mount point itself is known to whoever mounted it
    assert served == nodes * (demand.n_requests_node(ranks) - 1)
