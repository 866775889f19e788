"""The installed command: which fsprobe it starts, from wherever it is called, and what it leaves of sys.path."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Op, ParseQuality
from tests.conftest import ROOT, clean_environment

SCRIPT = ROOT / "packaging" / "bin" / "fsprobe"
NOT_STARTED = 125


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A directory with the command in its bin/."""
    (tmp_path / "bin").mkdir()
    shutil.copy(SCRIPT, tmp_path / "bin" / "fsprobe")
    return tmp_path


def start(prefix: Path, *words: str, script: str = "bin/fsprobe", options: tuple[str, ...] = (), path: str = "") -> int:
    environment = clean_environment(PYTHONPATH=path or str(ROOT), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, *options, script, *words]
    return subprocess.run(command, cwd=prefix, env=environment, capture_output=True, timeout=60).returncode


def fake(place: Path, status: int) -> Path:
    """An fsprobe that ends with a status of its own."""
    (place / "fsprobe").mkdir(parents=True)
    (place / "fsprobe" / "__init__.py").touch()
    (place / "fsprobe" / "__main__.py").write_text(f"def main():\n    return {status}\n")
    return place


@pytest.mark.parametrize("spelling", ["{0}/bin/fsprobe", "bin/fsprobe", "bin/../bin/fsprobe", "linked", "way/fsprobe"])
def test_its_own_directory_is_never_searched(prefix: Path, strace_program: str, spelling: str) -> None:
    """However it is called: Python resolves the directory that it searches first, and leaves the script's name as it is."""
    (prefix / "linked").symlink_to("bin/fsprobe")
    (prefix / "way").symlink_to("bin")
    log = prefix / "log"
    command = [sys.executable, spelling.format(prefix), "run", "--no-such-option"]
    done = subprocess.run(
        [strace_program, "-q", "-y", "-o", str(log), "-e", "trace=%file,getdents64", *command],
        cwd=prefix,
        env=clean_environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == NOT_STARTED, done.stderr
    events = parse(log.read_bytes().splitlines(keepends=True), ParseQuality())
    listed = {event.path for event in events if isinstance(event, Call) and event.op is Op.LIST}
    assert listed
    assert not {path for path in listed if path.endswith((b"/bin", b"/way"))}


def test_what_lies_above_its_directory_is_still_searched(prefix: Path) -> None:
    """`pip install --target=DIR`: fsprobe's packages are in DIR, which PYTHONPATH names, and the command in DIR/bin."""
    (prefix / "click").mkdir()
    (prefix / "click" / "__init__.py").write_text("raise SystemExit(9)\n")
    assert start(prefix, "--help", script=str(prefix / "bin" / "fsprobe"), path=f"{prefix}:{ROOT}") == 9


def test_the_first_on_the_path_is_started(prefix: Path) -> None:
    places = [prefix / "empty", fake(prefix / "first", 7), fake(prefix / "second", 8)]
    assert start(prefix, path=":".join(map(str, places))) == 7
    if sys.version_info >= (3, 11):  # PYTHONPATH then stands first, and stays
        assert start(prefix, options=("-P",), path=str(places[1])) == 7


def test_one_in_an_archive_or_at_a_relative_place_too(prefix: Path) -> None:
    """There Python's own finders are asked, in the same order."""
    with zipfile.ZipFile(prefix / "x.zip", "w") as archive:
        archive.writestr("fsprobe/__init__.py", "")
        archive.writestr("fsprobe/__main__.py", "def main():\n    return 7\n")
    place = fake(prefix / "second", 8)
    assert start(prefix, path=f"{prefix}/x.zip:{place}") == 7
    assert start(prefix, path=f"second:{prefix}/x.zip") == 8
