"""An interpreter whose imports no mark tells of: said, with the reason, and estimated; never "marked"."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.model.profile import Profile
from fsprobe.report import markdown
from fsprobe.report.html import page
from fsprobe.report.terminal import run
from tests.conftest import FSPROBE, INTERPRETERS, as_shown, clean_environment, need

N_OPENS = 9
VERSIONS = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
PYTHON_2 = next((str(path) for path in sorted(VERSIONS.glob("2.*/bin/python2"))), "")
UNKNOWN = (
    "import sys; b = sys.modules['_frozen_importlib']; f = b._find_and_load; n = type(f)(f.__code__, dict(b.__dict__)); "
    "n.__kwdefaults__ = f.__kwdefaults__; b._find_and_load = n\n"
)
"""An importlib that uses none of what the hook puts in its place: the one that is there, in a name space of its own."""


def plant(place: Path) -> None:
    (place / "planted").mkdir(parents=True)
    (place / "planted" / "__init__.py").write_text("")
    (place / "planted" / "data").write_text("")
    (place / "planted" / "work.py").write_text(
        f"for _ in range({N_OPENS}):\n    open(__file__.rpartition('/')[0] + '/data').close()\nimport json\n"
    )
    (place / "main.py").write_text("import planted.work\nprint(7)\n")


def analyse(path: Path, backend: str, *command: str) -> Profile:
    words = [*FSPROBE, "run", "--record-only", "-q", "--backend", backend, "--force", "-o", str(path), "--", *command]
    done = subprocess.run(words, capture_output=True, timeout=60, env=clean_environment())
    assert (done.returncode, done.stdout) == (0, b"7\n"), done.stderr
    return pipeline.analyse(path)


def assert_estimated(profile: Profile, why: str) -> None:
    quality = profile.quality
    assert (quality.unmarked, quality.is_marked) == ({why: 1}, False)
    assert quality.n_estimated > N_OPENS
    assert as_shown(profile, "planted", "planted.work", "json") <= {row.key for row in profile.metrics.by_module}
    for text in (render(profile, recording="x") for render in (run.render, markdown.render, page.render)):
        text = " ".join(text.split())
        assert "import timing: estimated" in text
        assert "imports not observed" in text
        assert "import timing: exact" not in text
        assert "1 interpreter without import timing" in text


@pytest.mark.parametrize("backend", ["strace", "ptrace", "audit"])
@pytest.mark.parametrize("version", [list(INTERPRETERS)[0], list(INTERPRETERS)[-1]])
def test_an_importlib_that_the_hook_does_not_know(version: str, backend: str, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([INTERPRETERS[version], "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python3*/site-packages")
    plant(tmp_path)
    command = [str(venv / "bin" / "python"), str(tmp_path / "main.py")]
    known = analyse(tmp_path / "known.fsprobe", backend, *command)
    assert (known.quality.unmarked, known.quality.n_estimated) == ({}, 0)
    assert "import timing: exact" in run.render(known, recording="x")
    (site / "first.pth").write_text(UNKNOWN)
    assert_estimated(analyse(tmp_path / "x.fsprobe", backend, *command), "importlib")


@pytest.mark.parametrize("backend", ["strace", "ptrace"])
def test_an_interpreter_in_which_the_hook_does_nothing(backend: str, tmp_path: Path) -> None:
    need(PYTHON_2, "no Python 2 here")
    plant(tmp_path)
    assert_estimated(analyse(tmp_path / "x.fsprobe", backend, PYTHON_2, str(tmp_path / "main.py")), "aside")


def test_no_interpreter_took_the_hook(tmp_path: Path) -> None:
    plant(tmp_path)
    command = [sys.executable, "-E", str(tmp_path / "main.py")]
    assert_estimated(analyse(tmp_path / "x.fsprobe", "strace", *command), "options")
