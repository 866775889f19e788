"""Would this very command start under the recorder? Looked at ahead, without running it.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.

Source: elf(5); ld.so(8).
"""

import os
import struct

from fsprobe import files
from fsprobe.capture.backends.inline import trial
from fsprobe.capture.machine import host, starters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LOADERS = ("ld-linux-x86-64.so.2",)
"""glibc's. Asked to trace, another one would run the program."""
MAX_INTERPRETERS = 6
"""Scripts whose interpreter is a script: the kernel gives up then."""
_PT_INTERP = 3
_X86_64 = 62


class Program:
    """What the kernel will load for a command: an ELF file and the loader that it names."""

    path = ""
    loader = ""
    why_not = ""
    """Why the recorder can't get into it, whatever the loader says."""


def why_not(command: "str", library: "str", environ: "Mapping[str, str]") -> "str":
    """Say why a command would not start, or would not be seen, under the recorder ("" where it would, or nobody can tell).

    A program that is linked with much static TLS (libtsan) does not start with an auditor: the loader is asked to load and
    relocate it, and does not run it.

    Args:
        command: the command's first word.
        library: the recorder's .so.
        environ: the command's environment.
    """
    path = starters.known(command, environ)[0] or host.find_program(command, environ)[0]
    if path is None:
        return ""  # the error of a command that is not there is somebody else's
    program = load(path, environ, command)
    if program.why_not:
        return program.why_not
    if not program.loader or environ.get("LD_PRELOAD", "").strip(": "):
        return ""  # it will be entered by LD_PRELOAD, and is not kept from starting
    asked = dict(environ, LD_TRACE_LOADED_OBJECTS="1", LD_WARN="1", LD_BIND_NOW="1", LD_AUDIT=library)
    asked.pop("FSPROBE_RING", None)
    status, complaint = trial.run([program.path], asked)
    if status and "TLS" in complaint:
        return "its libraries need more static TLS than the loader leaves under LD_AUDIT: %s" % complaint
    return ""


def why_not_outside(command: "list[str]", environ: "Mapping[str, str]") -> "str":
    """Say why a command that starts a container, itself or in its shell script, is not for the recorder ("" where it does not).

    The recorder's file is not in the container, and the loader in there would complain of that on stderr. Nor is valgrind, which
    complains of what the loader itself frees with any LD_AUDIT.
    """
    if command and os.path.basename(command[0]) == "valgrind":
        return "valgrind runs programs on a processor of its own, where the recorder would be observed too"
    name = starters.mentioned(command, environ)
    if name not in starters.STARTERS:
        return ""
    return "%s starts programs in a container, where the recorder's file is not: run fsprobe inside of it" % name


def load(path: "str", environ: "Mapping[str, str]", command: "str" = "") -> "Program":
    """Follow a command as the kernel does: from a script to its interpreter, to the loader that this names.

    Args:
        path: where the command is.
        environ: where an interpreter is looked up.
        command: the command as it was typed, by which it is known already.
    """
    found = Program()
    found.path = path
    shown = os.path.basename(path)
    for _ in range(MAX_INTERPRETERS):
        try:
            head = starters.known(command, environ)[1] if found.path == path else b""
            if not head:
                with files.open_regular(found.path) as source:
                    head = source.read(starters.HEAD_BYTES)
            loader = _loader_of(found.path, head)
        except (OSError, OverflowError, ValueError):
            return found
        if head[:2] == b"#!":
            words = head[2:256].split(b"\n", 1)[0].split()
            if not words:
                return found
            name = os.fsdecode(words[0])
            if os.path.basename(name) == "env" and len(words) == 2:
                # `#!/usr/bin/env python`: env is seen, and so is what it starts; that is the one to look at
                name = host.find_program(os.fsdecode(words[1]), environ)[0] or name
            found.path = name
            continue
        break
    if head[:4] != b"\x7fELF":
        return found
    if head[4:6] != b"\x02\x01" or struct.unpack_from("<H", head, 18)[0] != _X86_64:
        found.why_not = "%s is no program for x86_64" % shown
    elif os.geteuid() and host.known_privilege_of(found.path):
        found.why_not = "%s is %s: the loader ignores LD_AUDIT then" % (shown, host.known_privilege_of(found.path))
    elif loader is not None:
        found.loader = loader
        if not loader:
            found.why_not = "%s is linked statically: no loader starts it, so the recorder can't get into it" % shown
        elif os.path.basename(loader) not in LOADERS:
            found.why_not = "%s is started by %s, which is not glibc's loader" % (shown, loader)
            found.loader = ""
    return found


def _piece(path: "str", head: "bytes", at: "int", n_bytes: "int") -> "bytes":
    if at + n_bytes <= len(head):
        return head[at : at + n_bytes]
    with files.open_regular(path) as source:
        source.seek(at)
        return source.read(n_bytes)


def _loader_of(path: "str", head: "bytes") -> "str | None":
    """The loader that an ELF file names, "" where it names none; None where it can't be told."""
    if head[:6] != b"\x7fELF\x02\x01" or len(head) < 64:
        return None
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    if size != 56:
        return None
    headers = _piece(path, head, offset, 56 * count)
    for at in range(0, len(headers) - 55, 56):
        if struct.unpack_from("<I", headers, at)[0] == _PT_INTERP:
            where, n_bytes = struct.unpack_from("<Q", headers, at + 8)[0], struct.unpack_from("<Q", headers, at + 32)[0]
            return os.fsdecode(_piece(path, head, where, min(n_bytes, 4096)).split(b"\0", 1)[0])
    return ""
