"""How long `fsprobe merge` reads the recordings of a job, in how much memory, and who reads them.

    python -m benchmarks.ranks [--ranks N ...] [--quick] [--python PYTHON] [-o reports]

Real starts of `import pandas` are recorded, one after the other, as many as the job has ranks and 64 at most: their processes,
times and addresses differ as those of ranks do (8 with `--quick`). They are written once for each rank with the variables that Slurm gives it, 8
ranks a node; of a larger job each start stands for several ranks. All start in one working directory, as the ranks of a job
step do, and once each in its own, which differs in every path that is looked up there. Every executor gets the same two
processes. Memory is the most that one process of the merge held at any time, its workers (and Dask's scheduler) included. The sums
are checked by arithmetic: the calls of the job are those of its recordings, each times the ranks that have it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import fsprobe_of, prepare
from benchmarks.evidence import PLACE, Json, say
from fsprobe import pipeline
from fsprobe.recording import file as recording

SIZES = (100, 1_000, 10_000)
MOST_FOR_ALL = 1_000
"""More ranks than this are read by local=2 alone."""
PER_NODE = 8
N_RECORDED = 64
KINDS = (("strace", True), ("strace", False), ("inline", True))
"""What records, and whether all start in one working directory; every executor reads the first kind."""
LOCAL = ("local=1", "local=2")


def record(fsprobe: Sequence[str], python: str, place: Path, n: int, backend: str, *, is_shared: bool) -> list[Path]:
    """Recordings of real starts."""
    kind = place / f"{backend}-{'one' if is_shared else 'own'}"
    paths = [kind / f"start-{number}.fsprobe" for number in range(n)]
    for path in paths:
        cwd = kind / ("cwd" if is_shared else path.stem)
        cwd.mkdir(parents=True, exist_ok=True)
        words = [*fsprobe, "run", "-q", "--record-only", "--backend", backend, "-o", str(path), "--", python]
        subprocess.run([*words, "-c", "import pandas"], check=True, cwd=cwd)
    return paths


def write_ranks(sources: Sequence[Path], place: Path, size: int) -> None:
    """One recording for each rank of a job."""
    place.mkdir()
    opened = []
    for source in sources:
        found = recording.Recording(str(source))
        sections = [(name, b"".join(found.section(name))) for name in found.names() if name != "manifest"]
        opened.append((found.manifest, sections))
    for rank in range(size):
        manifest, sections = opened[rank % len(opened)]
        job = {
            "SLURM_JOB_ID": "77",
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank % PER_NODE),
            "SLURM_NODEID": str(rank // PER_NODE),
            "SLURM_NTASKS": str(size),
            "SLURM_NNODES": str(-(-size // PER_NODE)),
            "SLURMD_NODENAME": f"n{rank // PER_NODE}",
        }
        of_rank = [("manifest", json.dumps({**manifest, "job": job}).encode()), *sections]
        recording.write(str(place / f"r{rank:05d}.fsprobe"), "recording", of_rank)


def merge(words: Sequence[str], size: int, cluster: Sequence[int] = ()) -> Json:
    """Seconds and memory of one merge, and the calls of the job; `cluster`: who works for it and is no child of it."""
    peak = 0
    begin = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PLACE)

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, *map(_peak_kib, [pid for top in (process.pid, *cluster) for pid in _tree(top)]), 0)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, errors = process.communicate()
    watcher.join()
    wall_s = time.perf_counter() - begin
    if process.returncode:
        raise RuntimeError(evidence.neutral(errors.decode("utf-8", "replace")[-300:]))
    found = json.loads(out)
    return {
        "wall_s": round(wall_s, 2),
        "peak_mib": round(peak / 1024, 1),
        "ranks_s": round(size / wall_s, 1),
        "n_calls": found["metrics"]["n_metadata"],
    }


def _tree(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob(
            "*/children"
        ):  # of each thread its own: Dask starts workers in one
            try:
                todo += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def _peak_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


@contextmanager
def dask_cluster() -> Iterator[tuple[str, int]]:
    """The address of a Dask cluster of two processes of this interpreter, and the process that holds it."""
    code = (
        "import distributed, sys, threading\n"
        "if __name__ == '__main__':\n"
        "    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    sys.stdin.read()\n"
        "    cluster.close()\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(code)
        script.flush()
        process = subprocess.Popen(
            [sys.executable, script.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            if not address:
                raise RuntimeError("Dask's cluster did not start")
            yield address, process.pid
        finally:
            process.communicate()


def measure(place: Path, size: int, *, is_first: bool) -> list[Json]:
    """All executors on one job, or one of them where it is not the first kind of recordings.

    The sources' own interpreter runs `merge`, for Dask and MPI are not fsprobe's to install.
    """
    rows = []
    run = [sys.executable, "-m", "fsprobe", "merge", str(place), "--format", "json", "--executor"]
    mpi = ["mpiexec", "-n", "3", *(["--allow-run-as-root", "--oversubscribe"] if _is_openmpi() else [])]
    with dask_cluster() as (address, holder):
        ways = [(name, [*run, name]) for name in LOCAL]
        ways += [("dask, 2 workers", [*run, f"dask={address}"])]
        ways += [("mpi, 2 workers", [*mpi, sys.executable, "-m", "mpi4py.futures", *run[1:], "mpi"])]
        for name, words in ways:
            if (size > MOST_FOR_ALL or not is_first) and name != LOCAL[-1]:
                continue
            say(f"{size:,} ranks, {name}")
            try:
                workers = [holder] if name.startswith("dask") else []
                rows.append({"n": size, "executor": name, **merge(words, size, workers)})
            except (OSError, RuntimeError) as error:
                rows.append({"n": size, "executor": name, "why_not": str(error)})
    return rows


def _is_openmpi() -> bool:
    done = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True)
    return "Open" in done.stdout


def markdown(result: Json) -> str:
    """The report."""
    rows = [
        [f"{row['n']:,}", _kind(row), row["executor"], row["why_not"], None, None, None]
        if "why_not" in row
        else [
            f"{row['n']:,}", _kind(row), row["executor"], f"{row['wall_s']:.1f}", f"{row['ranks_s']:,.0f}", f"{row['peak_mib']:,.0f}",
            f"{row['n_calls']:,}" + ("" if row["n_calls"] == row["n_expected"] else f" ({row['n_expected']:,} expected)"),
        ]
        for row in result["rows"]
    ]  # fmt: skip
    return "\n".join(
        [
            "# Merging the ranks of a job\n",
            evidence.about(result),
            (__doc__ or "").strip().split("\n\n", 2)[2] + "\n",
            evidence.table(
                [
                    "ranks",
                    "recorded by",
                    "executor",
                    "wall s",
                    "ranks/s",
                    "most memory of a process, MiB",
                    "calls of the job",
                ],
                rows,
            ),
        ]
    )


def _kind(row: Json) -> str:
    return str(row["backend"]) + ("" if row["is_shared"] else ", each in its own directory")


def main() -> int:
    """Measure and report; 1 where a sum is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="100 ranks")
    parser.add_argument("--python", help="an interpreter with pandas, fsprobe beside it [default: made]")
    parser.add_argument("-o", "--output", type=Path, help="directory for ranks.json and .md")
    options = parser.parse_args()
    python = options.python or str(prepare())
    sizes = [100] if options.quick else options.ranks
    n_starts = 8 if options.quick else N_RECORDED
    rows: list[Json] = []
    with tempfile.TemporaryDirectory(dir=PLACE) as name:
        place = Path(name)
        for number, (backend, is_shared) in enumerate(KINDS):
            sources = record(fsprobe_of(python), python, place, min(n_starts, max(sizes)), backend, is_shared=is_shared)
            calls = [_calls_of(path) for path in sources]
            about = {"backend": backend, "is_shared": is_shared, "n_starts": len(sources)}
            for size in sizes if number == 0 else [size for size in sizes if size <= MOST_FOR_ALL]:
                job = place / f"{number}-{size}"
                write_ranks(sources, job, size)
                expected = sum(calls[rank % len(calls)] for rank in range(size))
                rows += [{**about, **row, "n_expected": expected} for row in measure(job, size, is_first=number == 0)]
                shutil.rmtree(job)
    flags = ["--ranks " + " ".join(map(str, sizes)), "-o reports"]
    versions = evidence.package_versions(sys.executable, ["pandas", "distributed", "mpi4py"])
    result = {**evidence.head("ranks", flags, versions=versions), "rows": rows}
    print(evidence.save(result, markdown, None, options.output))
    return int(any("why_not" in row or row["n_calls"] != row["n_expected"] for row in rows))


def _calls_of(path: Path) -> int:
    return pipeline.analyse(path).metrics.n_metadata


if __name__ == "__main__":
    sys.exit(main())
