"""Whoever reads what fsprobe prints may be gone, and stderr may be closed: exit codes stay what they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import FSPROBE, clean_environment

QUIET = "", "2>&-", "<&- 2>&-", "| true"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("venv")
    (place / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\n")
    (place / "bin").mkdir()
    (place / "bin" / "python").symlink_to("/usr/bin/python3")
    (place / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    return place


@pytest.mark.parametrize("how", QUIET)
@pytest.mark.parametrize(
    ("words", "status"), [(["scan", "ENV"], 0), ([], 2), (["explain"], 0), (["explain", "FSP999"], 2)]
)
def test_the_exit_code_does_not_depend_on_who_listens(
    environment: Path, words: list[str], status: int, how: str
) -> None:
    words = [str(environment) if word == "ENV" else word for word in words]
    line = f'set -o pipefail; "$@" {how}'
    done = subprocess.run(
        ["bash", "-c", line, "-", *FSPROBE, *words],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_no_file_becomes_a_standard_descriptor(tmp_path: Path) -> None:
    """What is opened while stderr is closed would get whatever is written to descriptor 2."""
    program = (
        "import os, sys; from fsprobe.cli import failures; failures.open_output();"
        "print(min(os.open('/dev/null', 0) for _ in range(3)) > 2, sys.stderr is not None)"
    )
    for how in ("2>&-", "<&- 2>&-", "<&-"):
        words = ["bash", "-c", f'"$@" {how}', "-", FSPROBE[0], "-c", program]
        assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == "True True\n"


def test_an_interpreter_that_shall_ask_is_the_commands(tmp_path: Path) -> None:
    """PYTHONINSPECT keeps each interpreter at its prompt when its program has ended, fsprobe's own too."""
    words = ["run", "-q", "--backend", "ptrace", "-o", str(tmp_path / "o.fsprobe"), "--", "sh", "-c", "exit 3"]
    environment = {**clean_environment(), "PYTHONINSPECT": "1"}
    for first in ([*FSPROBE, *words], [*FSPROBE, "explain", "FSP999"]):
        done = subprocess.run(
            first, input="print('asked')\n", env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == (3 if "run" in first else 2)
        assert "asked" not in done.stdout
        assert ">>>" not in done.stderr
    assert (tmp_path / "o.fsprobe").exists()
