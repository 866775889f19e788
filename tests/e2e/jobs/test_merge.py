"""Jobs whose ranks are made by environment variables: recorded, merged, damaged, reported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsprobe import jobs, pipeline
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.errors import EXIT_BAD_INPUT, EXIT_NO, EXIT_USAGE
from fsprobe.jobs import executors
from fsprobe.recording import file as recording
from fsprobe.recording.file import Recording
from fsprobe.report.caveats import quality_lines
from tests.conftest import FSPROBE, ROOT, clean_environment, run_plain
from tests.job_recordings import copies, cut, merge, profile, rank_variables, run_rank

PROGRAM = "import json, csv; print('rank done')"
SUMMED = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found", "n_metadata")
SHARED = ("lookup", "negative", "readdir", "readlink")


def sum_of_ranks(place: Path, *names: str) -> dict[str, int]:
    total = dict.fromkeys(names, 0)
    for file in sorted(place.glob("*.fsprobe")):
        metrics = pipeline.analyse(file).metrics
        for name in names:
            total[name] += getattr(metrics, name)
    return total


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("one")
    done = run_rank(place, 0, [sys.executable, "-c", PROGRAM], size=1, per_node=1)
    assert done.status == 0, done.err
    (file,) = place.glob("*.fsprobe")
    return file


def test_all_ranks_sum_up(tmp_path: Path, strace_program: str) -> None:
    ranks_place, output = tmp_path / "ranks", tmp_path / "job.fsprobe"
    for number in range(4):
        # rank 3 imports more than the others
        program = PROGRAM + ("; import xml.dom.minidom, http.client" if number == 3 else "")
        done = run_rank(ranks_place, number, [sys.executable, "-c", program], size=4, per_node=2)
        assert (done.status, done.out, done.err) == (0, b"rank done\n", b"")
    done = merge(str(ranks_place), "-o", str(output))
    assert done.status == 0, done.err
    assert b"4 ranks on 2 nodes" in done.out
    made = profile(output)
    metrics, section = made["metrics"], made["job"]
    assert isinstance(metrics, dict)
    assert isinstance(section, dict)
    assert {name: metrics[name] for name in SUMMED} == sum_of_ranks(ranks_place, *SUMMED)
    for grouping in ("by_phase", "by_package", "by_mount", "by_process", "by_path"):
        assert sum(row["n_metadata"] for row in metrics[grouping]) == metrics["n_metadata"], grouping
    assert sum(row["n"] for row in metrics["not_found"]) == metrics["n_not_found"]
    assert [row["n_metadata"] for row in section["nodes"]] == [
        sum(row["n_metadata"] for row in section["ranks"] if row["node"] == node) for node in ("n0", "n1")
    ]
    assert section["spread"]["n_metadata"]["max_of"] == "rank 3"
    assert section["absent"] == {"ranks": [], "n": 0}
    assert section["scaled"] is None


def test_requests_of_a_node_are_shared_and_those_of_nodes_are_not(one_run: Path, tmp_path: Path) -> None:
    copies(one_run, tmp_path / "ranks", size=6, per_node=3)
    made = jobs.merge(jobs.gather([str(tmp_path / "ranks")]))
    alone = pipeline.analyse(one_run).requests
    assert alone is not None
    assert made.job is not None
    assert made.requests is not None
    rank = alone.at_servers
    for node in made.job.nodes:
        assert node.requests is not None
        for name in SHARED:
            assert getattr(node.requests, name) == getattr(rank, name), name
        for name in ("open", "opendir"):
            assert getattr(node.requests, name) == 3 * getattr(rank, name), name
    # what a view shows of the job is what its nodes ask servers and disks for, and so is each grouping of it
    classes = {row.key: row.fs_class for row in made.metrics.by_mount}
    by_mount = [row for row in made.requests.by_mount if classes.get(row.key) not in ("image", "memory", "pseudo")]
    total = sum(row.n_metadata for row in by_mount)
    assert total == made.n_requests
    assert total == sum(node.n_requests or 0 for node in made.job.nodes)
    assert total == sum(row.n_metadata for row in made.requests.by_package)


def test_what_the_first_rank_of_a_node_looked_up_serves_the_others(tmp_path: Path, strace_program: str) -> None:
    """Predicted is the same as where each rank looks for itself; of one rank alone the report says what it lacks."""
    predicted, looked = {}, {}
    for name, options in (("left", []), ("own", ["--ranks", "all"])):
        place = tmp_path / name
        for number in range(2):
            run_rank(place, number, [sys.executable, "-c", PROGRAM], size=2, per_node=2, options=options)
        looked[name] = [
            "n_calls" in json.loads(b"".join(Recording(str(file)).section("lookups")))
            for file in sorted(place.glob("*.fsprobe"))
        ]
        made = jobs.merge(jobs.gather([str(place)]))
        assert made.requests is not None
        assert not [line for line in quality_lines(made) if "first rank of a node" in line]
        predicted[name] = made.requests.by_mount, made.requests.at_servers
    assert looked == {"left": [True, False], "own": [True, True]}
    assert predicted["left"] == predicted["own"]
    first, second = (quality_lines(pipeline.analyse(file)) for file in sorted((tmp_path / "left").glob("*.fsprobe")))
    said = [line for line in second if "not the first one of its node" in line]
    assert len(said) == 1
    assert not [line for line in first if "first one of its node" in line]
    # the first rank's recording is lost: the job is counted all the same
    next((tmp_path / "left").glob("*rank0000*")).unlink()
    lost = jobs.merge(jobs.gather([str(tmp_path / "left")]))
    assert lost.requests is not None
    assert [line for line in quality_lines(lost) if "but its recording is not here" in line]


def test_one_per_node_runs_the_others_untouched_and_is_scaled(tmp_path: Path, strace_program: str) -> None:
    place, output = tmp_path / "ranks", tmp_path / "job.fsprobe"
    code = "print(open('/proc/self/status').read().split('TracerPid:')[1].split()[0] != '0')"
    traced = [
        run_rank(place, n, [sys.executable, "-c", code], size=6, per_node=3, options=["--ranks", "one-per-node"]).out
        for n in range(6)
    ]
    assert traced == [b"True\n", b"False\n", b"False\n"] * 2
    done = merge(str(place), "-o", str(output))
    assert b"2 of 6 ranks on 2 nodes" in done.out
    assert b"scaled from 2 traced to 6 ranks" in done.out
    section = profile(output)["job"]
    assert isinstance(section, dict)
    scaled = section["scaled"]
    assert scaled["metrics"]["n_metadata"] == 3 * sum(row["n_metadata"] for row in section["ranks"])
    assert scaled["requests"]["lookup"] == sum(row["requests"]["lookup"] for row in section["nodes"])
    assert scaled["requests"]["open"] == 3 * sum(row["requests"]["open"] for row in section["nodes"])
    assert section["absent"] == {"ranks": None, "n": 0}


def test_what_is_damaged_foreign_killed_or_absent_is_named(one_run: Path, tmp_path: Path, strace_program: str) -> None:
    place, output = tmp_path / "ranks", tmp_path / "job.fsprobe"
    copies(one_run, place, size=5, per_node=5)
    cut(place / "r0001.fsprobe")
    damaged = bytearray((place / "r0002.fsprobe").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF  # within a section: only its checksum can tell
    (place / "r0002.fsprobe").write_bytes(damaged)
    (place / "r0003.fsprobe").unlink()
    (place / "r0004.fsprobe").unlink()
    (place / "foreign.fsprobe").write_text("not ours\n")
    (place / "slurm-77.out").write_text("output\n")
    killed = run_rank(place, 4, [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], size=5, per_node=5)
    assert killed.status == -signal.SIGKILL
    done = merge(str(place), "-o", str(output))
    assert done.status == 0
    words = done.err.decode()
    for name in ("r0001.fsprobe", "r0002.fsprobe", "foreign.fsprobe", "1 other file"):
        assert name in words, name
    section = profile(output)["job"]
    assert isinstance(section, dict)
    assert [row["rank"] for row in section["ranks"]] == [0, 4]
    assert section["absent"] == {"ranks": [1, 2, 3], "n": 3}
    assert section["killed"] == [{"of": "rank 4", "signal": 9, "exit_code": None}]
    assert {row["file"] for row in section["unreadable"]} == {"r0001.fsprobe", "r0002.fsprobe", "foreign.fsprobe"}
    assert section["n_foreign"] == 1
    # what the damaged one began with is in no sum
    metrics = profile(output)["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["n_metadata"] == sum(row["n_metadata"] for row in section["ranks"])


def test_nothing_that_can_be_read(tmp_path: Path, one_run: Path) -> None:
    (tmp_path / "x.fsprobe").write_text("not ours\n")
    for words in ([str(tmp_path)], [str(tmp_path / "none.fsprobe")], [str(tmp_path / "x.fsprobe")]):
        done = merge(*words)
        assert done.status == EXIT_BAD_INPUT, words
        assert done.own_lines
    place = tmp_path / "ranks"
    copies(one_run, place, size=1, per_node=1)
    data = bytearray((place / "r0000.fsprobe").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (place / "r0000.fsprobe").write_bytes(data)
    assert merge(str(place)).status == EXIT_BAD_INPUT
    assert merge().status == EXIT_USAGE


def test_jobs_are_not_mixed(one_run: Path, tmp_path: Path) -> None:
    copies(one_run, tmp_path / "ranks", size=2, per_node=2)
    other = Recording(str(one_run))
    manifest = dict(other.manifest, job=rank_variables(0, size=1, per_node=1, job="78"))
    sections = [(name, b"".join(other.section(name))) for name in other.names() if name != "manifest"]
    recording.write(
        str(tmp_path / "ranks" / "z.fsprobe"), "recording", [("manifest", json.dumps(manifest).encode()), *sections]
    )
    done = merge(str(tmp_path / "ranks"))
    assert done.status == EXIT_USAGE
    assert b"'77.0', '78.0'" in done.err
    assert b"2 ranks on 1 node" in merge(str(tmp_path / "ranks"), "--job", "77").out
    assert b"1 rank on 1 node" in merge(str(tmp_path / "ranks"), "--job", "78.0").out


def test_who_reads_makes_no_difference(one_run: Path, tmp_path: Path) -> None:
    copies(one_run, tmp_path / "ranks", size=20, per_node=4)
    files = jobs.gather([str(tmp_path / "ranks")])
    here = jobs.merge(files)
    with executors.executor("local=2") as (pool, n_workers):
        assert pool is not None
        assert jobs.merge(files, pool, n_workers) == here
    assert here.metrics.n_metadata == 20 * pipeline.analyse(one_run).metrics.n_metadata


def test_memory_does_not_grow_with_the_number_of_ranks(one_run: Path, tmp_path: Path) -> None:
    # what one more rank leaves behind is its rows, not its paths or its requests
    code = (
        "import sys, resource; from fsprobe import jobs; made = jobs.merge(jobs.gather([sys.argv[1]])); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for size in (8, 96):
        copies(one_run, tmp_path / f"{size}", size=size, per_node=4)
        root = str(ROOT)
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"{size}")],
            env=clean_environment(PYTHONPATH=root),
            capture_output=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 88 * 100, peaks  # KiB; a rank's tables as they are read take some 1,500


@pytest.mark.parametrize("style", ["terminal", "json", "html", "md", "csv"])
def test_a_job_is_reported_in_every_format(one_run: Path, tmp_path: Path, style: str) -> None:
    copies(one_run, tmp_path / "ranks", size=3, per_node=2)
    assert merge(str(tmp_path / "ranks"), "-o", str(tmp_path / "job.fsprobe")).status == 0
    done = run_plain([*FSPROBE, "report", str(tmp_path / "job.fsprobe"), "--format", style])
    assert (done.status, done.err) == (0, b"")
    assert done.out
    if style == "json":
        made = json.loads(done.out)
        assert made["kind"] == "job"
        assert len(made["job"]["ranks"]) == 3
    if style == "terminal":
        # in one piece: it is there to be copied
        page = f"As a page: fsprobe report {tmp_path}/job.fsprobe -o job.html"
        assert page in done.out.decode().splitlines()
        assert max(len(line) for line in done.out.decode().splitlines() if line != page) <= 80
        assert "max of" not in done.out.decode()  # of ranks that are all the same, none stands out


def test_rates_are_on_a_common_clock(one_run: Path, tmp_path: Path) -> None:
    # two ranks at once make the peak of one twice; a minute apart they do not
    opened = Recording(str(one_run))
    sections = {name: b"".join(opened.section(name)) for name in opened.names() if name != "manifest"}
    stamp = sections["log"].split(b"\n", 1)[0].split()[1]
    for gap_s, factor in ((0, 2), (60, 1)):
        place = tmp_path / str(gap_s)
        copies(one_run, place, size=2, per_node=1)
        moved = b"%.6f" % (float(stamp) + gap_s)
        # the first absolute stamp is what a log's clock is anchored to
        log = sections["log"].replace(stamp, moved, 1)
        manifest = dict(opened.manifest, job=rank_variables(1, size=2, per_node=1))
        recording.write(
            str(place / "r0001.fsprobe"),
            "recording",
            [
                ("manifest", json.dumps(manifest).encode()),
                *((name, log if name == "log" else body) for name, body in sections.items()),
            ],
        )
        alone = pipeline.analyse(one_run).metrics.rates.peak_metadata_per_s
        rates = jobs.merge(jobs.gather([str(place)])).metrics.rates
        assert alone is not None
        assert rates.peak_metadata_per_s == factor * alone
        assert rates.duration_s is not None
        assert rates.duration_s >= gap_s


def test_a_job_asked_to_end_leaves_what_it_had(tmp_path: Path, strace_program: str) -> None:
    # as at a time limit: SIGTERM, then SIGKILL for all that is left; this program takes no notice of the first
    code = "import signal, json, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = [*FSPROBE, "run", "-q", "--record-only", "--tmp-dir", str(scratch), "--force", "-o", f"{tmp_path}/"]
    words += ["--", sys.executable, "-c", code]
    process = subprocess.Popen(
        words,
        env=clean_environment(**rank_variables(1, size=2, per_node=2)),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("*.fsprobe")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (file,) = tmp_path.glob("*.fsprobe")
    analysis = pipeline.read(file)
    assert check_sums(analysis.tally) == []
    assert any(row.key == "json" for row in analysis.profile.metrics.by_module or ())
    assert Recording(str(file)).manifest["flushed"] is True
    merged = jobs.merge(jobs.gather([str(tmp_path)])).job
    assert merged is not None
    assert merged.incomplete == ("rank 1",)


@pytest.fixture(scope="module")
def environment_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recording of a program that imports 100 modules, and the directory that they lie in."""
    place = tmp_path_factory.mktemp("environment")
    env = place / "env"
    env.mkdir()
    for number in range(100):
        (env / f"module_{number}.py").write_text("VALUE = 1\n")
    code = "\n".join(f"import module_{number}" for number in range(100))
    for _ in range(2):  # the first one writes byte code
        shutil.rmtree(place / "one", ignore_errors=True)
        variables = {"PYTHONPATH": str(env)}
        done = run_rank(place / "one", 0, [sys.executable, "-c", code], size=1, per_node=1, variables=variables)
        assert done.status == 0, done.err
    (file,) = (place / "one").glob("*.fsprobe")
    return file, env


