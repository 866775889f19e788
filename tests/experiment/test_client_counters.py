"""Comparing layouts: what of the counters of the filesystem's client belongs to a run."""

from __future__ import annotations

from fsprobe.experiment.compare import settled
from fsprobe.experiment.runs import asked
from fsprobe.experiment.summarise import _is_part


def test_what_emptying_the_caches_gives_back_is_not_the_runs() -> None:
    """A cold run begins before its layout is mounted; files that NFS 4 lent go back in between."""
    before = {"open": 10, "lookup": 5, "delegreturn": 3, "metadata": 18}
    at_start = {"open": 11, "lookup": 7, "delegreturn": 98, "metadata": 116}
    at_end = {"open": 31, "lookup": 9, "delegreturn": 99, "metadata": 139}
    assert asked(before, at_start, at_end, is_cold=True) == {"open": 21, "lookup": 4, "delegreturn": 1, "metadata": 26}
    assert asked(before, at_start, at_end, is_cold=False) == {"open": 20, "lookup": 2, "delegreturn": 1, "metadata": 23}


def test_counters_are_read_when_they_stand_still() -> None:
    readings = iter([{"close": 1}, {"close": 4}, {"close": 5}, {"close": 5}, {"close": 9}])
    assert settled(lambda: next(readings)) == {"close": 5}
    restless = iter({"close": n} for n in range(1000))
    assert settled(lambda: next(restless))["close"] < 20


def test_a_bound_directory_is_of_the_same_client() -> None:
    whole, part = ("nfs4", b"server:/srv"), ("nfs4", b"server:/srv/me/env")
    assert _is_part(whole, part)
    assert _is_part(part, whole)
    assert _is_part(whole, whole)
    for other in (("nfs4", b"server:/srv2"), ("nfs4", b"other:/srv/me"), ("nfs", b"server:/srv/me")):
        assert not _is_part(other, whole)
