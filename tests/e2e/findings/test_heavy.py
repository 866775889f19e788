"""The same 20,000 stats: nothing in memory, and heavy where each waits a millisecond for a file server."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from benchmarks.fileserver import serve
from fsprobe.analysis.verdict import verdict
from fsprobe.model.profile import Verdict
from tests.conftest import need
from tests.e2e.findings.runs import evidence_of, record

pytestmark = pytest.mark.usefixtures("strace_program")

PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
N_STATS = 20_000
SMALL, LARGE = 40, 60
"""% of the wall time, with room for a machine that does other work: 5 to 21 and 93 were seen."""


def stats_in(place: Path) -> list[str]:
    """A program that stats as many distinct names: a client's cache answers the second question for one name."""
    return [PYTHON, "-c", f"import os\nfor n in range({N_STATS}): os.path.exists({str(place)!r} + '/gone%d' % n)"]


def share(judged: Verdict, place: str) -> int:
    """% of the wall time that waiting for a place took, as the verdict says it."""
    (reason,) = [reason for reason in judged.reasons if reason.startswith(f"waiting for {place}")]
    found = re.search(r"(\d+)% of the wall time", reason)
    assert found is not None, reason
    return int(found.group(1))


@pytest.mark.alone
def test_in_memory(tmp_path: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    need(any(" /dev/shm " in line and " - tmpfs " in line for line in lines), "/dev/shm is no tmpfs")
    for _ in range(3):  # who else runs here makes calls wait for a processor: that can only add
        judged = verdict(evidence_of(record(stats_in(Path("/dev/shm")), tmp_path)))
        if share(judged, "local disks, memory and images") < SMALL:
            break
    assert judged.level == "not the filesystem"
    assert share(judged, "local disks, memory and images") < SMALL
    assert "none of them to a file server" in judged.sentence


@pytest.mark.needs_root
@pytest.mark.slow
def test_on_a_slow_server(tmp_path: Path) -> None:
    need(os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK), "the file server needs root and /dev/fuse")
    src, mnt = tmp_path / "src", tmp_path / "mnt"
    src.mkdir()
    mnt.mkdir()
    with serve(src, mnt, meta_ms=1.0, read_ms=0) as server:
        file = record(stats_in(mnt), tmp_path)
        assert server.counters().lookup >= N_STATS
    judged = verdict(evidence_of(file))
    assert judged.level == "heavy"
    assert share(judged, str(mnt)) > LARGE
    assert str(mnt) in judged.sentence
