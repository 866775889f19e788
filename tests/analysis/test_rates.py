from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsprobe.analysis.counting.rates import busiest, rates
from fsprobe.analysis.counting.tally import ProcessTally, Tally
from fsprobe.model.rows import Rates

BINS = st.dictionaries(st.integers(min_value=0, max_value=400), st.integers(min_value=1, max_value=1000), max_size=40)


def test_the_busiest_second_is_found_wherever_it_lies() -> None:
    assert busiest({3: 50, 12: 50, 50: 99}, 1) == 100
    assert busiest({3: 50, 13: 50}, 1) == 50
    assert busiest({}, 1) == 0


@given(BINS, st.sampled_from([1, 10]))
def test_it_equals_the_plain_definition(by_bin: dict[int, int], window_s: int) -> None:
    width = window_s * 10
    plain = (
        max((sum(by_bin.get(i, 0) for i in range(start, start + width)) for start in range(402)), default=0) / window_s
    )
    assert busiest(by_bin, window_s) == plain


def test_without_times_nothing_is_observed() -> None:
    assert rates(Tally()) == Rates()
    assert rates(Tally()).peak_open_per_s is None


def test_processes_are_told_from_their_sum() -> None:
    tally = Tally(n_timed=4, first_ns=0, last_ns=2_000_000_000)
    for pid in (1, 2):
        tally.by_process[str(pid)] = ProcessTally(
            pid, 0, "python", "python", n_open_by_bin={5: 30}, n_metadata_by_bin={5: 100}
        )
    found = rates(tally)
    assert found.peak_open_per_s_process == 30
    assert found.peak_open_per_s == 60
    assert found.peak_metadata_per_s == 200
    assert found.sustained_metadata_per_s == 20
    assert found.n_processes_busiest_s == 2
    assert found.duration_s == 2.0
