"""Properties: format gives what parse takes; halves equal wholes; no damage to a log raises anything."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fsprobe.events.strace.arguments import second_path
from fsprobe.events.strace.parser import parse
from fsprobe.events.strace.values import annotated_path, escape, split_arguments, string_value, unescape
from fsprobe.model.events import Call, Event, Op, ParseQuality, plain
from tests.events.reading import calls, format_call, read_lines

LOGS = sorted((Path(__file__).parent.parent / "data" / "strace").glob("*.log"))
N_MUTATIONS = 2_500

odd = st.sampled_from(
    [b"<", b">", b'"', b"\\", b"\n", b" = ", b") = 3", b"<unfinished ...>", b"\x01", b"1", b", ", b" (deleted)", b"->",
     b"(", b"]", b"{", b"-1 ENOENT (No", b" <0.000001>", b"\xff", b"a", b"...", b"/* ", b" resumed>"]
)  # fmt: skip
names = st.lists(odd | st.binary(min_size=1, max_size=4), min_size=1, max_size=6).map(
    lambda parts: b"".join(parts).replace(b"\0", b"").replace(b"/", b"") or b"x"
)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: b"/" + b"/".join(parts))
annotations = st.builds(
    lambda path, gone: b"<" + escape(path, annotation=True) + b">" + gone, paths, st.sampled_from([b"", b"(deleted)"])
)
FAILED = [(b"-1 ENOENT (No such file or directory)", "ENOENT"), (b"? ERESTARTSYS (To be restarted)", "ERESTARTSYS")]


@st.composite
def made_calls(draw: st.DrawFn) -> Call:
    """A call as a program could make it, with the path that must come out."""
    directory, name, second = draw(paths), draw(names), draw(names)
    is_absolute = draw(st.booleans())
    written = directory + b"/" + name if is_absolute else name
    dirfd = draw(st.sampled_from([b"AT_FDCWD", b"3", b"1023"])) + b"<" + escape(directory, annotation=True) + b">"
    if dirfd[:1] != b"A":
        dirfd += draw(st.sampled_from([b"", b"(deleted)"]))
    quoted = b'"' + escape(written) + b'"'
    result, error = draw(st.sampled_from([(b"0", ""), *FAILED]))
    kind = draw(st.sampled_from(["openat", "newfstatat", "readlinkat", "renameat2", "access", "execve", "getdents64"]))
    path, args = plain(directory + b"/" + name), b""
    if kind == "openat":
        args = dirfd + b", " + quoted + b", O_RDONLY|O_CLOEXEC"
        if not error:
            result = b"3<" + escape(path, annotation=True) + b">"
    elif kind == "newfstatat":
        args = dirfd + b", " + quoted + b", {st_mode=S_IFREG|0644, st_size=5, ...}, AT_SYMLINK_NOFOLLOW"
    elif kind == "readlinkat":
        args = dirfd + b", " + quoted + b', "' + escape(second) + b'", 4096'
    elif kind == "renameat2":
        args = dirfd + b", " + quoted + b", " + dirfd + b', "' + escape(second) + b'", RENAME_NOREPLACE'
    elif kind == "access":
        args = b'"' + escape(path) + b'", F_OK'
    elif kind == "execve":
        args = b'"' + escape(path) + b'", ["' + escape(second) + b'", "' + escape(name) + b'"], 0x7ffd /* 3 vars */'
    else:
        path, args = directory, b"4<" + escape(directory, annotation=True) + b">, 0x55 /* 2 entries */, 32768"
    op = {"openat": Op.OPEN, "newfstatat": Op.STAT, "readlinkat": Op.READLINK, "renameat2": Op.CHANGE,
          "access": Op.STAT, "execve": Op.EXEC, "getdents64": Op.LIST}[kind]  # fmt: skip
    return Call(
        tid=draw(st.integers(1, 99_999_999)),
        t_ns=draw(st.integers(0, 10**18) | st.integers(0, 10**10)),
        syscall=kind,
        op=op,
        path=path,
        error=error,
        dur_ns=draw(st.integers(0, 10**12) | st.integers(0, 10**6).map(lambda us: us * 1000)),
        args=args,
        result=result,
    )


def format_all(made: list[Call]) -> list[bytes]:
    lines, since_ns = [], 0
    for call in made:
        lines.append(format_call(call, since_ns=since_ns, wall_start_ns=1_795_506_711 * 10**9))
        since_ns = call.t_ns or 0
    return lines


@given(st.binary(), st.booleans())
def test_unescape_undoes_escape(name: bytes, annotation: bool) -> None:
    raw = escape(name, annotation=annotation)
    assert unescape(raw) == name
    assert re.fullmatch(rb"[ -~]*", raw)
    assert not (annotation and re.search(rb"[<>]", raw))
    assert unescape(b"".join(b"\\x%02x" % code for code in name)) == name


@given(st.lists(names, max_size=5), st.lists(paths, max_size=3))
@example([b'>"'], [b"/-"])
def test_arguments_come_apart_where_they_were_joined(strings: list[bytes], annotated: list[bytes]) -> None:
    made = [b'"' + escape(one) + b'"' for one in strings]
    made += [b"3<" + escape(one, annotation=True) + b">" for one in annotated]
    made += [b'["' + escape(one) + b'", {a=1, b="' + escape(one) + b'"}]' for one in strings]
    parts = split_arguments(b", ".join(made))
    assert parts == made
    assert [string_value(part) for part in parts[: len(strings)]] == strings
    assert [annotated_path(part) for part in parts[len(strings) : len(strings) + len(annotated)]] == annotated


@given(st.lists(made_calls(), min_size=1, max_size=5))
@settings(max_examples=300)
def test_a_formatted_call_is_parsed_back(made: list[Call]) -> None:
    times = sorted(call.t_ns or 0 for call in made)
    made = [call._replace(t_ns=t_ns) for call, t_ns in zip(made, times, strict=True)]
    events, quality = read_lines(format_all(made))
    assert calls(events) == made
    assert (quality.n_unparsed, quality.n_partial, quality.n_unfinished) == (0, 0, 0)
    for call in made:
        if call.syscall == "renameat2":
            second = string_value(split_arguments(call.args)[3])
            assert second is not None
            assert second_path(call) is not None
            assert (second_path(call) or b"").endswith(b"/" + second)


@given(made_calls())
def test_a_call_that_never_returned_is_formatted_and_parsed_back(call: Call) -> None:
    call = call._replace(error="?", result=b"", dur_ns=None)
    events, quality = read_lines([format_call(call)])
    assert (events, quality.n_unfinished) == ([call], 1)


@given(made_calls())
def test_a_call_without_times_is_formatted_and_parsed_back(call: Call) -> None:
    call = call._replace(t_ns=None, dur_ns=None)
    assert calls(read_lines([format_call(call)])[0]) == [call]


@given(st.lists(made_calls(), min_size=1, max_size=4), st.data())
@settings(max_examples=200)
def test_cutting_calls_into_halves_changes_nothing(made: list[Call], data: st.DataObject) -> None:
    tids = [100 + n for n in range(len(made))]
    made = [call._replace(tid=tid, t_ns=None) for call, tid in zip(made, tids, strict=True)]
    whole, first_halves, second_halves = [], [], []
    for call in made:
        line = format_call(call)
        name, _, rest = line.partition(b"(")
        # strace cuts where the kernel's part begins: after an argument that is complete
        parts = split_arguments(call.args)
        at = data.draw(st.integers(1, len(parts)))
        if call.syscall != "getdents64" and call.syscall != "access":
            at = max(at, 2)
        shown = b", ".join(parts[:at]) + (b", " if at < len(parts) else b"")
        assert rest.startswith(shown)
        head, _, bare_name = name.rpartition(b" ")
        whole.append(line)
        first_halves.append(head + b" " + bare_name + b"(" + shown + b" <unfinished ...>\n")
        second_halves.append(head + b" <... " + bare_name + b" resumed>" + rest[len(shown) :])
    order = data.draw(st.permutations(range(len(made))))
    cut = first_halves + [second_halves[at] for at in order]
    expected, _ = read_lines(whole)
    events, quality = read_lines(cut)
    assert sorted(events, key=repr) == sorted(expected, key=repr)
    assert (quality.n_unparsed, quality.n_partial, quality.n_unfinished) == (0, 0, 0)


def mutate(chance: random.Random, log: bytes) -> bytes:
    """Damage a log: cut, drop, repeat, swap or overwrite pieces of it."""
    lines = log.splitlines(keepends=True)
    begin = chance.randrange(len(lines))
    lines = lines[begin : begin + chance.randrange(1, 60)]
    for _ in range(chance.randrange(1, 4)):
        kind, at = chance.randrange(7), chance.randrange(len(lines))
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        elif kind == 2:
            lines[at] = lines[at][chance.randrange(len(lines[at]) + 1) :]
        elif kind == 3:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif kind == 4:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            line = bytearray(lines[at])
            for _ in range(chance.randrange(1, 5)):
                where = chance.randrange(len(line) + 1)
                what = chance.choice([b'"', b"<", b">", b"(", b")", b" = ", b"\\", b"\0", b"\n", b"-1", b"9" * 30, b" ",
                                      b"+++ ", b"<... ", bytes((chance.randrange(256),))])  # fmt: skip
                line[where : where + chance.randrange(4)] = what
            lines[at] = bytes(line)
        if not lines:
            return b""
    return b"".join(lines)[: None if chance.random() < 0.7 else chance.randrange(1, 2000)]


def check_damaged_log(log: bytes) -> int:
    """Parse a damaged log whole and in single steps; nothing may be raised, and what is lost must be counted."""
    quality = ParseQuality()
    events: list[Event] = list(parse(log.splitlines(keepends=True), quality))
    assert quality.n_lines == len(log.splitlines())
    assert len(quality.unparsed_examples) == min(quality.n_unparsed, 5)
    assert quality.n_unparsed >= 0
    assert sum(call.error == "?" for call in calls(events)) == quality.n_unfinished
    return len(events)


def test_no_damage_to_a_log_raises_anything() -> None:
    chance = random.Random(20_231)
    logs = [path.read_bytes() for path in LOGS]
    assert len(logs) >= 3
    n_events = sum(check_damaged_log(mutate(chance, chance.choice(logs))) for _ in range(N_MUTATIONS))
    assert n_events > N_MUTATIONS  # most lines survived, so most of the parser ran


@pytest.mark.parametrize(
    "piece",
    [b"->", b'"a"...', b"(", b") = ", b") = 3 (a", b"<a<b>", b"\\", b" (a)", b"a, ", b'"a\\"', b"/a", b"<", b"<->", b"7",
     b" "],
)  # fmt: skip
@pytest.mark.parametrize("head", [b"", b"7 openat(3<", b'7 openat(AT_FDCWD</x>, "/x") = 3', b"7 openat(", b"7 foo("])
def test_long_lines_of_anything_end(head: bytes, piece: bytes) -> None:
    # With a pattern that backtracks exponentially this test would not come back.
    _, quality = read_lines([head + piece * (4_000 // len(piece)) + b"x\n", b"7 close(3) = 0\n"])
    assert quality.n_lines == 2
    assert quality.other_calls["close"] == 1


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_are_read_without_raising(lines: list[bytes]) -> None:
    quality = ParseQuality()
    list(parse(lines, quality))
    assert quality.n_lines == len(lines)
