"""The plugin, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

@pytest.mark.fsprobe(max_metadata=10)
def test_over(fsprobe_run):
    fsprobe_run("import xmlrpc.client")

@pytest.mark.fsprobe(max_metadata=100_000)
def test_kept(fsprobe_run):
    assert "xmlrpc" in fsprobe_run("import xmlrpc.client").modules.index

@pytest.mark.fsprobe(max_metadata=10)
def test_without_the_fixture():
    pass

@pytest.mark.fsprobe(max_metta=10)
def test_misspelt(fsprobe_run):
    pass

@pytest.mark.fsprobe(max_metadata=10)
def test_runs_nothing(fsprobe_run):
    pass

def test_failing_command(fsprobe_run):
    fsprobe_run(["/bin/sh", "-c", "exit 3"])
"""


def test_limits_hold_and_say_who_is_over(tmp_path: Path) -> None:
    (tmp_path / "test_start.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-ra",
        "-p",
        "fsprobe.api.pytest_plugin",
        "--strict-markers",
        str(tmp_path),
    ]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # it may be installed, and then be registered twice
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, env=env)
    said = done.stdout
    assert done.returncode == 1, said + done.stderr
    assert "2 failed, 2 passed, 3 errors" in said
    for line in (
        "check failed: 1 of 1 limit exceeded",
        "xmlrpc",
        "takes the fixture fsprobe_run",
        "has no max_metta",
        "ran nothing by fsprobe_run",
        "ended with exit code 3",
    ):
        assert line in said


def test_nothing_of_fsprobe_is_loaded_before_a_test_asks() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import fsprobe.api.pytest_plugin; "
        "print(sorted(name for name in set(sys.modules) - before if name.startswith(('fsprobe', 'click', 'rich', 'pandas'))))"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert loaded == "['fsprobe', 'fsprobe.api', 'fsprobe.api.pytest_plugin']"
