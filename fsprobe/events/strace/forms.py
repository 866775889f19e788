"""Forms in which logs of strace reach a support desk: other columns, prefixes of those who carried them, other encodings.

A form is told from the head of a log, by what makes its lines look like strace's. It is taken off before a line is parsed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from fsprobe.events.strace import constants
from fsprobe.events.strace.stamps import HEAD
from fsprobe.events.strace.values import MAX_CALL_BYTES

N_LOOKED_AT = 400
_ENOUGH = 0.5
"""Share of lines that have to look like strace's for a prefix to be one. A judgement."""
_COLUMNS = re.compile(rb"(?:\[ *\d{1,5}\] )?(?:\[(?:[0-9a-f]{8}|[0-9a-f]{16}|\?{8}|\?{16})\] )?")
"""`strace -n`: the number of the call; `strace -i`: the instruction pointer. In this order."""
_BODY = re.compile(
    rb"[a-z_][a-z0-9_]{1,30}\(|<\.\.\. [a-z_][a-z0-9_]* resumed|\+\+\+ (?:exited|killed|superseded)|--- (?:SIG|stopped)"
)
_CHATTER = re.compile(rb"(?:\S*strace: |Process \d+ )")
_RESULT = re.compile(rb"\) += |<unfinished \.\.\.>|\+\+\+$|---$|<detached \.\.\.>$")
_PREFIXES = (
    re.compile(rb"(?:> ?)+"),  # quoted in a mail
    re.compile(rb" *\d{1,7}: "),  # srun --label, mpirun -tag-output's rank
    re.compile(rb"\[\d+,\d+\]<std(?:err|out)>: ?"),  # mpirun --tag-output
    re.compile(
        rb"(?:<\d{1,3}>)?[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d(?:\.\d+)? \S+ [^ :\[]+(?:\[\d+\])?: "
    ),  # syslog, journalctl
    re.compile(
        rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^ ]* (?:\S+ [^ :\[]+(?:\[\d+\])?: |std(?:err|out) [FP] )?"
    ),  # -o short-iso, containers
)
_RAW = re.compile(
    rb"(?:open|stat|lstat|access|execve|readlink)\(0x[0-9a-f]+[,)]|"
    rb"(?:openat|newfstatat|faccessat2?|statx)\(0x[0-9a-f]+, 0x[0-9a-f]+[,)]"
)
_NAMED = re.compile(rb"(?:openat|open|newfstatat|stat|lstat|access|execve|readlink)\(")
_NUMBERS = re.compile(rb"\((?:-100|\d+)(?:<[^<>]*>)?, \"|stx?_mode=0|\bflags=0x|\bopen\([^\n]*, 0x")
_NAMES = re.compile(rb"AT_FDCWD|O_RDONLY|O_WRONLY|O_CLOEXEC|stx?_mode=S_IF|CLONE_[A-Z]")
"""What `strace -X raw` writes as a number, and others by name."""
_CALLED = re.compile(rb"\b([a-z][a-z0-9_]*)\(|<\.\.\. ([a-z][a-z0-9_]*) resumed>\)?")
_NUMBER = re.compile(
    rb'"(?:[^"\\]|\\.)*"|<[^<>]*>|(?P<cwd>(?<=[( ])-100)(?=<|, )|(?P<mode>(?<=_mode=)0[0-7]+)|'
    rb"(?P<flags>(?<=flags=)0x[0-9a-f]+)|(?P<number>(?<=, )0x[0-9a-f]+)(?P<is_last>(?=\)))?"
)
_DUPLICATES = re.compile(rb"(\bfcntl\(\d+(?:<[^<>]*>)?, )(?:0|0x406)(?=,)")
_OPENS = frozenset({b"open", b"openat", b"openat2"})
_CLONE_FLAGS = (
    (0x100, b"CLONE_VM"), (0x200, b"CLONE_FS"), (0x400, b"CLONE_FILES"), (0x10000, b"CLONE_THREAD"), (0x800000, b"CLONE_UNTRACED"),
)  # fmt: skip
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What stands in the lines of a log and is not strace's usual own."""

    encoding: str = ""
    """utf-16 for what PowerShell and some editors save; "" for bytes as strace wrote them."""
    prefix: re.Pattern[bytes] | None = None
    has_columns: bool = False
    is_folded: bool = False
    """Lines were broken where they were longer than a mail."""
    has_numbers: bool = False
    """Constants are numbers (`strace -X raw`): AT_FDCWD, flags, modes."""
    has_heads: bool = False
    """Whether a pid or a stamp stands before each call."""

    @property
    def is_plain(self) -> bool:
        """Whether lines can be taken as they are."""
        return self.prefix is None and not (self.has_columns or self.is_folded or self.has_numbers)


