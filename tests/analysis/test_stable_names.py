"""Names that differ between any two runs of the same program are no difference."""

from __future__ import annotations

import pytest

from fsprobe.experiment.significance import call_differences
from fsprobe.model.rows import Counts
from tests.experiment.test_significance import tally


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"/dev/shm/sem.U3pSGY", b"/dev/shm/sem.Owty7c"),
        (b"/dev/shm/sem.joblib-21560-bcpbk1bk", b"/dev/shm/sem.joblib-22457-zsz9l_gm"),
        (b"/tmp/tmpab12_xyz/file", b"/tmp/tmp_0c9d8e7/file"),
        (b"/tmp/pymp-k3_a9zz1/listener-8_bc7de2", b"/tmp/pymp-aaaa0000/listener-bbbb1111"),
        (b"/proc/12/stat", b"/proc/345/stat"),
        (b"/env/a.cpython-311.pyc.140", b"/env/a.cpython-311.pyc.99"),
    ],
)
def test_drawn_names_are_the_same_name(one: bytes, other: bytes) -> None:
    assert call_differences(tally({one: Counts(n_open=1)}), tally({other: Counts(n_open=1)})).n_paths == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"/env/lib/sem.U3pSGY", b"/env/lib/sem.Owty7c"),
        (b"/tmp/results/a.npy", b"/tmp/results/b.npy"),
        (b"/tmp/tmpab12_xyz/one", b"/tmp/tmp_0c9d8e7/other"),
        (b"/dev/shm/sem.short", b"/dev/shm/sem.other1"),
    ],
)
def test_other_names_are_not(one: bytes, other: bytes) -> None:
    assert call_differences(tally({one: Counts(n_open=1)}), tally({other: Counts(n_open=1)})).n_paths == 2
