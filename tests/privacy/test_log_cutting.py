"""A log without what is nobody's business: the same events, and nothing of what was read, written or passed on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe.events.strace.arguments import exec_argv, link_target, open_flags, result_path, second_path
from fsprobe.events.strace.values import escape
from fsprobe.model.events import Call, Event, ParseQuality
from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.identities import Names
from fsprobe.privacy.log.call_values import program_and_script
from fsprobe.privacy.log.cutting import Cut
from fsprobe.privacy.redaction import Redaction
from tests.events.reading import calls, mode_kind, one_call, read_lines
from tests.events.test_properties import format_all, made_calls, mutate, names

LOGS = sorted((Path(__file__).parent.parent / "data" / "strace").glob("*.log"))


def cut(lines: list[bytes], command: tuple[bytes, ...] = (), hide: Unchanged | None = None) -> list[bytes]:
    return list(Cut(hide or Unchanged(), command).lines(lines))


def told(events: list[Event]) -> list[object]:
    """All that analysis reads of events, but for arguments of programs."""
    return [
        (event[:7], open_flags(event), second_path(event), link_target(event), mode_kind(event), result_path(event))
        if isinstance(event, Call)
        else event
        for event in events
    ]


def same(lines: list[bytes]) -> None:
    before, quality = read_lines(lines)
    after, new_quality = read_lines(cut(lines))
    assert told(after) == told(before)
    for one in (quality, new_quality):
        one.unparsed_examples = []
    assert new_quality == quality


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_a_real_log_gives_the_same_events(log: Path) -> None:
    same(log.read_bytes().splitlines(keepends=True))


@given(st.lists(made_calls(), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_calls_give_the_same_events(made: list[Call]) -> None:
    times = sorted(call.t_ns or 0 for call in made)
    same(format_all([call._replace(t_ns=t_ns) for call, t_ns in zip(made, times, strict=True)]))


def test_calls_that_strace_has_no_name_for_stay() -> None:
    ended = [
        b"8 ???( <unfinished ...>",
        b"7 ???()           = ?",
        b"8 <... ??? resumed>) = ?",
        b"8 +++ killed by SIGKILL +++",
    ]
    same([line + b"\n" for line in ended])
    assert read_lines([line + b"\n" for line in ended])[1].n_unparsed == 0


def test_a_damaged_log_raises_nothing_and_keeps_its_lines() -> None:
    chance = random.Random(6_005)
    logs = [path.read_bytes() for path in LOGS]
    names_ = Names(known={b"demo": "user"})
    n_lines = 0
    for _ in range(400):
        lines = mutate(chance, chance.choice(logs)).splitlines(keepends=True)
        n_lines += len(lines)
        assert len(cut(lines)) in (len(lines), len(lines) + 1)  # a call that strace interrupted may lack its other half
        cut(lines, hide=Redaction(names_))
    assert n_lines > 4_000


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (rb'7 read(3</x>, "SECRET\n", 4096) = 7', rb"7 read(...) = 7"),
        (rb'7 write(1<pipe:[9]>, "SECRET) = 3", 11) = 11 <0.000007>', rb"7 write(...) = 11 <0.000007>"),
        (rb'7 write(1, "SECRET <unfinished ...>', rb"7 write( <unfinished ...>"),
        (rb'7 <... read resumed>"SECRET", 4096) = 6', rb"7 <... read resumed>...) = 6"),
        (rb'7 sendto(3, "SECRET", 6, 0, NULL, 0) = -1 EPIPE (Broken pipe)', rb"7 sendto(...) = -1 EPIPE (Broken pipe)"),
        (rb'7 setxattr("/x", "user.a", "SECRET", 6, 0) = 0', rb'7 setxattr("/x", ""..., ""..., 6, 0) = 0'),
        (
            rb'7 mount("//s/x", "/m", "cifs", 0, "password=SECRET") = 0',
            rb'7 mount("//s/x", "/m", "cifs", 0, ""...) = 0',
        ),
        (rb'7 execve("/bin/x", ["x"], ["TOKEN=SECRET", "A=b"]) = 0', rb'7 execve("/bin/x", ["x"], []) = 0'),
        (rb"SECRET: what the program itself wrote", rb"?"),
        (rb"7 +++ SECRET +++", rb"7 ?"),
        (rb'7 openat(AT_FDCWD, "/x", SECRET', rb"7 openat(?"),
        (rb"7 +++ exited with 0 +++", rb"7 +++ exited with 0 +++"),
        (rb"7 --- SIGCHLD {si_signo=SIGCHLD, si_uid=10} ---", rb"7 --- SIGCHLD {si_signo=SIGCHLD, si_uid=10} ---"),
        (rb'7 readlink("/a", "b", 4096) = 1', rb'7 readlink("/a", "b", 4096) = 1'),
        (rb'7 getcwd("/home/x", 4096) = 8', rb'7 getcwd("/home/x", 4096) = 8'),
    ],
)
def test_what_stays_of_a_line(line: bytes, shown: bytes) -> None:
    assert cut([line + b"\n"]) == [shown + b"\n"]


def test_a_call_that_strace_interrupts_is_put_together() -> None:
    lines = [
        b'access("/b", F_OK) = 0\n',
        b'write(1, "SECRET", 6strace: Process 8 attached\n',
        b") = 6\n",
        b'[pid     8] openat(AT_FDCWD, "/a", O_RDONLY) = 3\n',
    ]
    assert b"SECRET" not in b"".join(cut(lines))
    same(lines)


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        (b"git clone https://token@x", b"git"),
        (b"python train.py --key SECRET", b"python train.py"),
        (b"/usr/bin/python3.11 -u -X importtime -m pkg.mod SECRET", b"/usr/bin/python3.11 -u -X importtime -m pkg.mod"),
        (b"python -c SECRET SECRET", b"python -c CUT"),
        (b"python -cSECRET", b"python -c CUT"),
        (b"python -Bc SECRET", b"python -Bc CUT"),
        (b"python -I -E", b"python -I -E"),
        (b"python - SECRET", b"python -"),
        (b"bash -lc SECRET", b"bash -lc CUT"),
        (b"sh -e script.sh SECRET", b"sh -e script.sh"),
        (b"env TOKEN=SECRET python x.py SECRET", b"env python"),
        (b"bash --rcfile=SECRET x.sh", b"bash x.sh"),
        (b"./app SECRET", b"./app"),
        (b"", b""),
    ],
)
def test_program_and_script(argv: bytes, kept: bytes) -> None:
    words = [b'"' + word + b'"' for word in argv.split()]
    shown = [b'""...' if word == b"CUT" else b'"' + word + b'"' for word in kept.split()]
    assert program_and_script(words) == shown


def test_a_worker_is_still_told_from_other_programs() -> None:
    line = rb'7 execve("/p/python", ["python", "-c", "from multiprocessing.spawn import spawn_main; f(\"SECRET\")"], 0x7) = 0'
    (new,) = cut([line])
    assert b"SECRET" not in new
    assert any(b"multiprocessing" in word for word in exec_argv(one_call(new)))


def test_the_command_itself_keeps_its_arguments() -> None:
    line = rb'7 execve("/bin/app", ["app", "--steps", "3"], 0x7ffd /* 3 vars */) = 0'
    assert cut([line], (b"app", b"--steps", b"3")) == [line]
    assert cut([line], (b"/bin/app", b"--steps", b"3")) == [line]
    assert cut([line], (b"app", b"--steps", b"4")) == [line.replace(b', "--steps", "3"', b"")]


@given(st.lists(names, min_size=2, max_size=4))
@settings(deadline=None)
def test_an_argument_of_another_program_stands_nowhere(words: list[bytes]) -> None:
    secret = b"SECRET" + words[0]
    argv = b", ".join(b'"' + escape(word) + b'"' for word in [b"prog", *words[1:], secret])
    (new,) = cut([b'7 execve("/bin/prog", [' + argv + b"], 0x7ffd /* 3 vars */) = 0\n"])
    assert b"SECRET" not in new
    assert exec_argv(one_call(new.rstrip())) == [b"prog"]


def people() -> Redaction:
    names_ = Names()
    for user in (b"lib", b"an"):
        names_.add("user", user)
    return Redaction(names_)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (rb'7 openat(AT_FDCWD</home>, "lib/x", O_RDONLY) = 3</home/lib/x>', b"/home/user1/x"),
        (rb'7 openat(AT_FDCWD</home/an>, "../lib/x", O_RDONLY) = 3</home/lib/x>', b"/home/user1/../user2/x"),
        (rb'7 openat(3</home/lib/v\74n>, "lib/x", O_RDONLY) = 3</home/lib/v\74n/lib/x>', b"/home/user1/v<n/lib/x"),
        (rb'7 openat(AT_FDCWD</home/lib>, "/home/lib/\303\251", 0) = 3</home/lib/\303\251>', "/home/user1/é".encode()),
        (
            rb'7 openat(-100</home/lib>, "\x2f\x68\x6f\x6d\x65\x2f\x61\x6e\x2f\x61", 0) = 3</home/an/a>',
            b"/home/user2/a",
        ),
    ],
)
def test_names_in_a_call_in_every_way_of_writing_them(line: bytes, path: bytes) -> None:
    (new,) = cut([line], hide=people())
    assert one_call(new).path == path
    assert b"/home/lib" not in new
    assert b"/home/an" not in new
    assert rb"\x61\x6e" not in new


def test_a_link_that_leads_to_a_name_beside_it() -> None:
    (new,) = cut([rb'7 readlink("/home/current", "lib", 4096) = 3'], hide=people())
    assert link_target(one_call(new)) == b"user2"
    first, second = cut(
        [rb'7 readlink("/home/current",  <unfinished ...>', rb'7 <... readlink resumed>"lib", 4096) = 3'], hide=people()
    )
    assert b'"lib"' not in first + second
    assert b'"user2"' in second


def test_a_name_of_which_strace_shows_half() -> None:
    names_ = Names()
    names_.add("user", b"alice17")
    (new,) = cut([b'7 readlink("/x", "/data/alic"..., 4096) = 300'], hide=Redaction(names_))
    assert b"alic" not in new


def test_ids_are_hidden_with_the_names() -> None:
    lines = [b'7 chown("/x", 10012, 10013) = 0', b"7 --- SIGCHLD {si_signo=SIGCHLD, si_pid=9, si_uid=10012} ---"]
    assert b"1001" not in b"".join(cut(lines, hide=people()))
    assert b"".join(cut(lines)) == b"".join(lines)


def test_quality_counts_what_is_not_understood_as_before() -> None:
    quality = ParseQuality()
    assert quality.n_unparsed == 0
    events, quality = read_lines(cut([b"hello\n", b"7 what(\n", b'7 access("/x", F_OK) = 0\n']))
    assert (quality.n_unparsed, len(calls(events))) == (2, 1)
