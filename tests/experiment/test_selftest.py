"""Which differences between two backends are explained, and which are not."""

from __future__ import annotations

from dataclasses import replace

from fsprobe.experiment import selftest

Row = selftest.Row
EXEC: Row = ("execve", b"/bin/x", "", b"")
LOADER: list[Row] = [
    ("openat", b"/etc/ld.so.cache", "", b"/etc/ld.so.cache"),
    ("openat", b"/lib/libc.so.6", "", b"/lib/libc.so.6"),
]
OWN: list[Row] = [("stat", b"/a", "", b""), ("openat", b"/b", "ENOENT", b"")]
CUT: Row = ("openat", b"", "?", b"")


def test_a_last_call_without_result_is_taken_out_on_both_sides() -> None:
    rows, others = [EXEC, *OWN], [EXEC, OWN[0], CUT]
    assert selftest._take_out_cut_off(rows, others) == 1
    assert rows == others == [EXEC, OWN[0]]


def test_any_other_last_call_stays() -> None:
    for others in (
        [EXEC, OWN[0]],
        [EXEC, CUT, OWN[0]],
        [EXEC, OWN[0], ("stat", b"", "?", b"")],
        [EXEC, *OWN],
        [EXEC, OWN[0], ("openat", b"/c", "?", b"")],
        [],
    ):
        rows, before = [EXEC, *OWN], list(others)
        assert selftest._take_out_cut_off(rows, others) == 0, others
        assert (rows, others) == ([EXEC, *OWN], before)


def test_what_the_loader_did_before_a_late_entry_is_taken_out() -> None:
    rows, others = [*OWN, EXEC, *LOADER, *OWN, EXEC, *LOADER], [*OWN, EXEC, *OWN, EXEC, *LOADER]
    assert selftest._take_out_loaders(rows, others, 1) == 2
    assert rows == others


def test_what_is_missing_elsewhere_stays() -> None:
    whole = [EXEC, *LOADER, *OWN]
    for others, n in (([EXEC, *LOADER, OWN[0]], 1), ([EXEC, *OWN], 0), ([EXEC, OWN[1], OWN[0]], 1), ([*OWN], 1)):
        rows = list(whole)
        assert selftest._take_out_loaders(rows, others, n) == 0, others
        assert rows == whole


ORIGIN: Row = ("readlink", b"/proc/self/exe", "", b"")


def test_what_the_loader_did_before_its_auditors_is_taken_out() -> None:
    called: Row = ("execve", b"/lib64/ld-linux-x86-64.so.2", "", b"")
    program: Row = ("openat", b"/bin/x", "", b"/bin/x")
    rows, others = (
        [*OWN, EXEC, ORIGIN, *LOADER, called, program, ORIGIN, *LOADER],
        [*OWN, EXEC, *LOADER, called, *LOADER],
    )
    assert selftest._take_out_early(rows, others) == 3
    assert rows == others


def test_the_same_calls_elsewhere_stay() -> None:
    failed: Row = ("execve", b"/bin/x", "ENOENT", b"")
    for rows in ([EXEC, LOADER[0], ORIGIN], [EXEC, LOADER[1]], [failed, ORIGIN], [ORIGIN]):
        others, before = rows[:-1], list(rows)
        assert selftest._take_out_early(rows, others) == 0, before
        assert rows == before


def test_calls_that_a_signal_interrupted() -> None:
    def waits(error: str) -> Row:
        return ("openat", b"/fifo", error, b"")

    rows = [OWN[0], waits("ERESTARTSYS"), waits("ERESTARTSYS"), waits(""), waits("ERESTARTSYS"), waits("")]
    others = [OWN[0], waits(""), waits("EINTR"), waits("")]
    assert selftest._take_out_restarted(rows, others) == 2
    assert rows == others
    rows = [waits("ERESTARTSYS"), OWN[0]]
    assert selftest._take_out_restarted(rows, [OWN[0]]) == 0
    assert len(rows) == 2, "it did not begin anew"


def test_what_is_told_from_a_difference_is_none() -> None:
    found = selftest.Agreement(
        program="x", n_calls=10, n_equal=6, n_extra=0, n_threads=1, n_threads_in_order=1, n_opened=2, n_opened_equal=2,
        n_lost=0, n_cut_off=1, n_loaders=2, n_restarted=1,
    )  # fmt: skip
    assert found.is_complete
    for name, value in (
        ("n_equal", 5),
        ("n_loaders", 1),
        ("n_restarted", 0),
        ("n_extra", 1),
        ("n_threads", 2),
        ("n_opened", 3),
        ("n_lost", 1),
    ):
        assert not replace(found, **{name: value}).is_complete, name
    missing = replace(found, n_calls=12, n_unseen=2, n_opened=3, n_opened_unseen=1)
    assert missing.is_explained
    assert not missing.is_complete
    assert not replace(missing, n_unseen=1).is_explained
    assert not replace(missing, n_opened=4).is_explained


def test_calls_of_a_program_that_is_not_seen() -> None:
    static: Row = ("execve", b"/sbin/ldconfig", "", b"")
    rows = [*OWN, static, ORIGIN, LOADER[0], EXEC, *LOADER]
    others = [*OWN, static, EXEC, *LOADER]
    before = list(rows)
    assert selftest._take_out_unseen(rows, others, 1) == 0, "somebody saw it start another program"
    assert rows == before
    rows, others = [*OWN, EXEC, *LOADER, static, ORIGIN, LOADER[0]], [*OWN, EXEC, *LOADER, static]
    assert selftest._take_out_unseen(rows, others, 0) == 0, "none is told"
    assert selftest._take_out_unseen(rows, others, 1) == 2
    assert rows == others