def test_findings_are_of_the_whole_job(environment_run: tuple[Path, Path], tmp_path: Path, strace_program: str) -> None:
    file, env = environment_run
    place = tmp_path / "ranks"
    copies(file, place, size=30, per_node=10, network=os.fsencode(env))
    # one rank that never comes to the modules: of another kind
    (place / "r0005.fsprobe").unlink()
    short = run_rank(tmp_path / "short", 5, [sys.executable, "-c", "pass"], size=30, per_node=10)
    assert short.status == 0
    (other,) = (tmp_path / "short").glob("*.fsprobe")
    copies(other, place, size=30, per_node=10, network=os.fsencode(env), ranks=[5])
    made = jobs.merge(jobs.gather([str(place)]))
    found = {row.code: row for row in made.findings}
    assert found["FSP001"].evidence.startswith("In 29 of 30 ranks, each as in rank 0: ")
    assert found["FSP017"].evidence.startswith("30 processes x ")
    assert found["FSP018"].evidence.startswith("3 nodes each open ")
    # what the job asks for the environment, less a look-up and an open of an image by each node
    assert made.requests is not None
    asked = made.requests.of_mount(str(env)).n_metadata
    assert found["FSP017"].saves == {"requests": asked - 2 * 3}
    assert found["FSP001"].saves == {"requests": asked - 2 * 3}
    verdict = made.verdict
    assert verdict is not None
    assert verdict.level in ("noticeable", "heavy", "danger", "not the filesystem")
    assert f"30 traced processes on 3 cold nodes ask file servers for {asked:,} metadata requests" in "; ".join(
        verdict.reasons
    )


