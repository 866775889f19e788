"""The benchmark of the time account: what is a miss, and what the truth is made of."""

from __future__ import annotations

from benchmarks.fileserver import Counters
from benchmarks.time import __main__ as bench
from fsprobe.analysis.verdict import CAN_NOT_TELL, HEAVY, NOT
from fsprobe.model.formats import JsonObject

META, READS, CPU, FAULTS = bench.SETTINGS


def row(**said: float) -> JsonObject:
    truth = {"cpu": 1.0, "metadata": 4.0, "other": 0.05}
    return {"said": {**truth, **said}, "truth": truth, "wall_s": 5.0, "level": HEAVY, "expected": (HEAVY,)}


def test_a_part_that_is_off_by_more_than_a_tenth_is_a_miss() -> None:
    assert bench.misses(row()) == []
    assert bench.misses(row(metadata=4.39, cpu=0.91)) == []
    assert bench.misses(row(metadata=4.41)) == ["metadata"]
    assert bench.misses(row(cpu=1.11)) == ["cpu"]
    assert bench.misses(row(other=0.14)) == [], "less than 2 % of the wall time"
    assert bench.misses(row(other=0.16)) == ["other"]


def test_the_truth_is_the_servers_and_the_clocks() -> None:
    held = Counters(metadata_held_ns=4_100_000_000, data_held_ns=900_000_000, metadata_wait_ns=4_000_000_000)
    told = {"cpu_s": 1.0, "queued_s": {"start": 0.1, "metadata": 0.2, "reads": 0.3, "faults": 0.4, "computing": 0.5}}
    assert (READS.n_reads, READS.n_faults) == (200, 5)
    inline, strace = (bench.truth(READS, held, told, backend) for backend in ("inline", "strace"))
    of_reads = 0.9 * 200 / 205
    assert inline["metadata"] == strace["metadata"] == 4.1 + 0.2
    assert round(inline["reads"], 9) == round(of_reads + 0.3, 9)
    assert round(inline["other"], 9) == round(0.9 - of_reads + 0.1 + 0.4 + 0.5, 9)
    assert round(strace["other"], 9) == round(0.9 + 0.1 + 0.3 + 0.4 + 0.5, 9)


def test_medians_and_a_verdict_that_was_wrong_once() -> None:
    made = bench.middle([row(metadata=4.0), row(metadata=5.0), {**row(metadata=4.2), "level": NOT}])
    assert (made["said"]["metadata"], made["is_right"]) == (4.2, False)
    assert made["level"] == f"{HEAVY}, {NOT}"
    assert bench.middle([row(), row(), row()])["is_right"]


def test_right_verdicts() -> None:
    assert bench.expected(CPU, True, "inline") == bench.expected(META, False, "strace") == (NOT,)
    assert bench.expected(READS, True, "strace") == (CAN_NOT_TELL,)
    assert bench.expected(FAULTS, True, "inline") == (HEAVY,)
