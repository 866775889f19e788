"""Mistakes of the first hour: one line says what is wrong, one what to do, and nothing is started or written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fsprobe.capture import naming
from fsprobe.capture.machine import host
from fsprobe.cli import group
from fsprobe.errors import EXIT_BAD_INPUT, EXIT_NOT_FOUND, EXIT_OWN_FAILURE, EXIT_USAGE, FsprobeError
from tests.conftest import FSPROBE, ROOT, run_plain


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a recording and a script."""
    shutil.copy(ROOT / "tests" / "data" / "format1" / "run-time.fsprobe", tmp_path / "slow.fsprobe")
    (tmp_path / "x.py").write_text("print(6 * 7)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "status", "said", "hint"),
    [
        (["compare", "--", "ls", "x.py"], EXIT_USAGE, "ls is a command", "--env VENV --squashfs -- ls x.py"),
        (["compare", "slow.fsprobe", "no.fsprobe"], EXIT_BAD_INPUT, "cannot read no.fsprobe", "check the name"),
        (["report", "slow"], EXIT_BAD_INPUT, "cannot read slow", "did you mean slow.fsprobe?"),
        (["report", "fast"], EXIT_BAD_INPUT, "cannot read fast", "NAME.fsprobe"),
        (
            ["ticket", "slow.fsprobe", "-o", "t.tar"],
            EXIT_USAGE,
            "t.tar: what is written is an archive, not a file of .tar",
            "-o t.zip",
        ),
        (["--hlep"], EXIT_USAGE, "no option --hlep", "did you mean `fsprobe --help`?"),
        (["--verson"], EXIT_USAGE, "no option --verson", "did you mean `fsprobe --version`?"),
        (["--live", "x.py"], EXIT_USAGE, "no option --live", "options come after the command"),
        (["scan", "nowhere"], EXIT_BAD_INPUT, "nowhere: no such directory", "`python -m venv`"),
        (["scan", "x.py"], EXIT_BAD_INPUT, "x.py: not a directory", "`python -m venv`"),
        (["pack", "nowhere", "-o", "x.sqsh"], EXIT_BAD_INPUT, "nowhere: no such directory", "`python -m venv`"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str, hint: str
) -> None:
    before = sorted(path.name for path in place.iterdir())
    assert group.main(words) == status
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert said in lines[0]
    assert lines[1].startswith("fsprobe: hint: ")
    assert hint in lines[1]
    assert (len(lines), out) == (2, "")
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (["cd", "/tmp"], "word of the shell"),
        (["source", "venv/bin/activate"], "word of the shell"),
        (["N=1", "python3", "x.py"], "`fsprobe run -- env N=1 ...`"),
        (["no.py"], "there is no such file"),
        (["./no.sh"], "there is no such file"),
        (["nosuchprogram"], "check the name and PATH"),
        (["=", "x"], "check the name and PATH"),
    ],
)
def test_what_is_no_program_is_answered_by_what_it_looks_like(place: Path, command: list[str], hint: str) -> None:
    with pytest.raises(FsprobeError, match="command not found") as caught:
        host.check_command(command, {"PATH": "/usr/bin:/bin"})
    assert caught.value.exit_code == EXIT_NOT_FOUND
    assert hint in caught.value.hint


def test_a_missing_directory_is_told_before_the_command_runs(place: Path) -> None:
    done = run_plain([*FSPROBE, "run", "-o", "no/x.fsprobe", "--", "touch", "started"], cwd=place)
    assert done.status == EXIT_OWN_FAILURE
    assert "no such directory: no" in done.own_lines[0]
    assert "mkdir -p no" in done.own_lines[1]
    assert not (place / "started").exists()
    assert not (place / "no").exists()


@pytest.mark.parametrize("output", ["", "x.fsprobe", "sub", "sub/", "sub/x.fsprobe", "new/", "new/er/", "./x.fsprobe"])
def test_a_directory_that_is_there_or_is_made_is_fine(place: Path, output: str) -> None:
    (place / "sub").mkdir()
    naming.check(naming.output_path(output, ["ls"], "nid1", None))


@pytest.mark.parametrize(
    ("command", "begins"),
    [
        (["python3", "-m", "train"], "python3-train-nid1-"),
        (["/usr/bin/python3.11", "-I", "-m", "pkg.train", "-m", "x"], "python3.11-pkg.train-nid1-"),
        (["python", "train.py", "-m", "x"], "python-train.py-nid1-"),
        (["python", "-m"], "python-nid1-"),
        (["mysql", "-m", "secret"], "mysql-nid1-"),
        (["python3", "-c", "import json"], "python3-nid1-"),
    ],
)
def test_a_recording_is_named_after_the_module_that_ran(command: list[str], begins: str) -> None:
    assert naming.default_name(command, "nid1", None).startswith(begins)
