"""What the tracer decides without a target: the filter, and how names and flags are spelled."""

from __future__ import annotations

import re
import struct

from hypothesis import example, given
from hypothesis import strategies as st

from fsprobe.capture.backends.ptrace import abi, decode, memory
from fsprobe.capture.backends.ptrace.calls import SYSCALLS
from fsprobe.model.events import OP_OF_SYSCALL, Op

ALLOW, TRACE = 0x7FFF0000, 0x7FF00000
I386 = 0x40000003


def answer(program: bytes, number: int, arch: int) -> int:
    """Run the filter as the kernel would."""
    code = list(struct.iter_unpack("<HBBI", program))
    loaded = {0: number, 4: arch}
    at = accumulator = 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == 0x20:
            accumulator = loaded[k]
        elif op == 0x15:
            at += yes if accumulator == k else no
        elif op == 0x35:
            at += yes if accumulator >= k else no
        elif op == 0x06:
            return int(k)
        else:
            raise AssertionError(op)


def test_the_filter_stops_at_the_traced_calls_and_at_no_other() -> None:
    program = abi.seccomp_program(SYSCALLS)
    for number in range(600):
        assert answer(program, number, abi.AUDIT_ARCH_X86_64) == (TRACE if number in SYSCALLS else ALLOW)
        assert answer(program, number, I386) == (TRACE if number in abi.I386_FILE_CALLS else ALLOW)
        assert answer(program, number | abi.X32_BIT, abi.AUDIT_ARCH_X86_64) == TRACE
    assert len(program) // 8 < 4096


def test_every_call_that_fsprobe_counts_is_traced() -> None:
    names = {call.name for call in SYSCALLS.values()}
    assert all(call.number == number for number, call in SYSCALLS.items())
    assert len(names) == len(SYSCALLS)
    # what x86_64 has no number for
    elsewhere = {"stat64", "lstat64", "oldstat", "oldlstat", "fstatat64", "chown32", "lchown32", "truncate64"}
    missing = {name for name, op in OP_OF_SYSCALL.items() if op is not Op.OTHER} - names - elsewhere
    assert not missing


def unquote(text: str) -> bytes:
    def one(match: re.Match[bytes]) -> bytes:
        body = match.group(1)
        if body.isdigit():
            return bytes([int(body, 8)])
        return {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"f": b"\f", b"v": b"\v"}.get(body, body)

    return re.sub(rb"\\([0-7]{1,3}|.)", one, text.encode("ascii"))


@given(st.binary(max_size=40))
@example(b'a<b>"\\')
@example(b"\x017\x018\x01")
def test_a_quoted_name_can_be_read_back(name: bytes) -> None:
    for text in (memory.quote(name), memory.annotate(name)):
        assert text.isprintable()
        assert unquote(text) == name
    assert not set("<>") & set(memory.annotate(name))
    assert '"' not in re.sub(r"\\.", "", memory.quote(name))


def test_names_are_spelled_as_strace_does() -> None:
    assert memory.quote(b'caf\xc3\xa9"\\\n\x01' + b"8\x01" + b"7") == r"caf\303\251\"\\\n\18\0017"
    assert memory.annotate(b"a<b>") == r"a\74b\76"
    assert decode.open_flags(0o2000000) == "O_RDONLY|O_CLOEXEC"
    assert decode.open_flags(0o1102 | 1 << 30) == "O_RDWR|O_CREAT|O_TRUNC|0x40000000"
    assert decode.open_flags(0o20200000) == "O_RDONLY|O_TMPFILE"
    assert decode.mode_name(0o100644) == "S_IFREG|0644"
    assert decode.mode_name(0o041777) == "S_IFDIR|S_ISVTX|0777"
    assert decode.mode_name(0o106000) == "S_IFREG|S_ISUID|S_ISGID|000"
    assert decode.flag_names(0, abi.AT_FLAGS, "AT_???") == "0"
    assert decode.flag_names(0x55, abi.AT_FLAGS, "AT_???") == "0x55 /* AT_??? */"
    assert decode.flag_names(0x1101, abi.AT_FLAGS, "AT_???") == "AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH|0x1"
    assert decode.flag_names(0, abi.ACCESS_MODES, "?_OK") == "F_OK"
    assert abi.signal_name(17) == "SIGCHLD"
    assert abi.signal_name(34) == "SIGRT_2"
    assert abi.ERRORS[2] == "-1 ENOENT (No such file or directory)"
    assert abi.ERRORS[11].startswith("-1 EAGAIN (")
    assert abi.ERRORS[95].startswith("-1 EOPNOTSUPP (")


def test_memory_that_is_not_there_reads_as_nothing() -> None:
    import os

    assert memory.read_memory(os.getpid(), 16, 8) == b""
    assert memory.read_memory(os.getpid(), 2**64 - 1, 8) == b""
    memory.forget_memory(os.getpid())
    memory.forget_memory(os.getpid())
