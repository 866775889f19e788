"""Lines that no tracer writes: counted as not understood, in time that grows with their length alone."""

from __future__ import annotations

import bz2
import lzma
from pathlib import Path

import pytest

from fsprobe.errors import BadInput
from fsprobe.events.strace import parser, sources
from fsprobe.events.strace.values import MAX_CALL_BYTES, MAX_PATH_BYTES, split_arguments, split_result
from fsprobe.model.events import Call, ParseQuality
from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.identities import Names
from fsprobe.privacy.learning import Learning
from fsprobe.privacy.log import call_values
from fsprobe.privacy.log.cutting import Cut

HEAD = b"77    1795506711.169777 (+     0.000257743) "
GOOD = HEAD + b'openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3 <0.000010>\n'


def parse(*lines: bytes) -> tuple[list[bytes], ParseQuality]:
    quality = ParseQuality()
    calls = [event for event in parser.parse([GOOD, *lines, GOOD], quality) if isinstance(event, Call)]
    return [call.path for call in calls[1:-1]], quality


def test_a_line_longer_than_any_call_is_not_understood() -> None:
    paths, quality = parse(HEAD + b'openat(AT_FDCWD, "/' + b"a" * MAX_CALL_BYTES + b'", O_RDONLY) = 3 <0.1>\n')
    assert (paths, quality.n_unparsed) == ([], 1)


def test_a_path_longer_than_any_is_left_out() -> None:
    paths, quality = parse(
        HEAD + b'stat("' + b"/a" * MAX_PATH_BYTES + b'", 0x7ffd) = -1 ENOENT (No such file or directory) <0.1>\n'
    )
    assert (paths, quality.n_unparsed) == ([b""], 0)


def test_a_working_directory_does_not_grow_without_end() -> None:
    lines = [HEAD + b'chdir("' + b"a/" * 1000 + b'") = 0 <0.1>\n'] * 50
    paths, _ = parse(HEAD + b'chdir("/x") = 0 <0.1>\n', *lines)
    assert max(map(len, paths)) <= MAX_PATH_BYTES


def test_an_address_where_a_path_belongs_is_counted() -> None:
    line = HEAD + b"openat(AT_FDCWD, 0x7f0123456789, O_RDONLY) = %s <0.1>\n"
    paths, quality = parse(
        line % b"3", line % b"-1 ENOENT (No such file or directory)", line % b"-1 EFAULT (Bad address)"
    )
    assert paths == [b"", b"", b""]
    assert quality.n_unread_paths == 2, "with EFAULT the address is the program's own fault"


@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b"[", b"<", b'"a', b" = ", b") = ", b'"x", '])
@pytest.mark.parametrize("start", [b'"', b"", b'"/bin/x", ["'])
def test_time_grows_with_the_length_alone(start: bytes, unit: bytes) -> None:
    """Each of these took the square of the length: with 400,000 bytes that is hours."""
    text = start + unit * (400_000 // len(unit))
    split_arguments(text, 1 << 20)
    split_result(text + b") = 0 <0.1>")
    call_values.cut_block(HEAD + b"execve(" + text + b"]) = 0 <0.1>\n", [b"a"])
    list(Cut(Unchanged(), [b"a"], None).lines([HEAD + b"execve(" + text + b"]) = 0 <0.1>\n"]))


def test_a_deep_path_is_learned_from_without_recursion() -> None:
    names = Names()
    Learning(names).path(b"/home/anna7/" + b"a/" * 4000 + b"x")
    Learning(names).path(b"/home/anna7/" + b"%25" * 2000 + b"2Fhome%2Fx")
    assert names.known == {b"anna7": "user"}


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress])
def test_a_log_that_unpacks_to_too_much_is_refused(
    pack: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_RATIO", 10)
    log = tmp_path / "log"
    log.write_bytes(pack(GOOD + b"a" * (2 << 20)))  # type: ignore[operator]
    with pytest.raises(BadInput, match="times its size"):
        list(sources.read_logs([log]))


def test_of_a_line_without_an_end_only_so_much_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(GOOD + b"a" * (9 << 20) + b"\n" + GOOD)
    lines = list(sources.read_logs([log]))
    assert [len(line) for line in lines] == [len(GOOD), (4 << 20) + 1, len(GOOD)]
