from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsprobe.analysis.counting.tally import PathTally, Tally
from fsprobe.experiment import significance
from fsprobe.model.comparison import Difference
from fsprobe.model.rows import Counts

TIMES = st.lists(st.floats(min_value=0.01, max_value=100), min_size=2, max_size=6)


def test_a_clear_difference_is_called_one() -> None:
    verdict = significance.compare_runs([2.7, 2.8, 2.6, 2.75, 2.65], [0.62, 0.63, 0.61, 0.64, 0.6])
    assert verdict.clear
    assert verdict.exact
    # no other way of dealing ten runs out parts them as far, but its mirror image
    assert verdict.p == pytest.approx(2 / 252)
    assert verdict.ratio == pytest.approx(0.62 / 2.7)
    assert verdict.low <= verdict.ratio <= verdict.high < 1
    assert verdict.reason == "4.4 times faster"


def test_no_clear_difference_is_a_result() -> None:
    verdict = significance.compare_runs([1.0, 1.1, 0.9, 1.05, 0.95], [1.02, 1.08, 0.93, 1.01, 0.97])
    assert not verdict.clear
    assert verdict.reason == "no clear difference"


def test_few_runs_are_never_clear() -> None:
    verdict = significance.compare_runs([3.0, 3.1, 2.9, 3.0], [1.0, 1.1, 0.9, 1.0])
    assert not verdict.clear
    assert "too few runs" in verdict.reason


def test_a_tiny_difference_is_not_clear_however_sure_it_is() -> None:
    assert not significance.compare_runs(
        [1.000, 1.001, 1.002, 1.0015, 1.0005], [1.01, 1.011, 1.012, 1.0115, 1.0105]
    ).clear


def test_runs_of_one_kind_are_seldom_called_different() -> None:
    draw = random.Random(5)
    n_clear = 0
    for _ in range(60):
        n_clear += significance.compare_runs(
            [draw.gauss(1, 0.05) for _ in range(6)], [draw.gauss(1, 0.05) for _ in range(6)]
        ).clear
    assert n_clear <= 3


@given(TIMES, TIMES)
def test_the_test_is_symmetric(left: list[float], right: list[float]) -> None:
    assert significance.permutation_p(left, right)[0] == pytest.approx(significance.permutation_p(right, left)[0])
    assert 0 < significance.permutation_p(left, right)[0] <= 1


@given(TIMES)
def test_a_set_of_runs_is_not_different_from_itself(runs: list[float]) -> None:
    assert significance.permutation_p(runs, runs)[0] == 1.0


def tally(paths: dict[bytes, Counts]) -> Tally:
    made = Tally()
    for path, counts in paths.items():
        made.by_path[path] = PathTally(counts=counts)
        made.total.n_stat += counts.n_stat
        made.total.n_open += counts.n_open
        made.total.n_list += counts.n_list
        made.total.n_change += counts.n_change
    return made


def test_differences_are_named() -> None:
    same = Counts(n_stat=2, n_open=1)
    left = tally({b"/v/a.py": same, b"/v/__pycache__/a.pyc": Counts(n_open=1)})
    right = tally({b"/v/a.py": same, b"/v/__pycache__/a.pyc": Counts(n_open=2, n_change=1)})
    found = significance.call_differences(left, right)
    assert found.n_layout - found.n_baseline == 2
    assert found.n_paths == 2
    assert found.rows == (
        Difference(path="/v/__pycache__/a.pyc", op="change", baseline=0, layout=1),
        Difference(path="/v/__pycache__/a.pyc", op="open", baseline=1, layout=2),
    )


def test_what_always_differs_is_no_difference() -> None:
    left = tally({b"/proc/17/stat": Counts(n_open=1), b"/v/x.pyc.1399": Counts(n_open=1)})
    right = tally({b"/proc/18/stat": Counts(n_open=1), b"/v/x.pyc.1402": Counts(n_open=1)})
    assert significance.call_differences(left, right).n_paths == 0


def test_a_layout_that_lies_elsewhere_is_compared_by_its_own_place() -> None:
    left, right = tally({b"/v/a": Counts(n_stat=1)}), tally({b"/flash/v/a": Counts(n_stat=1)})
    assert significance.call_differences(left, right).n_paths == 2
    assert significance.call_differences(left, right, {b"/flash/v": b"/v"}).n_paths == 0


def test_what_both_did_keeps_its_name_in_a_temporary_directory_too() -> None:
    """An environment, or a program, that lies in /tmp: a difference there is named as it is called."""
    same = {b"/tmp/job-17/app-2.cfg": Counts(n_open=3)}
    source = b"/tmp/job-17/venv/lib/python3.11/site-packages/apples-1/core.py"
    found = significance.call_differences(tally(same), tally({**same, source: Counts(n_open=1)}))
    assert found.rows == (Difference(path=source.decode(), op="open", baseline=0, layout=1),)
    # of an environment, files of two versions are not the same file
    other = source.replace(b"-1/", b"-2/")
    assert (
        significance.call_differences(tally({source: Counts(n_open=1)}), tally({other: Counts(n_open=1)})).n_paths == 2
    )
