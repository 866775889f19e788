"""Questions that rules ask of a run."""

from __future__ import annotations

import random
from dataclasses import replace

from fsprobe.analysis.counting.tally import PathTally, Tally
from fsprobe.analysis.findings.environment import network_roots
from fsprobe.analysis.findings.evidence import under, under_each
from tests.analysis.findings.evidence import make


def test_under_many_roots_is_under_each() -> None:
    chance = random.Random(1)

    def path() -> bytes:
        return b"".join(chance.choice((b"/", b"a", b"/b", b"//", b"c/")) for _ in range(chance.randrange(7)))

    for _ in range(300):
        tally = Tally(by_path={path(): PathTally() for _ in range(12)})
        evidence, roots = replace(make(), tally=tally), [path() for _ in range(5)]
        assert under_each(evidence, roots) == {root: list(under(evidence, [root])) for root in roots}


def test_roots_are_worked_out_once() -> None:
    evidence = make()
    assert network_roots(evidence) is network_roots(evidence)
    assert network_roots(evidence) == network_roots(make())
