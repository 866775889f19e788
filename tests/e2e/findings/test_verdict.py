"""What is not the filesystem's fault is not blamed on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fsprobe.analysis.verdict import verdict
from tests.e2e.findings.runs import evidence_of, record

pytestmark = pytest.mark.usefixtures("strace_program")


def test_a_bare_start(tmp_path: Path) -> None:
    assert verdict(evidence_of(record([sys.executable, "-c", "pass"], tmp_path))).level == "not the filesystem"


def test_an_import_that_computes_for_three_seconds(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nwhile time.process_time() < 3: pass\n")
    judged = verdict(
        evidence_of(record([sys.executable, "-c", "import slow"], tmp_path, {"PYTHONPATH": str(tmp_path)}))
    )
    assert judged.level == "not the filesystem"
    assert any("CPU" in reason for reason in judged.reasons)


def test_a_warm_local_import(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, "-c", "import sklearn"]
    record(command, tmp_path)
    assert verdict(evidence_of(record(command, tmp_path))).level == "not the filesystem"
