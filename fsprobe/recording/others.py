"""Files that are no recording: what they are, by their first bytes, and what to do with them.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import re

_STRACE = re.compile(rb"(\[pid +\d+\] |\d+ +)?(\d+\.\d+ |\d+:\d\d:\d\d(\.\d+)? )*([a-z_0-9]+\(|[-+]{3} )")
_SQUEEZED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_RECORD = "`fsprobe run -o FILE -- CMD` makes a recording"


def described(first: "bytes", path: "str") -> "tuple[str, str]":
    """What a file is instead of a recording, in words after a colon ("" where that is not known), and what to do.

    Args:
        first: its first line, or the beginning of it.
        path: its name.
    """
    from shlex import quote  # an error may cost some calls, a run must not

    if not first:
        return "it is empty", _RECORD
    if first.startswith(b"\x7fELF"):
        return "it is a program", "`fsprobe run -- %s` traces it" % quote(_called(path))
    if path.endswith(".py") or (first.startswith(b"#!") and b"python" in first):
        return "it is a Python script", "`fsprobe run -- python3 %s` traces it" % quote(path)
    if first.startswith(b"#!"):
        return "it is a script", "`fsprobe run -- %s` traces it" % quote(_called(path))
    if path.endswith((".pstats", ".prof")) or first[:2] in (b"{(", b"{\xa8", b"{\xa9") or first[:1] == b"\xfb":
        return "it is a profile of cProfile's, or the like, which holds no filesystem calls", _RECORD
    if first.startswith(b"PK"):
        return "it is a ZIP archive", "a ticket holds its recording: `unzip -l %s` lists it" % quote(path)
    if first.startswith(b"hsqs"):
        return "it is a SquashFS image", "`fsprobe exec --image %s --at PATH -- CMD` runs a command with it" % quote(
            path
        )
    if first.lstrip().lower().startswith(b"<!doctype html"):
        return "it is a page", "open it in a browser, or name the recording that it was made of"
    if first.lstrip().startswith(b"{"):
        return "it is JSON", "name the recording: a report can't be read back"
    if _STRACE.match(first) or first.startswith(_SQUEEZED):
        what = "it looks like a strace log" if _STRACE.match(first) else "it is compressed"
        return what, "`fsprobe load %s -o FILE` makes a recording of a strace log" % quote(path)
    return "", "%s; `fsprobe load LOG -o FILE` reads a strace log" % _RECORD


def _called(path: "str") -> "str":
    return path if "/" in path else "./" + path