PLAIN = Form()


def encoding_of(head: bytes) -> str:
    """The encoding that a byte order mark tells; "" for none."""
    return next((name for mark, name in _BOMS if head.startswith(mark)), "")


def decoded(stream: IO[bytes], encoding: str) -> IO[bytes]:
    """A stream of UTF-8 of what another encoding holds."""
    return cast(IO[bytes], codecs.EncodedFile(cast(Any, stream), "utf-8", encoding, "replace"))


def form_of(head: bytes, encoding: str = "") -> Form:
    """Tell the form of a log from its first lines (decoded already)."""
    lines = [line.rstrip(b"\r") for line in head.removeprefix(_UTF8_BOM).split(b"\n")[:N_LOOKED_AT] if line.strip()]
    if not lines:
        return Form(encoding=encoding)
    best, n_best = None, sum(map(_is_start, lines))
    for prefix in _PREFIXES:
        n = sum(
            _is_start(line[match.end() :])
            for line in lines
            if (match := prefix.match(line)) is not None and match.end()
        )
        if n > n_best and n >= _ENOUGH * len(lines) / 2:
            best, n_best = prefix, n
    bare = [_without(best, line) for line in lines]
    return Form(
        encoding=encoding,
        prefix=best,
        has_columns=any(_columns_of(line) for line in bare),
        is_folded=_is_folded(bare),
        has_numbers=any(map(_NUMBERS.search, bare)) and not any(map(_NAMES.search, bare)),
        has_heads=_have_heads(bare),
    )


def undressed(lines: Iterable[bytes], form: Form) -> Iterator[bytes]:
    """The lines of a log as strace alone would have written them."""
    if form.is_plain:
        first = True
        for line in lines:
            yield line.removeprefix(_UTF8_BOM) if first else line
            first = False
        return
    waiting = b""
    for line in _bare_lines(lines, form):
        if not form.is_folded:
            yield line
        elif not waiting or len(waiting) > MAX_CALL_BYTES or _begins(line, form.has_heads):
            if waiting:
                yield waiting
            waiting = line
        else:
            waiting = waiting.rstrip(b"\r\n").rstrip(b" ") + b" " + line.lstrip(b" ")
    if waiting:
        yield waiting


def why_no_log(head: bytes) -> tuple[str, str]:
    """Say what strace wrote and nobody can count paths of, and how to make what can be: ("", "") for any other."""
    lines = [line for line in head.removeprefix(_UTF8_BOM).split(b"\n") if line.strip()]
    if lines and lines[0].startswith(b"% time"):
        return (
            "is the summary that strace -c writes: counts without paths",
            "make a log: strace -f -ttt -T -y -o LOG CMD",
        )
    n_raw = sum(_RAW.search(line) is not None for line in lines)
    if n_raw and n_raw >= sum(_NAMED.search(line) is not None for line in lines):
        return (
            "shows addresses where paths stand (strace -e raw)",
            "make it again without: strace -f -ttt -T -y -o LOG CMD",
        )
    return "", ""


