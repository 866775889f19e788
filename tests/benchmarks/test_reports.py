"""Reports: neutral, made from their JSON alone; and each benchmark's parts on something small."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import evidence
from benchmarks.accuracy import checks
from benchmarks.overhead import arms, report
from benchmarks.overhead.measure import measure
from benchmarks.parse_speed import hostile, logs, readers
from benchmarks.peers import tools

OURS = ("accuracy", "overhead", "parse_speed", "peers")
COMMITTED = [name for name in OURS if (evidence.REPORTS / f"{name}.json").exists()]


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_report_is_what_its_json_makes(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"benchmarks.{name}.report")
    result = json.loads((evidence.REPORTS / f"{name}.json").read_text())
    assert (
        evidence.save(result, module.markdown, module.picture, tmp_path)
        == (evidence.REPORTS / f"{name}.md").read_text()
    )
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    for key in ("command", "commit", "date", "machine", "versions", "n_runs"):
        assert result[key], key


def test_no_text_in_reports_names_this_machine() -> None:
    texts = [path for path in evidence.REPORTS.rglob("*") if path.suffix in (".json", ".md", ".csv", ".html", ".txt")]
    assert texts
    found = {path.name: evidence.foreign_paths(path.read_text()) for path in texts}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_a_report_with_a_path_of_the_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports, place = tmp_path / "reports", tmp_path / "place"
    reports.mkdir()
    place.mkdir()
    monkeypatch.setattr(evidence, "PLACE", place)
    with pytest.raises(ValueError, match="/root/x"):
        evidence.save({"benchmark": "x", "what": "in /root/x"}, lambda result: "", None, reports)
    assert list(reports.iterdir()) == []
    assert json.loads((place / "x.not-neutral.json").read_text())["what"] == "in /root/x"


def test_places_become_words() -> None:
    text = f"{evidence.REPOSITORY}/fsprobe and {sys.prefix}/bin/python and /data/tree/x"
    assert evidence.neutral(text, TREE="/data/tree") == "REPOSITORY/fsprobe and ENV/bin/python and TREE/x"


@pytest.mark.parametrize("name", ["accuracy", "fileserver", "layouts", "overhead", "parse_speed", "peers"])
def test_a_benchmark_that_is_a_folder_is_run_by_its_name(name: str) -> None:
    words = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=evidence.REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize("mode", ["time", "none"])
def test_accuracy_compares_with_straces_summary(mode: str, tmp_path: Path, strace_program: str) -> None:
    row = checks.against_summary([sys.executable, "-c", "import json"], tmp_path, mode)
    assert row["ours"] == row["summary"]
    assert row["summary"]["calls"] > 100
    assert row["summary"]["errors"] > 5
    assert row["groupings_that_do_not_sum"] == []


@pytest.mark.parametrize("kind", ["own", "tt"])
def test_every_call_of_the_hostile_program_is_read(kind: str, tmp_path: Path, strace_program: str) -> None:
    place, program = tmp_path / "place", tmp_path / "hostile.py"
    place.mkdir()
    for number in range(8):
        for name in hostile.HOSTILE_NAMES:
            (place / os.fsdecode(b"%d-" % number + name)).touch()
    program.write_text(hostile.HOSTILE.format(names=hostile.HOSTILE_NAMES))
    log = logs.trace(sys.executable, [sys.executable, str(program), str(place)], tmp_path, kind)
    head = os.fsencode(place) + b"/"
    found = [row for row in readers.rows_of_fsprobe(log) if row[1].startswith(head)]
    assert sorted(found) == sorted(hostile.expected_rows(place).elements())


def test_a_long_log_has_as_many_lines_as_it_is_told(tmp_path: Path) -> None:
    base = [b"77    +++ exited with 0 +++\n", b"77    --- SIGCHLD ---\n"]
    logs.write_log(base, 5, tmp_path / "log")
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert [line.split()[0] for line in lines] == [b"1077", b"1077", b"1078", b"1078", b"1079"]


@pytest.mark.parametrize("what", ["calls", "processes", "threads"])
def test_growth_programs_run(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.overhead.measure.PLACE", tmp_path)
    script = tmp_path / "program.py"
    script.write_text(arms.growth_program(what, 3))
    cpu, wall = measure([sys.executable, str(script)])
    assert cpu > 0
    assert wall > 0


def test_a_command_that_fails_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.overhead.measure.PLACE", tmp_path)
    with pytest.raises(RuntimeError, match="exit code 3"):
        measure([sys.executable, "-c", "raise SystemExit(3)"])


def test_overhead_knows_its_own_arms(strace_program: str, tmp_path: Path) -> None:
    found = arms.arms("python", ["fsprobe"], tmp_path / "x.py", tmp_path)
    assert {report.COUNT, report.BARE, report.RECORD, "untraced"} <= found.keys()


def test_answers_of_peers_are_read_from_their_output() -> None:
    summary = (
        "% time     seconds  usecs/call     calls    errors syscall\n"
        "------ ----------- ----------- --------- --------- ------------------\n"
        "  3.98    0.004555           1      3251       253 newfstatat\n"
        "  1.31    0.001501           2       677        38 openat\n"
    )
    answers = tools._strace_summary(summary)
    assert answers[0].startswith("3,251 newfstatat")
    assert answers[3].startswith("291 failed")
    listed = "import time:       606 |     680592 | pandas\nimport time:   459 |   459 |     pandas.io.xml\n"
    assert "pandas 681 ms" in tools._importtime(listed)[1]
