"""fsprobe check on recordings of real programs: kept, exceeded, to blame, and what can't be told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe.analysis import limits
from fsprobe.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_NO, EXIT_USAGE
from fsprobe.model.formats import JsonObject
from tests.conftest import FSPROBE, clean_environment

PROGRAM = "import app"


def fsprobe(*words: str, cwd: Path | None = None, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = clean_environment()
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run([*FSPROBE, *words], capture_output=True, text=True, cwd=cwd, env=environment)


def plant(place: Path, extra: int) -> None:
    """app > app.io > lib, which imports `extra` modules of its own."""
    (place / "app").mkdir(parents=True)
    (place / "app/__init__.py").write_text("import app.io\n")
    (place / "app/io.py").write_text("import lib\n" if extra else "")
    if extra:
        (place / "lib").mkdir()
        (place / "lib/__init__.py").write_text("".join(f"import lib.m{n}\n" for n in range(extra)))
        for n in range(extra):
            (place / f"lib/m{n}.py").write_text("")


def record(place: Path, file: Path, *options: str, code: str = PROGRAM, status: int = 0) -> Path:
    words = ["run", "-q", "--record-only", "--force", "-o", str(file), *options, "--", sys.executable, "-B", "-c", code]
    assert fsprobe(*words, path=place).returncode == status
    return file


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("before")
    plant(place / "path", 0)
    return record(place / "path", place / "before.fsprobe")


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("after")
    plant(place / "path", 40)
    return record(place / "path", place / "after.fsprobe")


def answer(*words: str, status: int) -> JsonObject:
    done = fsprobe("check", *words, "--format", "json")
    assert done.returncode == status, done.stdout + done.stderr
    found: JsonObject = json.loads(done.stdout)
    assert found["passed"] is (status == EXIT_DONE)
    return found


def counts(file: Path) -> dict[str, int]:
    done = fsprobe("report", str(file), "--format", "json")
    profile = json.loads(done.stdout)
    # what an image, memory or the kernel answers reaches no server
    own = ("image", "memory", "pseudo")
    requests = (row["n_metadata"] for row in profile["requests"]["by_mount"] if row["fs_class"] not in own)
    return {
        "metadata": profile["metrics"]["n_metadata"],
        "not_found": profile["metrics"]["n_not_found"],
        "requests": sum(requests),
    }


def option(name: str) -> str:
    return "--max-" + name.replace("_", "-")


@pytest.mark.parametrize("name", list(limits.NAMES))
def test_a_limit_is_kept_up_to_the_last_call(name: str, after: Path) -> None:
    n = counts(after)[name]
    assert answer(str(after), option(name), str(n), status=EXIT_DONE)["limits"][0]["n"] == n
    (row,) = answer(str(after), option(name), str(n - 1), status=EXIT_NO)["limits"]
    assert (row["n"], row["n_most"], row["is_exceeded"]) == (n, n - 1, True)
    assert row["grouping"] == "imports"
    assert row["offenders"]


def test_the_former_name_of_an_option_still_works(after: Path) -> None:
    n = counts(after)["not_found"]
    assert answer(str(after), "--max-missing", str(n), status=EXIT_DONE)["limits"][0]["n"] == n
    (row,) = answer(str(after), "--max-missing", str(n - 1), status=EXIT_NO)["limits"]
    assert row["because"] == f"--max-not-found {n - 1}"
    assert "--max-missing" not in fsprobe("check", "--help").stdout


def test_the_import_that_is_new_is_to_blame(before: Path, after: Path) -> None:
    found = answer(str(after), "--baseline", str(before), status=EXIT_NO)
    row = next(row for row in found["limits"] if row["name"] == "metadata")
    worst = row["offenders"][0]
    assert worst["key"] == "lib"
    assert worst["is_new"] is True
    assert worst["through"] == ["app", "app.io"]
    # what it has more is nearly all that there is more: the rest is the look-ups of other directories' names
    assert worst["n"] >= 0.9 * (row["n"] - row["n_most"])
    text = fsprobe("check", str(after), "--baseline", str(before)).stdout
    assert "check failed" in text
    assert "lib" in text
    assert "not in the baseline, through app > app.io" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80


def test_less_than_the_baseline_passes(before: Path, after: Path) -> None:
    assert len(answer(str(before), "--baseline", str(after), status=EXIT_DONE)["limits"]) == 3


def test_tolerance_is_of_the_baseline(before: Path, after: Path) -> None:
    small, large = counts(before), counts(after)
    percent = max(100 * (large[name] - small[name]) / small[name] for name in limits.NAMES)
    answer(str(after), "--baseline", str(before), "--tolerance", f"{percent + 0.5:.4f}%", status=EXIT_DONE)
    answer(str(after), "--baseline", str(before), "--tolerance", f"{percent - 0.5:.4f}", status=EXIT_NO)


@pytest.mark.parametrize(
    ("n", "percent", "most"), [(100, 0, 100), (100, 10, 110), (1000, 0.1, 1001), (0, 50, 0), (3, 5, 3), (110, 10, 121)]
)
def test_allowed(n: int, percent: float, most: int) -> None:
    assert limits.allowed(n, percent) == most


def test_the_same_program_twice_passes_at_no_tolerance(tmp_path: Path) -> None:
    plant(tmp_path / "path", 5)
    one, two = (record(tmp_path / "path", tmp_path / name) for name in ("1.fsprobe", "2.fsprobe"))
    answer(str(two), "--baseline", str(one), status=EXIT_DONE)


def test_a_command_that_failed_does_not_pass(tmp_path: Path) -> None:
    plant(tmp_path / "path", 0)
    file = record(tmp_path / "path", tmp_path / "f.fsprobe", code="import app, no_such_module", status=1)
    assert "exit code 1" in answer(str(file), "--max-metadata", "100000", status=EXIT_NO)["failure"]
    answer(str(file), "--max-metadata", "100000", "--ignore-exit-code", status=EXIT_DONE)


def test_what_was_not_seen_passes_nothing(before: Path, after: Path, tmp_path: Path) -> None:
    plant(tmp_path / "path", 3)
    audit = record(tmp_path / "path", tmp_path / "a.fsprobe", "--backend", "audit")
    assert "interpreters noted" in answer(str(audit), "--max-requests", "100000", status=EXIT_DONE)["notes"][-1]
    streamed = record(tmp_path / "path", tmp_path / "s.fsprobe", "--stream")
    done = fsprobe("check", str(streamed), "--max-requests", "100000")
    assert done.returncode == EXIT_BAD_INPUT
    assert "requests are not predicted" in done.stderr
    beside = answer(str(streamed), "--baseline", str(before), "--tolerance", "1000%", status=EXIT_DONE)
    assert [limit["name"] for limit in beside["limits"]] == ["metadata", "not_found"]
    assert "note: server requests are not compared: none were predicted for this recording" in beside["notes"]
    done = fsprobe("check", str(audit), "--baseline", str(before))
    assert done.returncode == EXIT_BAD_INPUT
    assert "do not see the same calls" in done.stderr
    words = ["run", "-q", "--record-only", "--force", "-o", str(tmp_path / "u.fsprobe"), "--backend", "audit", "--"]
    fsprobe(*words, sys.executable, "-I", "-c", "pass")
    done = fsprobe("check", str(tmp_path / "u.fsprobe"), "--max-metadata", "100000")
    assert done.returncode == EXIT_BAD_INPUT
    assert "no process was observed" in done.stderr


def test_a_recording_that_is_not_complete(tmp_path: Path, after: Path) -> None:
    plant(tmp_path / "path", 0)
    code = "import os\nfor n in range(20000): os.path.exists(f'/no/such/name/{n}')"
    file = record(tmp_path / "path", tmp_path / "t.fsprobe", "--max-log", "1M", code=code)
    done = fsprobe("check", str(file), "--max-metadata", "10000000")
    assert done.returncode == EXIT_BAD_INPUT
    assert "not complete" in done.stderr
    # too many are too many, however many more there were
    assert "at least" in answer(str(file), "--max-metadata", "10", status=EXIT_NO)["notes"][-1]
    done = fsprobe("check", str(after), "--baseline", str(file))
    assert done.returncode == EXIT_BAD_INPUT
    assert "the baseline can't be used" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], EXIT_USAGE, "nothing to check"),
        (["--max-metadata", "-1"], EXIT_USAGE, "-1"),
        (["--baseline", "gone.fsprobe"], EXIT_BAD_INPUT, "gone.fsprobe"),
        (["--baseline", "x", "--tolerance", "much"], EXIT_USAGE, "not a percentage"),
        (["--baseline", "x", "--tolerance", "nan"], EXIT_USAGE, "not a percentage"),
    ],
)
def test_wrong_usage(words: list[str], status: int, said: str, after: Path, tmp_path: Path) -> None:
    done = fsprobe("check", str(after), *words, cwd=tmp_path)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_observed_imports_packages_are_named(before: Path, tmp_path: Path) -> None:
    file = tmp_path / "ls.fsprobe"
    assert fsprobe("run", "-q", "--record-only", "--force", "-o", str(file), "--", "/bin/ls", os.sep).returncode == 0
    (row,) = answer(str(file), "--max-metadata", "1", status=EXIT_NO)["limits"]
    assert row["grouping"] == "packages"
    assert sum(offender["n"] for offender in row["offenders"]) == row["n"]
