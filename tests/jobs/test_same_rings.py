"""Ranks recorded inline that made the same calls are counted from one of them, with the very results of reading each."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from fsprobe.analysis.columns.slots import LAYOUT
from fsprobe.events.ring import kinship, slots
from fsprobe.jobs.reading import same_calls
from fsprobe.recording import file as recording
from tests.analysis.columns.test_columns import Made
from tests.job_recordings import rank_variables
from tests.jobs.test_same_calls import MOUNTS, N_RANKS, both, check_equal, found

__all__ = ["found"]
TID_STEP = 4_001


def ring_of_rank(data: bytes, number: int, own: bytes = b"", longest_ns: int = 19_500) -> bytes:
    """The ring of another rank that made the same calls: its threads and all its times are its own.

    Args:
        data: a ring.
        number: of the rank.
        own: what is put for `/data/x.so`, of the same length.
        longest_ns: how long some of its calls take; two follow each other by 20 us and more.
    """
    chance = np.random.default_rng(number)
    ring = slots.open_ring(data)
    rows = np.frombuffer(bytearray(data[slots.HEADER_BYTES :]), dtype=LAYOUT).copy()[: ring.n_slots]
    kinds = np.frombuffer(ring.kinds, dtype=np.uint8)
    there = (kinds <= slots.MARK) & (kinds != slots.TEXT)
    said, marks, calls = np.isin(kinds, (slots.START, slots.NEWTID)), kinds == slots.MARK, kinds == slots.CALL
    waits = calls & np.isin(rows["nr"], list(kinship.WAITS))
    n = len(rows)
    step = (number + 1) * TID_STEP
    rows["tid"][there] += step
    rows["arg"][said, 0] += step
    rows["arg"][said & (rows["arg"][:, 1] > 1), 1] += step
    rows["arg"][waits, 0] += step
    rows["t_ns"][there] = np.cumsum(chance.integers(20_000, 900_000, n))[there] + number * 10**9
    rows["dur_ns"][calls] = chance.choice((900, 5_000, 19_000, longest_ns), n)[calls]
    rows["arg"][marks, 0] = np.cumsum(chance.integers(0, 100_000, n))[marks]
    for name in ("read_ns", "read_bytes"):
        there_is = calls & (rows[name] > 0)
        rows[name][there_is] = chance.integers(1, 500_000, n)[there_is]
    return bytes(data[: slots.HEADER_BYTES]) + rows.tobytes().replace(b"/data/x.so", own or b"/data/x.so")


def write(place: Path, number: int, ring: bytes, *, cwd: str = "/w", path: str = "/site") -> None:
    token = f"{5 + (number + 1) * TID_STEP}.{number:012x}"
    facts = {
        "pid": 5 + (number + 1) * TID_STEP, "ns": number, "version": "3.11.7", "implementation": "cpython", "executable": "/usr/bin/python3",
        "prefix": "/usr", "base_prefix": "/usr", "exec_prefix": "/usr", "path": [path], "cache_tag": "cpython-311",
        "extension_suffixes": [".so"], "environment": {},
    }  # fmt: skip
    marks = ("=" + repr(facts) + "\n").encode()
    manifest = {
        "backend": "inline", "capabilities": ["durations", "results", "stats", "reads"], "command": ["python3"], "cwd": cwd,
        "environment": {}, "exit_code": 0, "hook_dir": f"/run/fsprobe-{number:08x}/hook", "host": "n", "kernel": "6.1", "markers": "ring",
        "scratch": f"/dev/shm/fsprobe-{number + 99:08x}", "started_s": 1_795_000_000.0 + number, "wall_s": 1.5, "user_s": 0.2,
        "sys_s": 0.1, "uid": 7, "wall_start_ns": number * 10**9, "job": rank_variables(number, size=N_RANKS, per_node=N_RANKS),
    }  # fmt: skip
    sections = [
        ("manifest", json.dumps(manifest).encode()),
        ("marks", f"@marks.{token} {len(marks)}\n".encode() + marks),
        ("mounts", MOUNTS),
        ("lookups", b"{}"),
        ("ring", ring),
    ]
    recording.write(str(place / f"r{number}.fsprobe"), "recording", sections)


@pytest.mark.parametrize("seed", range(12))
def test_only_their_times_are_read(
    seed: int, tmp_path: Path, found: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Made(seed).ring(200)
    for number in range(N_RANKS):
        write(tmp_path, number, ring_of_rank(data, number))
    short, long = both(tmp_path, monkeypatch)
    assert found == [False, *[True] * (N_RANKS - 1)]
    check_equal(short, long)
    assert short.tally.total.n_metadata == N_RANKS * (short.tally.total.n_metadata // N_RANKS) > 0
    assert len({row.startup_s for row in short.rows}) == N_RANKS


@pytest.mark.parametrize("name", [b"/data/y.so", b"/data/x.s/"])
def test_a_rank_with_another_path_is_read_the_long_way(
    name: bytes, tmp_path: Path, found: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Made(2).ring(200)
    assert data.count(b"/data/x.so") > 3
    for number in range(N_RANKS):
        write(tmp_path, number, ring_of_rank(data, number, name if number == 2 else b""))
    short, long = both(tmp_path, monkeypatch)
    assert found == [False, True, False, True, True]
    check_equal(short, long)


@pytest.mark.parametrize("what", ["cwd", "path"])
def test_so_is_one_with_other_surroundings(
    what: str, tmp_path: Path, found: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Made(2).ring(200)
    for number in range(N_RANKS):
        write(tmp_path, number, ring_of_rank(data, number), **({what: "/elsewhere"} if number == 2 else {}))
    short, long = both(tmp_path, monkeypatch)
    assert found == [False, True, False, True, True]
    check_equal(short, long)


def test_what_is_its_own_in_one_and_not_in_another_is_not_taken_for_the_same(
    tmp_path: Path, found: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path in the first one's directory of hooks is looked up by all: by the others it is a program's call."""
    data = Made(2).ring(200).replace(b"/data/lib/python3.11/encodings", b"/run/fsprobe-00000000/hook/xyz")
    for number in range(N_RANKS):
        write(tmp_path, number, ring_of_rank(data, number))
    short, long = both(tmp_path, monkeypatch)
    assert found[1] is False
    assert short.tally.own != {name: N_RANKS * n for name, n in short.tally.own.items()}
    check_equal(short, long)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_differs_the_results_are_those_of_the_long_way(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some bytes of some ranks are others."""
    chance = random.Random(seed)
    data = Made(seed % 7).ring(120)
    monkeypatch.setattr(same_calls, "KNOWN", same_calls.SameCalls())
    for number in range(N_RANKS):
        ring = bytearray(ring_of_rank(data, number, longest_ns=chance.choice((19_500, 400_000, 3_000_000))))
        if number:
            for _ in range(chance.choice((1, 1, 2, 5))):
                at = (
                    slots.HEADER_BYTES
                    + chance.randrange((len(ring) - slots.HEADER_BYTES) // slots.SLOT_BYTES) * slots.SLOT_BYTES
                )
                # not the upper bytes of times, which no clock has
                at += chance.choice(
                    (1, 2, 3, 4, 24, 32, 40, 48, 56, 64, 72, 80, 82, 84, 86, 88, 92, 112, 136, 140, 150)
                )
                ring[at] = chance.randrange(256)
        write(tmp_path, number, bytes(ring))
    short, long = both(tmp_path, monkeypatch)
    check_equal(short, long)
