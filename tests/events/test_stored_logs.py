"""Logs that strace 6.1 wrote on Debian 12, stored as they are; what they hold was counted by eye and by grep."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from fsprobe.events.strace.sources import read_logs
from fsprobe.model.events import Process
from tests.events.reading import Row, calls, processes, read_lines, rows_by_birth

DATA = Path(__file__).parent.parent / "data" / "strace"


def told(events: list[Process], first: int) -> list[tuple[str, int, int, bytes]]:
    return [(one.kind, one.tid - first, one.child - first if one.child else 0, one.detail) for one in events]


@pytest.mark.parametrize("name", ["shell_own_command", "shell_to_terminal"])
def test_the_same_shell_traced_by_our_command_and_to_the_terminal(name: str) -> None:
    events, quality = read_lines(read_logs([DATA / f"{name}.log"]), b"/tmp/demo/w")
    assert (quality.n_unparsed, quality.n_partial, quality.n_unfinished) == (0, 0, 0)
    first = calls(events)[0].tid
    assert told(processes(events), first) == [
        ("exec", 0, 0, b"/usr/bin/sh"),
        ("fork", 0, 1, b""),
        ("exec", 1, 1, b"/usr/bin/ls"),
        ("exit", 1, 0, b"0"),
        ("fork", 0, 2, b""),
        ("exec", 2, 2, b"/usr/bin/cat"),
        ("exit", 2, 0, b"1"),
        ("fork", 0, 3, b""),
        ("exit", 3, 0, b"3"),
        ("exit", 0, 0, b"0"),
    ]
    table = rows_by_birth(events)
    cat: list[Row] = [row for row in table[(0, 1)] if row[1].startswith(b"/tmp")]
    assert cat == [("openat", b"/tmp/demo/w/sub/f", ""), ("openat", b"/tmp/demo/w/sub/nope", "ENOENT")]
    # Without -y the descriptor's path is what the program opened, here `.`
    listed = b"/tmp/demo/w/sub" if name == "shell_own_command" else b"/tmp/demo/w/sub/."
    assert [row for row in table[(0, 0)] if row[0] == "getdents64"] == [("getdents64", listed, "")] * 2


def test_a_pid_namespace_keeps_its_family() -> None:
    path = DATA / "unshare_pid_namespace.log"
    events, quality = read_lines(read_logs([path]))
    first = calls(events)[0].tid
    family = [(kind, tid, child) for kind, tid, child, _ in told(processes(events), first) if kind == "fork"]
    assert family == [("fork", 0, 1), ("fork", 1, 2), ("fork", 1, 3), ("fork", 1, 4)]
    assert quality.n_unparsed == 0
    # every call that begins is a call, a call without a path, or an exit
    begun = Counter(re.findall(rb"\(\+ +[0-9.]+\) ([a-z0-9_]+)\(", path.read_bytes()))
    assert begun.pop(b"exit_group", 0) == path.read_bytes().count(b"exit_group(") > 0
    assert len(calls(events)) + sum(quality.other_calls.values()) == sum(begun.values())
    assert quality.other_calls["vfork"] + quality.other_calls["clone"] == 4
