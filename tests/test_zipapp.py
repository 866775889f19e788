"""fsprobe.pyz: one file that does what the installed fsprobe does, on interpreters that have nothing else."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from fsprobe.errors import EXIT_MACHINE
from fsprobe.recording.file import Recording
from tests.conftest import INTERPRETERS, ROOT, Done, clean_environment, run_plain

spec = importlib.util.spec_from_file_location("fsprobe_zipapp", ROOT / "packaging" / "zipapp.py")
assert spec is not None
assert spec.loader is not None
zipapp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(zipapp)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of this source tree and of the packages that are installed here: pip would fetch the same ones."""
    place = tmp_path_factory.mktemp("zipapp")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fsprobe", place / "all" / "fsprobe", ignore=ignored)
    for name in ("click", "jinja2", "markupsafe", "rich"):
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        shutil.copytree(Path(found.origin).parent, place / "all" / name, ignore=ignored)
    found = importlib.util.find_spec("typing_extensions")
    assert found is not None
    assert found.origin is not None
    shutil.copy(found.origin, place / "all")
    zipapp.write(place / "all", place / "fsprobe.pyz")
    return place / "fsprobe.pyz"


def run(archive: Path, *words: str, python: str = sys.executable) -> Done:
    # -S: nothing of what is installed here
    return run_plain([python, "-I", "-S", str(archive), *words], cwd=archive.parent, env=clean_environment())


@pytest.mark.parametrize(
    "python", [path for version, path in INTERPRETERS.items() if tuple(map(int, version.split("."))) >= (3, 10)]
)
def test_it_records_and_reports(archive: Path, tmp_path: Path, strace_program: str, python: str) -> None:
    page = tmp_path / "x.html"
    done = run(archive, "run", "-o", str(page), "--", sys.executable, "-c", "import json; print(1)", python=python)
    assert (done.status, done.out) == (0, b"1\n"), done.err
    assert page.read_text().startswith("<!doctype html>")
    shown = done.err.decode()
    typed = next(line for line in shown.splitlines() if line.startswith("next:"))[len("next:") :].partition("#")[0]
    assert typed.split() == [python, str(archive), "report", str(tmp_path / "x.fsprobe")]
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["exit_code"] == 0
    report = run(archive, "report", str(tmp_path / "x.fsprobe"), python=python)
    assert report.status == 0
    assert b"Costliest imports" in report.out


def test_what_it_does_not_hold_is_said_in_one_line(archive: Path, tmp_path: Path) -> None:
    recording = ROOT / "tests" / "data" / "format1" / "run-time.fsprobe"
    done = run(archive, "report", str(recording), "-o", str(tmp_path / "x.png"))
    assert done.status == EXIT_MACHINE
    assert done.own_lines[0] == "fsprobe: this needs matplotlib, which is not here"
    assert len(done.err.splitlines()) == 2


def test_it_writes_the_recorder_that_travels(archive: Path, tmp_path: Path) -> None:
    from fsprobe.cli import recorder

    assert run(archive, "recorder", "-o", str(tmp_path / "theirs.pyz")).status == 0
    recorder.build(tmp_path / "ours.pyz")
    assert (tmp_path / "theirs.pyz").read_bytes() == (tmp_path / "ours.pyz").read_bytes()


@pytest.mark.parametrize("program", ["--tracer", "--own"])
def test_it_starts_its_own_programs(archive: Path, tmp_path: Path, program: str) -> None:
    words = {
        "--tracer": ["--tracer", "-o", str(tmp_path / "log"), "--", "sh", "-c", "exit 4"],
        "--own": ["--own", "fsprobe.capture.process.timed", str(tmp_path / "log"), "{}", "--", "sh", "-c", "exit 4"],
    }[program]
    if program == "--own":
        words[3] = '{"warm": false, "cold": "", "starter": 0, "variables": {}, "meeting": []}'
    done = run(archive, *words)
    assert done.status == 4, done.err
    assert (tmp_path / "log").stat().st_size > 0


def test_what_is_carried() -> None:
    assert zipapp.is_carried("fsprobe/fsprobe-inline.so")
    assert zipapp.is_carried("rich-13.9.4.dist-info/LICENSE")
    for name in ("markupsafe/_speedups.so", "bin/fsprobe", "pygments/lexer.py", "pygments-2.1.dist-info/METADATA",
                 "rich/__pycache__/x.pyc", "share/man/man1/fsprobe.1", "click-8.1.dist-info/RECORD"):  # fmt: skip
        assert not zipapp.is_carried(name), name


def test_its_packages_are_those_that_fsprobe_asks_for(archive: Path) -> None:
    asked = {
        line.split(">")[0].strip().lower()
        for line in importlib.metadata.requires("fsprobe") or ()
        if "extra" not in line
    }
    assert asked - {"matplotlib", "pandas", "psutil"} == set(zipapp.PACKAGES) - {"typing-extensions"}
    with zipfile.ZipFile(archive) as opened:
        assert not [name for name in opened.namelist() if not zipapp.is_carried(name) and name != "__main__.py"]