def _bare_lines(lines: Iterable[bytes], form: Form) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        line = _without(form.prefix, line.removeprefix(_UTF8_BOM) if number == 0 else line)
        if form.has_columns:
            match = HEAD.match(line)
            at = match.end() if match is not None else 0
            columns = _COLUMNS.match(line, at)
            if columns is not None and columns.end() > at:
                line = line[:at] + line[columns.end() :]
        yield _with_names(line) if form.has_numbers else line


def _with_names(line: bytes) -> bytes:
    """A line of `strace -X raw` with the names of the constants that paths and later stages depend on."""
    called = _CALLED.search(line)
    if called is None:
        return line
    name = called.group(1) or called.group(2)
    if name == b"fcntl":
        return _DUPLICATES.sub(rb"\1F_DUPFD", line)
    n_numbers = 0

    def named(match: re.Match[bytes]) -> bytes:
        nonlocal n_numbers
        kind, text = match.lastgroup, match.group()
        if kind == "cwd":
            return b"AT_FDCWD"
        if kind == "mode":
            mode = int(text, 8)
            return b"%s|%#o" % (constants.KINDS.get(mode & 0o170000, b"0"), mode & 0o7777)
        if kind == "flags" and name.startswith(b"clone"):
            return constants.flag_names(int(text, 16), _CLONE_FLAGS)
        if kind == "flags" and name in _OPENS:
            return constants.opening(int(text, 16))
        if kind in ("number", "is_last"):
            n_numbers += 1
            if name in _OPENS and n_numbers == 1:
                return constants.opening(int(text, 16))
            if (name == b"statx" and n_numbers == 1) or (kind == "is_last" and len(text) <= 6):  # an address is longer
                return constants.flag_names(int(text, 16), constants.AT_FLAGS)
        return text

    at = called.end() - 1  # with the bracket before the first argument
    return line[:at] + _NUMBER.sub(named, line[at:])


def _without(prefix: re.Pattern[bytes] | None, line: bytes) -> bytes:
    match = prefix.match(line) if prefix is not None else None
    return line[match.end() :] if match is not None else line


def _columns_of(line: bytes) -> bool:
    match = HEAD.match(line)
    at = match.end() if match is not None else 0
    columns = _COLUMNS.match(line, at)
    return columns is not None and columns.end() > at and _BODY.match(line, columns.end()) is not None


def _is_start(line: bytes) -> bool:
    """Whether a line begins as one of strace's does, with or without more columns."""
    match = HEAD.match(line)
    at = match.end() if match is not None else 0
    columns = _COLUMNS.match(line, at)
    at = columns.end() if columns is not None else at
    return _BODY.match(line, at) is not None or _CHATTER.match(line, at) is not None


def _have_heads(lines: list[bytes]) -> bool:
    n_heads = sum(_begins(line, True) for line in lines)
    return n_heads >= sum(_is_start(line) and not _has_head(line) for line in lines)


def _has_head(line: bytes) -> bool:
    match = HEAD.match(line)
    return match is not None and any(match.groups())


def _begins(line: bytes, has_heads: bool) -> bool:
    """Whether a line of a folded log is the first of one of strace's: a head alone may be, where all have one."""
    if not has_heads or _CHATTER.match(line):
        return _is_start(line)
    alone = HEAD.fullmatch(line.rstrip() + b" ")
    return (_has_head(line) and _is_start(line)) or (alone is not None and any(alone.groups()))


def _is_folded(lines: list[bytes]) -> bool:
    broken = [i for i in range(1, len(lines)) if not _is_start(lines[i]) and _is_start(lines[i - 1])]
    open_before = sum(_RESULT.search(lines[i - 1]) is None or _continues(lines[i - 1]) for i in broken)
    return len(broken) >= 2 and open_before >= 0.8 * len(broken) and max(map(len, lines)) <= 200


def _continues(line: bytes) -> bool:
    """Whether a line with a result may still lack its end: `= -1 ENOENT (No such file or`."""
    result = line.rpartition(b") = ")[2] if b") = " in line else line.rpartition(b" = ")[2]
    return result.count(b"(") > result.count(b")") or result.count(b"<") > result.count(b">")