def test_findings_of_ranks_that_kept_no_log(
    environment_run: tuple[Path, Path], tmp_path: Path, strace_program: str
) -> None:
    _, env = environment_run
    code = "\n".join(f"import module_{number}" for number in range(100))
    variables = {"PYTHONPATH": str(env)}
    words = [sys.executable, "-c", code]
    done = run_rank(tmp_path / "one", 0, words, size=1, per_node=1, options=["--stream"], variables=variables)
    assert done.status == 0, done.err
    (file,) = (tmp_path / "one").glob("*.fsprobe")
    copies(file, tmp_path / "ranks", size=6, per_node=2, network=os.fsencode(env))
    files = jobs.gather([str(tmp_path / "ranks")])
    made = jobs.merge(files)
    found = {row.code: row for row in made.findings}
    assert {"FSP001", "FSP018"} <= set(found)
    assert found["FSP001"].saves == {}
    assert made.verdict is not None
    assert any("requests were not predicted" in line for line in made.verdict.unseen)
    with executors.executor("local=2") as (pool, n_workers):
        assert jobs.merge(files, pool, n_workers) == made


def test_calls_that_advice_saves_are_those_of_all_ranks(tmp_path: Path, strace_program: str) -> None:
    empty = [tmp_path / f"empty{number}" for number in range(3)]
    for place in empty:
        place.mkdir()
    variables = {"PYTHONPATH": ":".join(map(str, empty))}
    words = [sys.executable, "-c", "import json, csv, http.client"]
    done = run_rank(tmp_path / "one", 0, words, size=1, per_node=1, variables=variables)
    assert done.status == 0, done.err
    (file,) = (tmp_path / "one").glob("*.fsprobe")
    alone = {row.code: row for row in pipeline.analyse(file).findings}
    assert any(row.saves.get("calls") for row in alone.values())
    copies(file, tmp_path / "ranks", size=8, per_node=4)
    made = {row.code: row for row in jobs.merge(jobs.gather([str(tmp_path / "ranks")])).findings}
    for code, row in alone.items():
        assert made[code].evidence == "In all 8 ranks, each as in rank 0: " + row.evidence
        assert made[code].saves.get("calls") == (8 * row.saves["calls"] if "calls" in row.saves else None)


