"""CPU time by import: what the modules say of themselves by their thread's own clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.capture.backends.inline import build
from tests.conftest import need

COMPUTES = "import os, time\nuntil = time.thread_time() + {s}\nwhile time.thread_time() < until: sum(range(1000)); os.stat('/')\n"
"""With calls in between: on a busy machine the tracer so knows each moment's CPU time, however long others had the processor."""
PROGRAM = """
import json, threading, time
used = {}
def load(name):
    before = time.thread_time()
    __import__(name)
    used[name] = time.thread_time() - before
load("computes")
load("sleeps")
thread = threading.Thread(target=load, args=("beside",))
thread.start()
thread.join()
print(json.dumps(used))
"""


@pytest.mark.parametrize("backend", ["ptrace", "inline"])
@pytest.mark.alone
def test_imports_have_the_cpu_time_of_their_own(backend: str, tmp_path: Path) -> None:
    if backend == "inline":
        need(not build.why_not(), build.why_not())
    (tmp_path / "computes.py").write_text(COMPUTES.format(s=0.15))
    (tmp_path / "sleeps.py").write_text("import time\ntime.sleep(0.15)\nimport inside\n")
    (tmp_path / "inside.py").write_text(COMPUTES.format(s=0.1))
    (tmp_path / "beside.py").write_text(COMPUTES.format(s=0.08))
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, "-m", "fsprobe", "run", "-q", "--record-only", "--backend", backend]
    words += ["-o", str(tmp_path / "x.fsprobe"), "--", sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    used = json.loads(done.stdout)
    account = pipeline.analyse(tmp_path / "x.fsprobe").time
    assert account is not None
    rows = {row.key: row for row in account.by_import or ()}
    for name, used_s in used.items():
        assert rows[name].cpu_cum_s == pytest.approx(used_s, rel=0.1, abs=0.004), name
    assert rows["computes"].cpu_s == pytest.approx(0.15, rel=0.1)
    assert rows["inside"].cpu_s == pytest.approx(0.1, rel=0.1)
    assert rows["sleeps"].cpu_s == pytest.approx(0, abs=0.01), "it waited"
    assert rows["sleeps"].wall_s >= 0.14
    assert (rows["computes"].n_major_faults is None) == (backend == "ptrace"), "a tracer does not see by whom"
