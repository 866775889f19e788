"""What the clients of a node's NFS and Lustre mounts count while a command runs."""

from __future__ import annotations

import pytest

from fsprobe.capture.machine import counters, meter, mounts

TABLE = b"""25 1 8:1 / / rw - ext4 /dev/sda rw
36 25 0:31 / /project rw,relatime - nfs4 server:/srv rw,vers=4.2
37 25 0:32 / /scratch rw - lustre mgs@tcp:/fs rw,flock
"""


def test_what_was_counted_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{"lookup": 5, "open": 2, "metadata": 7}, {"lookup": 9, "open": 2, "metadata": 11}])

    def find(path: bytes) -> tuple[counters.Source | None, str]:
        return (counters.Source("a client", lambda: next(readings)), "") if path == b"/project" else (None, "denied")

    monkeypatch.setattr(mounts, "read_own", lambda: TABLE)
    monkeypatch.setattr(counters, "find", find)
    assert meter.Meter(True).read() == {
        "/project": {"source": "a client", "operations": {"lookup": 4, "metadata": 4}, "why_not": ""},
        "/scratch": {"source": "", "operations": {}, "why_not": "denied"},
    }


def test_nothing_is_read_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "read_own", lambda: pytest.fail("the mounts were read"))
    assert meter.Meter(False).read() == {}
