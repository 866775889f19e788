"""Runs whose interpreters said nothing of themselves: their paths tell enough for what is done with a recording later."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.errors import MachineCannot
from fsprobe.experiment import fix
from tests.conftest import Fsprobe, need


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    place = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    return place


@pytest.mark.parametrize("options", [(), ("--no-markers",)], ids=["hook", "no hook"])
def test_the_environment_can_be_cured(run_fsprobe: Fsprobe, venv: Path, options: tuple[str, ...]) -> None:
    done = run_fsprobe([str(venv / "bin" / "python"), "-c", "pass"], options=("-q", *options))
    profile = pipeline.analyse(done.recording)
    python = profile.manifest.python
    assert python is not None
    assert (python.prefix, python.from_paths) == (str(venv), bool(options))
    assert os.path.realpath(str(python.base_prefix)) == os.path.realpath(sys.base_prefix)
    try:
        planned = fix.prepare(profile)
    except MachineCannot as error:
        need(False, str(error))
        raise
    assert planned.env == venv.resolve()
