"""How strace writes strings, descriptors and results: the pieces of one line, taken apart.

Nothing here knows which system calls exist. Formats: strace 6.1 (`string_quote`, `printpathn`, `printfd`).
"""

from __future__ import annotations

import errno
import re

_NAMED = {0x0A: b"\\n", 0x09: b"\\t", 0x0D: b"\\r", 0x0B: b"\\v", 0x0C: b"\\f", 0x5C: b"\\\\", 0x22: b'\\"'}
_LETTER = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a", b"b": b"\b"}
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ODD = re.compile(rb'[^\x20-\x7e]|["\\]')
_ODD_IN_ANNOTATION = re.compile(rb'[^\x20-\x7e]|["\\<>]')

MAX_CALL_BYTES = 80_000
"""Of a line of a log that is no execve: two paths of 4095 bytes (PATH_MAX), in the arguments and once more where descriptors
are annotated, with four letters for each byte, and what stands around them."""
MAX_PATH_BYTES = 8192
"""Of a path: a directory's and a name's together."""
_MAX_TRIES = 64
"""Of places in a line where the result may begin: more would be a line that somebody made."""

_STRING = rb'"(?:[^"\\]|\\.)*"'
# in a path `>` is escaped: only what is none (a socket) has `->` within, and a path may end in `-`
_ANNOTATION = rb"<(?:/(?:[^<>]|<[^<>]*>)*|(?!/)(?:->|[^<>]|<[^<>]*>)*)>"
_PLAIN = rb'[^",<(\[{)\]}]*'
_ARGUMENT = re.compile(
    rb" *(" + _PLAIN + rb"(?:(?:" + _STRING + rb"|" + _ANNOTATION + rb")" + _PLAIN + rb")*)(?:,|\Z)", re.DOTALL
)
# a string without its end is one token up to the end: to look for the end of each of many would take the square of the time
_OPEN_STRING = rb'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)'
_TOKEN = re.compile(_OPEN_STRING + rb"|" + _ANNOTATION + rb'|[^",<(\[{)\]}]+|.', re.DOTALL)
_RESULT = re.compile(
    rb"(?:-1 (?:E[A-Z0-9_]+(?: \(.*\))?|\(errno \d+\))|\?(?: E[A-Z0-9_]+ \(.*\))?|(?:\d+|0x[0-9a-f]+)(?:"
    + _ANNOTATION
    + rb"(?:\(deleted\))?)?)(?: \(.*\)| /\*.*\*/| <unavailable>)?",
    re.DOTALL,
)
_ERRORS = frozenset(name.encode() for name in errno.errorcode.values())
_DURATION = re.compile(rb"(\d{1,9})\.(\d{1,9})>")


def unescape(raw: bytes) -> bytes:
    r"""Give the bytes that strace wrote as `raw`: `\n`, `\"`, short octal `\1`, and `\x2f` of -x and -xx."""
    return raw if b"\\" not in raw else _ESCAPE.sub(_unescape_one, raw)


def _unescape_one(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = match.groups()
    if octal is not None:
        return bytes((int(octal, 8) & 0xFF,))
    if hexadecimal is not None:
        return bytes((int(hexadecimal, 16),))
    return _LETTER.get(letter, letter)


def escape(name: bytes, *, annotation: bool = False) -> bytes:
    r"""Write `name` as strace does between quotes; with `annotation` as in `3</path>`, where `<` is `\74`."""

    def one(match: re.Match[bytes]) -> bytes:
        code = match.group()[0]
        named = _NAMED.get(code)
        if named is not None:
            return named
        following = name[match.end() : match.end() + 1]
        return b"\\%03o" % code if following.isdigit() else b"\\%o" % code

    return (_ODD_IN_ANNOTATION if annotation else _ODD).sub(one, name)


def split_arguments(args: bytes, limit: int = 64) -> list[bytes]:
    """Split a call's raw arguments at its own commas, at most `limit` of them; the rest is left off."""
    parts: list[bytes] = []
    at, end = 0, len(args)
    while at < end and len(parts) < limit:
        match = _ARGUMENT.match(args, at)
        if match is not None:
            parts.append(match.group(1).strip())
            at = match.end()
        else:
            stop = _end_of_nested(args, at)
            parts.append(args[at:stop].strip())
            at = stop + 1
    return parts


def _end_of_nested(args: bytes, at: int) -> int:
    depth = 0
    for match in _TOKEN.finditer(args, at):
        token = match.group()
        if token == b"," and depth == 0:
            return match.start()
        if token in (b"(", b"[", b"{"):
            depth += 1
        elif token in (b")", b"]", b"}"):
            depth -= 1
    return len(args)


def string_value(argument: bytes) -> bytes | None:
    r"""Give the bytes of a quoted argument (`"a\1b"`), None for an address, NULL or anything else unquoted."""
    if argument[:1] != b'"':
        return None
    if argument[-3:] == b"...":
        argument = argument[:-3]
    return unescape(argument[1:-1]) if len(argument) >= 2 and argument[-1:] == b'"' else None


def is_cut(argument: bytes) -> bool:
    """Tell whether strace cut this string short (`"abc"...`, see its option -s)."""
    return argument[-4:] == b'"...'


def annotated_path(argument: bytes) -> bytes | None:
    """Give the path that -y shows for a descriptor (`3</x>`, `AT_FDCWD</x>`), None for sockets, pipes or no -y.

    A ` (deleted)` that stands inside the angle brackets stays: there it can't be told from a name that ends so.
    """
    start = argument.find(b"<")
    if start < 0:
        return None
    inner = argument[start + 1 :]
    nested = inner.find(b"<")  # -yy: 3</dev/null<char 1:3>>
    end = inner.find(b">") if nested < 0 else nested
    if end < 0:
        return None
    path = unescape(inner[:end])
    return path if path[:1] == b"/" else None


def error_of(result: bytes) -> str | None:
    """Give the errno name in a raw result, "" for success, "?" for none at all; None if this is no result."""
    if _RESULT.fullmatch(result) is None:
        return None
    value, _, rest = result.partition(b" ")
    if value not in (b"-1", b"?"):
        return ""
    if rest[:1] == b"E":
        name, message, _ = rest.partition(b" ")
        # without its message it may be the beginning of a name, cut off
        return name.decode("ascii") if message or name in _ERRORS else None
    if value == b"?":
        return "?"
    return rest.strip(b"()").decode("ascii", "backslashreplace") if rest[:7] == b"(errno " else ""


def duration_ns(raw: bytes) -> int | None:
    """Give the ns of `0.000089>` (what follows ` <` with -T, any number of decimals); None if it isn't one."""
    match = _DURATION.fullmatch(raw)
    if match is None:
        return None
    seconds, fraction = match.groups()
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0"))


def split_result(call: bytes) -> tuple[bytes, bytes, int | None] | None:
    """Split `ARGS) = RESULT <DURATION>` into raw arguments, raw result and ns; None when there is no result.

    A name may hold `) = 3</x>`, in the arguments as it is, in the result's annotation with `<` and `>` escaped.
    So: the last ` = ` whose right side is a complete result.
    """
    end = len(call)
    for _ in range(_MAX_TRIES):
        at = call.rfind(b" = ", 0, end)
        if at < 0:
            return None
        args, tail = call[:at].rstrip(b" "), call[at + 3 :]
        if args[-1:] == b")":
            result, cut, raw = tail.rpartition(b" <")
            ns = duration_ns(raw) if cut else None
            if ns is None:
                result = tail
            if error_of(result.rstrip()) is not None:
                return args[:-1], result.rstrip(), ns
        end = at
    return None
