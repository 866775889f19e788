"""The report on robustness: made from its JSON alone, and of CPython's tests each outcome is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import evidence
from benchmarks.robustness import cpython
from benchmarks.robustness.report import markdown

PATH = evidence.REPORTS / "robustness.json"
VERBOSE = """\
test_a (test.test_x.Case.test_a) ... ok
test_b (test.test_x.Case.test_b)
What it is about. ... skipped 'needs a terminal'
test_c (test.test_x.Case.test_c) ... something that the test prints
ok
test_d (test.test_x.Case.test_d) ... FAIL
test_e (test.test_x.Case.test_e) ... expected failure
test_f (test.test_x.Case.test_f) ...
======================================================================
FAIL: test_d (test.test_x.Case.test_d)
"""


@pytest.mark.skipif(not PATH.exists(), reason="it was not measured yet")
def test_the_committed_report_is_what_its_json_makes(tmp_path: Path) -> None:
    result = json.loads(PATH.read_text())
    assert evidence.save(result, markdown, None, tmp_path) == PATH.with_suffix(".md").read_text()
    assert set(result["parts"]) >= {"faults", "signals", "inputs", "words", "cpython"}
    assert len(result["parts"]["cpython"]) >= 48
    assert all(row["n_tests"] > 0 for row in result["parts"]["cpython"])


def test_each_outcome_is_read() -> None:
    found = {name.split()[0]: outcome for name, outcome in cpython.outcomes(VERBOSE).items()}
    assert found == {
        "test_a": "ok",
        "test_b": "skipped",
        "test_c": "ok",
        "test_d": "FAIL",
        "test_e": "expected",
        "test_f": "no outcome",
    }


def test_a_difference_without_a_cause_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpython, "CAUSES", {("test_audit", "audit", "test_open"): "why"})
    one = cpython._difference("test_audit", "audit", "test_open (x)", "ok", "FAIL")
    assert one["cause"]
    assert not cpython._difference("test_audit", "strace", "test_open (x)", "ok", "FAIL")["cause"]
    assert len(set(cpython.FILES)) == len(cpython.FILES) >= 48
