"""What a line says is remembered by its text: it must say the same as without the memory, whoever made the call and from where."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsprobe.events.strace import state
from fsprobe.model.events import Event, ParseQuality
from tests.events.reading import calls, read

CALLS = (
    b'openat(AT_FDCWD<%(cwd)s>, "/lib/x.so", O_RDONLY|O_CLOEXEC) = 3</lib/x.so>',
    b'openat(AT_FDCWD<%(cwd)s>, "y", O_RDONLY) = 3<%(cwd)s/y>',
    b'newfstatat(AT_FDCWD<%(cwd)s>, "/lib//z", {st_mode=S_IFREG|0644, st_size=5, ...}, 0) = 0',
    b'newfstatat(AT_FDCWD<%(cwd)s>, "/no", 0x7ffd%(number)d, 0) = -1 ENOENT (No such file or directory)',
    b'newfstatat(3</lib/x.so>, "", {st_mode=S_IFREG|0644, st_size=7, ...}, AT_EMPTY_PATH) = 0',
    b'newfstatat(3</lib>, "x.so", {st_mode=S_IFREG|0644, st_size=7, ...}, 0) = 0',
    b"getdents64(3</lib>, 0x55%(number)d /* 4 entries */, 32768) = 112",
    b'getcwd("%(cwd)s", 4096) = 5',
    b'chdir("/lib") = 0',
    b'access("AT_FDCWD<%(cwd)s>, /x", R_OK) = -1 ENOENT (No such file or directory)',
    b'readlink("/a", "AT_FDCWD<%(cwd)s>, ", 99) = 18',
    b'readlink("/a AT_FDCWD<%(cwd)s>, ", "b", 99) = 1',
    b'symlinkat("t", AT_FDCWD<%(cwd)s>, "/link") = 0',
    b'renameat(AT_FDCWD<%(cwd)s>, "/a", AT_FDCWD<%(cwd)s>, "b") = 0',
)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    state.TEXTS.clear()
    yield
    state.TEXTS.clear()


def run(chosen: list[int], cwd: bytes, pid: int, number: int) -> tuple[list[Event], ParseQuality]:
    begin = b'openat(AT_FDCWD<%s>, "/begin", O_RDONLY) = 3</begin>' % cwd
    texts = [begin, *(CALLS[at] % {b"cwd": cwd, b"number": number} for at in chosen)]
    lines = [
        b"%d  1795506711.169777 (+     0.%09d) %s <0.%06d>" % (pid, 1000 + n, text, n % 7)
        for n, text in enumerate(texts)
    ]
    return read(*lines, cwd=cwd)


@given(
    st.lists(st.integers(0, len(CALLS) - 1), max_size=30),
    st.lists(st.integers(0, len(CALLS) - 1), max_size=30),
    st.sampled_from((b"/w", b"/lib", b"/")),
    st.sampled_from((b"/w", b"/lib", b"/v/w")),
)
def test_a_log_says_the_same_after_another_one(first: list[int], then: list[int], cwd: bytes, other: bytes) -> None:
    state.TEXTS.clear()
    alone = run(then, cwd, 77, 2)
    state.TEXTS.clear()
    run(first, other, 55, 1)
    run(then, other, 56, 3)
    assert run(then, cwd, 77, 2) == alone


def test_a_line_of_another_directory_is_known_again() -> None:
    run([0, 2], b"/w", 1, 1)
    n_known = len(state.TEXTS)
    events, _ = run([0, 2], b"/elsewhere", 2, 1)
    assert len(state.TEXTS) == n_known > 0
    assert [call.args.split(b", ")[0] for call in calls(events)] == [b"AT_FDCWD</elsewhere>"] * 3


def test_statuses_of_descriptors_are_told_each_time() -> None:
    for _ in range(2):
        _, quality = run([4, 4, 4], b"/w", 1, 1)
        assert quality.other_calls == {"newfstatat": 3}


def test_a_log_that_repeats_nothing_stops_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_TEXTS", 10)
    lines = [b'1  1.0 (+     0.000000001) access("/%d", F_OK) = 0 <0.000001>' % n for n in range(40)]
    opened = b'1  1.0 (+     0.000000001) openat(AT_FDCWD</>, "/a", O_RDONLY) = 3</a> <0.000001>'
    events, _ = read(opened, opened, *lines)
    assert [call.path for call in calls(events)] == [b"/a"] * 2 + [b"/%d" % n for n in range(40)]
    assert 0 < len(state.TEXTS) <= 10
