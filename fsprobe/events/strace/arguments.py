"""What later stages read from a call's raw arguments and result: flags, second path, kind of file, argv."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fsprobe.events.strace.values import annotated_path, is_cut, split_arguments, string_value
from fsprobe.model.events import Call, joined, plain

_FLAGS_AT = {
    "open": 1, "openat": 2, "creat": -1, "newfstatat": 3, "fstatat64": 3, "statx": 2, "faccessat": 3, "faccessat2": 3,
    "execveat": 4, "linkat": 4, "unlinkat": 2, "fchmodat": 3, "fchmodat2": 3, "fchownat": 4, "utimensat": 3,
    "renameat2": 4,
}  # fmt: skip
_TWO_PLAIN = frozenset({"rename", "link", "pivot_root"})
_TWO_AT = frozenset({"renameat", "renameat2", "linkat", "move_mount"})
_FLAG = re.compile(r"[A-Z][A-Z0-9_]+")
_NO_FLAGS: frozenset[str] = frozenset()


def open_flags(call: Call) -> frozenset[str]:
    """Give the names of a call's flags: O_CREAT of an open, AT_SYMLINK_NOFOLLOW or AT_EMPTY_PATH of an -at call.

    An empty set where the call has no flags. `creat` gives what it stands for.
    """
    if call.syscall == "creat":
        return frozenset({"O_CREAT", "O_WRONLY", "O_TRUNC"})
    if call.syscall == "openat2":
        # {flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_NO_XDEV}: both fields say how the path is looked up
        parts = split_arguments(call.args, 3)
        return frozenset(_FLAG.findall(parts[2].decode("ascii", "replace"))) if len(parts) > 2 else _NO_FLAGS
    at = _FLAGS_AT.get(call.syscall)
    if at is None or (b"_" not in call.args):
        return _NO_FLAGS
    parts = split_arguments(call.args, at + 1)
    return frozenset(_FLAG.findall(parts[at].decode("ascii", "replace"))) if len(parts) > at else _NO_FLAGS


def result_path(call: Call) -> bytes | None:
    """Give the resolved path of the descriptor that a successful open returned (`= 3</x>`), None without -y."""
    return annotated_path(call.result) if call.error == "" and b"<" in call.result else None


def second_path(call: Call) -> bytes | None:
    """Give the second path of rename, link, symlink and their -at forms, None for other calls.

    For rename and link it is the new name, made absolute like `call.path` where the call itself shows how; for
    symlink the text that the link will hold, as written.
    """
    name = call.syscall
    if name in ("symlink", "symlinkat"):
        parts = split_arguments(call.args, 1)
        return string_value(parts[0]) if parts else None
    if name in _TWO_PLAIN:
        parts = split_arguments(call.args, 2)
        if len(parts) < 2:
            return None
        second = string_value(parts[1])
        return second if second is None or second[:1] == b"/" else _beside(call, string_value(parts[0]), second)
    if name in _TWO_AT:
        parts = split_arguments(call.args, 4)
        if len(parts) < 4:
            return None
        second = string_value(parts[3])
        if second is None or second[:1] == b"/":
            return second
        directory = annotated_path(parts[2])
        if directory is not None:
            return joined(directory, second)
        return _beside(call, string_value(parts[1]), second) if parts[0] == parts[2] else second
    return None


def _beside(call: Call, first: bytes | None, second: bytes) -> bytes:
    # The directory of a relative first path is known: it is what the parser put before it.
    name = plain(b"/" + (first or b""))
    if first and first[:1] != b"/" and call.path.endswith(name):
        return joined(call.path[: -len(name)], second)
    return second


def link_target(call: Call) -> bytes | None:
    """Give what a successful readlink read, None when it failed, is another call, or strace cut it (-s)."""
    if call.error or call.syscall not in ("readlink", "readlinkat"):
        return None
    at = 1 if call.syscall == "readlink" else 2
    parts = split_arguments(call.args, at + 1)
    return None if len(parts) <= at or is_cut(parts[at]) else string_value(parts[at])


def exec_argv(call: Call) -> list[bytes]:
    """Give the argument vector of an execve or execveat as far as strace shows it (-s cuts long elements)."""
    at = {"execve": 1, "execveat": 2}.get(call.syscall)
    if at is None:
        return []
    parts = split_arguments(call.args, at + 1)
    if len(parts) <= at or parts[at][:1] != b"[":
        return []
    values = (string_value(part) for part in split_arguments(parts[at][1:].removesuffix(b"]"), 1 << 20))
    return [value for value in values if value is not None]


def is_argv_cut(call: Call) -> bool:
    """Whether strace cut a word of an execve's arguments, or left words out."""
    at = {"execve": 1, "execveat": 2}.get(call.syscall)
    if at is None:
        return False
    parts = split_arguments(call.args, at + 1)
    if len(parts) <= at or parts[at][:1] != b"[":
        return False
    words = split_arguments(parts[at][1:].removesuffix(b"]"), 1 << 20)
    return any(is_cut(word) or word == b"..." for word in words)


def exec_environment(call: Call, names: Iterable[str]) -> dict[str, str] | None:
    """Give the named variables that an execve passed on, as `strace -v` shows them.

    None where the log does not show them, and where one of the named ones is cut (-s) or some are left out.
    """
    at = {"execve": 2, "execveat": 3}.get(call.syscall)
    if at is None:
        return None
    parts = split_arguments(call.args, at + 1)
    if len(parts) <= at or parts[at][:1] != b"[":
        return None
    wanted, found = set(names), {}
    for word in split_arguments(parts[at][1:].removesuffix(b"]"), 1 << 20):
        value = string_value(word)
        if value is None:
            return None
        name, _, rest = value.partition(b"=")
        text = name.decode("utf-8", "surrogateescape")
        if text in wanted:
            if is_cut(word):
                return None
            found[text] = rest.decode("utf-8", "surrogateescape")
    return found


def resolved_of(path: bytes, result: bytes) -> bytes | None:
    """Where a successful open of a path led, by its result; None where it does not say."""
    start = result.find(b"<")
    if start >= 0 and result.endswith(b">"):
        return result[start + 1 : -1]
    # a log without -y: where it led is not known, that it was opened is
    return path if start < 0 and result.isdigit() else None
