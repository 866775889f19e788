"""The installed command: which fsprobe it starts, from wherever it is called, and what it leaves of sys.path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Op, ParseQuality
from fsprobe.recording.file import Recording
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


WITHOUT_SITE = ("-I", "-S")


@pytest.fixture
def installed(prefix: Path) -> Path:
    """The same with fsprobe in its site directory; no interpreter has that on its path."""
    site = prefix / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    site.mkdir(parents=True)
    (site / "fsprobe").symlink_to(ROOT / "fsprobe")
    return prefix


def test_without_site_the_modules_that_are_missing_bring_it_back(installed: Path) -> None:
    """`python -I -S fsprobe`: click is found all the same."""
    command = [sys.executable, *WITHOUT_SITE, "bin/fsprobe", "--version"]
    done = subprocess.run(command, cwd=installed, env=clean_environment(), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"fsprobe, version ")


def test_without_site_a_run_that_only_records_looks_for_none(installed: Path, strace_program: str) -> None:
    """Nor for a module of its own: no site directory is listed; and no bytecode is written where the environment forbids it."""
    log = installed / "log"
    command = [sys.executable, *WITHOUT_SITE, "bin/fsprobe", "run", "--record-only", "--no-such-option"]
    done = subprocess.run(
        [strace_program, "-q", "-y", "-o", str(log), "-e", "trace=%file,getdents64", *command],
        cwd=installed,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == NOT_STARTED, done.stderr
    events = list(parse(log.read_bytes().splitlines(keepends=True), ParseQuality()))
    assert not [e for e in events if isinstance(e, Call) and e.op is Op.LIST and e.path.endswith(b"/site-packages")]
    assert not [e for e in events if isinstance(e, Call) and e.op is Op.CHANGE]
    assert b"/pyvenv.cfg" not in log.read_bytes().split(b"bin/fsprobe", 2)[-1]


def test_without_site_the_command_has_the_environment_that_it_would_have(installed: Path) -> None:
    """Also what no shell would hand on; and the recording says the same of it."""
    given = {
        **clean_environment(),
        "BASH_FUNC_x%%": "() { :; }",
        "PYTHONPATH": "/none",
        "PYTHONHASHSEED": "7",
        "_": "/x",
    }
    given |= {"LC_ALL": "C", "VIRTUAL_ENV": "/some/venv"}
    told = []
    for options in (WITHOUT_SITE, ()):
        out = installed / "out.fsprobe"
        words = ["run", "--record-only", "-q", "--force", "--no-markers", "-o", str(out), "--", "env", "-0"]
        environment = given if options else {**given, "PYTHONPATH": f"{ROOT}"}
        done = subprocess.run(
            [sys.executable, *options, "bin/fsprobe", *words],
            cwd=installed,
            env=environment,
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        manifest = Recording(str(out)).manifest
        told.append({name: manifest[name] for name in ("job", "fsprobe_python", "markers", "backend", "lookups_left")})
        told[-1]["environment"] = {**manifest["environment"], "PYTHONPATH": ""}
        shown = dict(line.split("=", 1) for line in os.fsdecode(done.stdout).split("\0") if line)
        assert shown == environment
    assert json.dumps(told[0], sort_keys=True) == json.dumps(told[1], sort_keys=True)


def test_another_python_is_told_to_be_one(prefix: Path) -> None:
    command = [sys.executable, *WITHOUT_SITE, "-B", "x/fsprobe", "run", "--", "true"]
    (prefix / "x").mkdir()
    text = SCRIPT.read_text().replace("import fsprobe.__main__", "raise ModuleNotFoundError(name='fsprobe')")
    (prefix / "x" / "fsprobe").write_text(text.replace("    site.main()", "    pass"))
    done = subprocess.run(command, cwd=prefix, env=clean_environment(), capture_output=True, timeout=60)
    assert done.returncode == NOT_STARTED
    assert done.stderr.startswith(b"fsprobe: " + os.fsencode(sys.executable) + b" has no fsprobe\nfsprobe: hint: ")