def test_two_jobs_compared(one_run: Path, tmp_path: Path) -> None:
    for name, size in (("a", 4), ("b", 4), ("fewer", 2)):
        copies(one_run, tmp_path / name, size=size, per_node=2)
        assert merge(str(tmp_path / name), "-o", str(tmp_path / f"{name}.fsprobe")).status == 0
    files = {name: str(tmp_path / f"{name}.fsprobe") for name in ("a", "b", "fewer")}
    done = run_plain([*FSPROBE, "compare", files["a"], files["b"]])
    words = done.out.decode()
    assert done.status == 0, done.err
    n_calls = 4 * pipeline.analyse(one_run).metrics.n_metadata
    assert f"The ranks of both jobs made the same {n_calls:,} metadata calls." in words
    assert " requests (cold cache) become" in words
    assert "a.fsprobe" in words
    assert max(map(len, words.splitlines())) <= 80
    done = run_plain([*FSPROBE, "compare", files["a"], files["fewer"]])
    assert done.status == EXIT_NO
    assert b"Other ranks were traced: a rank made" in done.out
    done = run_plain([*FSPROBE, "compare", "--json", files["a"], files["fewer"]])
    found = json.loads(done.out)
    assert (found["kind"], found["jobs"]["same_calls"], found["jobs"]["same_size"]) == ("comparison", False, False)
    assert [found["jobs"][side]["n_metadata_per_rank"] for side in ("baseline", "other")] == [n_calls / 4] * 2
    assert run_plain([*FSPROBE, "compare", files["a"], str(one_run)]).status == EXIT_BAD_INPUT
    assert run_plain([*FSPROBE, "compare", files["a"], files["a"]]).status == EXIT_BAD_INPUT


def test_thresholds_of_a_merged_job_are_refused(one_run: Path, tmp_path: Path) -> None:
    copies(one_run, tmp_path / "ranks", size=2, per_node=2)
    assert merge(str(tmp_path / "ranks"), "-o", str(tmp_path / "j.fsprobe")).status == 0
    (tmp_path / "t.json").write_text("{}")
    words = ["report", str(tmp_path / "j.fsprobe"), "--thresholds", str(tmp_path / "t.json")]
    done = run_plain([*FSPROBE, *words], env=clean_environment())
    assert done.status == EXIT_BAD_INPUT
    assert b"is a job" in done.err


def test_what_is_said_before_the_command_is_not_said_again(tmp_path: Path) -> None:
    words = [
        "run",
        "--record-only",
        "--ranks",
        "one-per-node",
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        "--",
        "true",
    ]
    done = run_plain([*FSPROBE, *words], env=clean_environment())
    assert done.err.count(b"no launcher has set a rank here") == 1
