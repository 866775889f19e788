"""Each I/O call of fsprobe fails in turn: the command's output and exit code stay, and what is lost is said in a line.

FSPROBE_FAULTS=N tries N calls of each command line, spread over their kinds; 0 all calls. Else `N_TRIED`: the whole trial is
`python -m benchmarks.robustness --only faults --fresh`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from benchmarks.robustness.trial import LINES, Faults, build
from tests.conftest import need

N_TRIED = 3


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = build(tmp_path_factory.mktemp("shim"))
    need(made, "no C compiler")
    assert made is not None
    return made


@pytest.mark.parametrize("name", [name for name in LINES if name not in ("inline", "pack")])
def test_each_call_that_fails(name: str, shim: Path, tmp_path: Path) -> None:
    faults = Faults(shim, tmp_path, LINES[name], is_run=LINES[name][0] == "run")
    n_wanted = int(os.environ.get("FSPROBE_FAULTS", N_TRIED))
    calls = faults.calls()
    kinds = faults.kinds() if n_wanted else list(range(1, len(calls) + 1))
    assert len(kinds) >= 8, calls
    step = max(1, len(kinds) / n_wanted) if n_wanted else 1
    chosen = [kinds[int(i * step)] for i in range(int(len(kinds) / step))]
    failed, n_reached = [], 0
    for i, at in enumerate(chosen):
        for for_good in (False, True) if not n_wanted else (i % 2 == 1,):
            trial = faults.try_one(at, errno.EIO if i % 3 else errno.ENOSPC, for_good=for_good)
            n_reached += trial.call != "(not reached)"
            failed += [(at, trial.call, "for good" if for_good else "once", problem) for problem in trial.problems]
    assert not failed
    assert n_reached >= len(chosen) * 0.8, "calls differ between runs, but not by much"


def test_no_fault_is_no_problem(shim: Path, tmp_path: Path) -> None:
    """The tool itself: without a fault nothing is said, and what it looks at is there."""
    faults = Faults(shim, tmp_path, LINES["strace"], is_run=True)
    calls = faults.calls()
    assert {call.split()[0] for call in calls} >= {
        "open",
        "read",
        "write",
        "close",
        "stat",
        "rename",
        "unlink",
        "fsync",
    }
    assert faults.output.exists()
    assert faults.try_one(0, errno.EIO, for_good=False).problems == ()
