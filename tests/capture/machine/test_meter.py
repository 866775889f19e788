"""What the clients of a node's NFS and Lustre mounts count while a command runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.capture import options, record
from fsprobe.capture.machine import counters, meter, mounts
from fsprobe.recording.file import Recording

TABLE = b"""25 1 8:1 / / rw - ext4 /dev/sda rw
36 25 0:31 / /project rw,relatime - nfs4 server:/srv rw,vers=4.2
37 25 0:32 / /scratch rw - lustre mgs@tcp:/fs rw,flock
"""
BEFORE = {"lookup": 5, "open": 2, "metadata": 7}


def test_what_was_counted_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{**BEFORE, "readlink": 0}, {"lookup": 9, "open": 2, "metadata": 11, "readlink": 0}])

    def find(path: bytes) -> tuple[counters.Source | None, str]:
        return (counters.Source("a client", lambda: next(readings)), "") if path == b"/project" else (None, "denied")

    monkeypatch.setattr(mounts, "read_own", lambda: TABLE)
    monkeypatch.setattr(counters, "find", find)
    assert meter.Meter().read() == {
        "/project": {"source": "a client", "operations": {"lookup": 4, "metadata": 4}, "before": BEFORE, "why_not": ""},
        "/scratch": {"source": "", "operations": {}, "before": {}, "why_not": "denied"},
    }


@pytest.mark.parametrize("after", [{}, {"lookup": 4, "open": 9, "metadata": 13}], ids=["gone", "mounted again"])
def test_a_mount_that_was_replaced_is_not_counted(after: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([BEFORE, after])
    monkeypatch.setattr(mounts, "read_own", lambda: TABLE.splitlines(keepends=True)[1])
    monkeypatch.setattr(counters, "find", lambda path: (counters.Source("a client", lambda: next(readings)), ""))
    counted = meter.Meter().read()["/project"]
    assert (counted["operations"], bool(counted["why_not"])) == ({}, True), "nothing was observed: it is not 0"


def test_nothing_is_read_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, strace_program: str) -> None:
    monkeypatch.setattr(meter, "Meter", lambda: pytest.fail("counters were read"))
    recorded = record.record(options.parse(["-q", "--force", "-o", str(tmp_path / "x.fsprobe"), "--", "/bin/true"]))
    assert Recording(recorded.path).manifest["counters"] == {}
