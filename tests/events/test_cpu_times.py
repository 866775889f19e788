"""CPU times of threads between the notes of a tracer, and notes that nobody wrote."""

from __future__ import annotations

import random

from fsprobe.events import cpu_times

BEGUN = 5_000


def section(*notes: tuple[int, int, int], begun_ns: int = BEGUN) -> bytes:
    """A section: (thread, when on the log's axis, CPU time) each."""
    rows = [(0, begun_ns, 0), *((tid, begun_ns + t_ns, used_ns) for tid, t_ns, used_ns in notes)]
    return b"".join(
        tid.to_bytes(4, "little") + at.to_bytes(8, "little") + used.to_bytes(8, "little") for tid, at, used in rows
    )


def test_between_notes_it_is_told_by_the_time() -> None:
    found = cpu_times.read(section((7, 100, 1000), (8, 150, 30), (7, 300, 1100), (7, 400, 1100)))
    assert found is not None
    assert [found.at(7, t_ns) for t_ns in (100, 150, 200, 300, 350, 400, 900)] == [
        1000,
        1025,
        1050,
        1100,
        1100,
        1100,
        1100,
    ]
    assert found.at(8, 150) == 30
    assert found.at(9, 150) is None
    assert [found.at(8, t_ns) for t_ns in (140, 130, 0)] == [20, 10, 0], "it can't have used more than the time"


def test_a_number_that_another_thread_takes_over() -> None:
    found = cpu_times.read(section((7, 100, 1000), (7, 200, 1100), (7, 500, 10), (7, 600, 50)))
    assert found is not None
    assert (found.at(7, 550), found.at(7, 600)) == (30, 50)


def test_what_no_tracer_writes() -> None:
    assert cpu_times.read(b"") is None
    assert cpu_times.read(b"x" * 40) is None
    cut = section((7, 100, 1000), (7, 200, 1100))[:-3]
    found = cpu_times.read(cut)
    assert found is not None
    assert found.at(7, 200) == 1000, "a cut record is none"
    odd = cpu_times.read(section((7, 100, 1000), (7, 100, 1001), (7, 50, 1002), (7, 300, 1 << 63), (0, 1, 1)))
    assert odd is not None
    assert odd.at(7, 300) == 1000
    chance = random.Random(4)
    for _ in range(300):
        data = bytes(20) + chance.randbytes(20 * chance.randrange(8))
        made = cpu_times.read(data)
        assert made is not None
        for tid in made.times:
            assert (made.at(tid, chance.getrandbits(62)) or 0) >= 0
