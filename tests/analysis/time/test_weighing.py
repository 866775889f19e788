"""What the verdict takes of the time account: what page faults took, may have taken, and what was not told apart."""

from __future__ import annotations

from dataclasses import replace

from fsprobe.analysis.time import weighing
from fsprobe.model.time.account import MountTime, TimeAccount

MOUNT = MountTime(key="/p", fs_class="network", metadata_s=0.1, reads_s=0.2, mapped_bytes=50 << 20)
ACCOUNT = TimeAccount(
    wall_s=10.0, cpu_s=1.0, metadata_s=0.1, reads_s=0.2, other_s=4.0, n_major_faults=200, by_mount=(MOUNT,)
)


def test_all_other_waiting_is_page_faults_where_their_number_fits_it() -> None:
    assert weighing.fault_s(ACCOUNT, {"/p"}) == 4.0, "200 of 20 ms"
    assert weighing.fault_s(replace(ACCOUNT, n_major_faults=19), {"/p"}) == 0, "too few"
    assert weighing.fault_s(replace(ACCOUNT, other_s=0.003), {"/p"}) == 0, "15 us each: nothing was fetched"
    assert weighing.fault_s(replace(ACCOUNT, other_s=7.0), {"/p"}) == 0, "35 ms each: something else was waited for too"
    assert weighing.fault_s(ACCOUNT, {"/other"}) == 4.0, "what was mapped there is not known"
    small = replace(ACCOUNT, by_mount=(replace(MOUNT, mapped_bytes=4096),))
    assert weighing.fault_s(small, {"/p"}) == 0, "hardly anything was mapped"


def test_of_longer_waiting_some_may_have_been_page_faults() -> None:
    ((most_s, said),) = weighing.untold(replace(ACCOUNT, other_s=8.0), 5, {"/p"})
    assert most_s == 6.0, "200 of at most 30 ms"
    assert said.endswith("200 major page faults may have taken up to 6 s, 60% of the wall time")
    assert list(weighing.untold(ACCOUNT, 5, {"/p"})) == [], "all of it is theirs: that convicts"
    assert list(weighing.untold(replace(ACCOUNT, other_s=8.0, n_major_faults=0), 5, {"/p"})) == []


def test_reads_that_were_not_observed() -> None:
    traced = replace(ACCOUNT, reads_s=None)
    ((wait_s, said),) = weighing.untold(traced, 5, {"/p"})
    assert wait_s == 4.0
    assert said.startswith("4 s, 40% of the wall time, were spent in other waiting (reads, page faults)")
    assert list(weighing.untold(traced, 0, {"/p"})) == [], "nothing was opened there"


def test_writing_that_nobody_timed() -> None:
    ((wait_s, said),) = weighing.untold(ACCOUNT, 5, {"/p"}, n_written=3)
    assert wait_s == 4.0
    assert said == (
        "4 s, 40% of the wall time, were spent in page faults and other waiting; 3 files were written there, and how long that "
        "took is not observed"
    )


def test_what_programs_waited_for_that_nobody_saw() -> None:
    for n, said in ((1, "1 program was"), (2, "2 programs were")):
        ((wait_s, sentence),) = weighing.untold(ACCOUNT, 0, set(), n_unseen=n)
        assert wait_s == 4.0
        assert f"and {said} started that the recorder did not see (`--backend strace` may)" in sentence
