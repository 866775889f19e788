"""Programs that a run started and that being traced changes: those with raised privileges, and those that trace others.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import stat

from fsprobe.capture.machine import host, starters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

N_LOOKED_AT = 50
REQUESTS = b"PTRACE_TRACEME", b"PTRACE_ATTACH", b"PTRACE_SEIZE"


class Seen:
    """What a log says of the programs of a run."""

    def __init__(self, paths: "Iterable[bytes]" = ()) -> "None":
        self.paths = list(paths)
        """Those that were started, the first ones."""
        self.refused = {}  # type: dict[bytes, None]
        """Those of them that tried to trace a process and were refused."""
        self.n_untraced = 0
        """Processes that no tracer could follow (CLONE_UNTRACED)."""

    def tracers(self) -> "list[str]":
        """The names of those that trace others, or tried to."""
        found = {}  # type: dict[str, None]
        for path in [path for path in self.paths if _is_tracer(path)] + list(self.refused):
            name = os.path.basename(path).decode("utf-8", "backslashreplace")
            found["".join(letter if letter.isprintable() else "?" for letter in name)] = None
        return list(found)


def _is_tracer(path: "bytes") -> "bool":
    return os.path.basename(path).decode("utf-8", "backslashreplace") in starters.TRACERS


def seen_in(text: "Iterable[bytes]") -> "Seen":
    """Read a log's calls in strace's words."""
    seen = Seen()
    paths = {}  # type: dict[bytes, None]
    begun = {}  # type: dict[bytes, bytes]  # process -> what it is about to become
    running = {}  # type: dict[bytes, bytes]  # process -> what it became last
    rest = b""
    try:
        for block in text:
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if b" execve" in line:
                    if len(paths) < N_LOOKED_AT:
                        _take_exec(line, paths, begun, running)
                elif b" ptrace(" in line and b" = -1 EPERM" in line:
                    process, _, call = line.partition(b" ptrace(")
                    path = running.get(process.split(None, 1)[0])
                    if path is not None and call.startswith(REQUESTS):
                        seen.refused[path] = None
                elif b"CLONE_UNTRACED" in line and b" = -1 " not in line and b" = ?" not in line:
                    seen.n_untraced += b" clone" in line
    except (OSError, IndexError):
        pass
    seen.paths = list(paths)
    return seen


def _take_exec(
    line: "bytes", paths: "dict[bytes, None]", begun: "dict[bytes, bytes]", running: "dict[bytes, bytes]"
) -> "None":
    process = line.split(None, 1)[0]
    path = None
    _, quote, after = line.partition(b'"')
    if b" execve(" in line and line.endswith(b"<unfinished ...>"):
        if quote:  # none: an address that can't be read
            begun[process] = after.partition(b'"')[0]
    elif b" execve(" in line and b" = 0" in line:
        path = after.partition(b'"')[0]
    elif b" execve resumed>" in line and b" = 0" in line and process in begun:
        path = begun.pop(process)
    if path is not None:
        paths[path] = None
        running[process] = path


def privileged(paths: "list[bytes]") -> "list[list[str]]":
    """Which of the programs have setuid, setgid or file capabilities: [path, what it has]."""
    gains = [(os.fsdecode(path), host.privilege_of(os.fsdecode(path))) for path in paths[:N_LOOKED_AT]]
    return [[path, gain] for path, gain in gains if gain]


def changing_root(paths: "list[bytes]") -> "list[list[str]]":
    """The same for root's run, which has all rights already: those that would go on as another user or group."""
    found = []
    for path, gain in privileged(paths):
        try:
            status = os.stat(path)
        except OSError:
            continue
        if (gain == "setuid" and status.st_uid) or (status.st_mode & stat.S_ISGID and status.st_gid):
            found.append([path, gain])
    return found


CANNOT_TRACE = "a program that is traced can't trace others itself"
ELSEWHERE = "record with --backend audit or inline, or leave it out"


def warnings(gains: "list[list[str]]", tracers: "list[str]", n_untraced: "int", is_root: "bool" = False) -> "list[str]":
    """What the user should know at the end of a run; is_root: whether it was root's."""
    instead = "record with --backend ptrace, which leaves it" if is_root else "run fsprobe inside the container instead"
    lines = [
        "%s (%s) was started and lost that by being traced; %s" % (program, gain, instead) for program, gain in gains
    ]
    if tracers:
        was = "was" if len(tracers) == 1 else "were"
        lines.append("%s %s started, and %s; %s" % (" and ".join(tracers), was, CANNOT_TRACE, ELSEWHERE))
    if n_untraced:
        lines.append(
            "%d processes were made so that no tracer can follow them (CLONE_UNTRACED): their calls failed or are not seen. "
            "Record with --backend ptrace, which follows them, or with audit or inline" % n_untraced
        )
    return lines


def warning_before(command: "list[str]", environment: "dict[str, str]") -> "str":
    """What the user should know before a tracer starts a command; "" for nothing."""
    name = starters.tracer_in(command, environment)
    return "%s will fail: %s; %s" % (name, CANNOT_TRACE, ELSEWHERE) if name else ""
