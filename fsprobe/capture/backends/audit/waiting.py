"""The audit backend: no tracer. The command runs directly, and each interpreter in it notes its own calls.

What runs in the target is `hook/audit/watch.py`; it leaves one file `calls.TOKEN` per process. `run` starts the command and waits
as `session.run` does for a tracer; `gather` then makes of those files one log in strace's own words, so that all that
follows reads it as it reads any other. Not observed: the loader, whatever runs before `site`, programs that are not Python,
durations, and results of calls that only an audit event tells of (` = ?`).

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import json
import os
import signal
import time

from fsprobe.capture import shipped
from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import host
from fsprobe.capture.process import session
from fsprobe.errors import EXIT_NOT_FOUND, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MARKERS = "inside"
"""How imports are marked: in the stream itself, by the process itself."""
CALLS = "calls."
BLOCK_BYTES = 1 << 18
_FULL = "marks.full"
_CLONE = b"clone(child_stack=NULL, flags=%s) = %d"


HOOK_PARTS = ("stream.py", "functions.py", "events.py", "watch.py")


def hook_source() -> "str":
    """The text that the hook executes in each interpreter."""
    return "\n\n".join(shipped.read("hook", "audit", name) for name in HOOK_PARTS)


# ---- running ------------------------------------------------------------------------------------------------------


def run(
    command: "list[str]",
    environment: "Mapping[str, str]",
    scratch: "str",
    max_log_bytes: "int",
    wait_descendants_s: "float",
    on_tick: "Callable[[], None] | None" = None,
    held: "session.SignalsHeld | None" = None,
) -> "session.Outcome":
    """Start the command itself, wait, gather what its processes noted, and say how it went; see `session.run`.

    Raises:
        FsprobeError: the command can't be started.
    """
    if held is None:
        with session.SignalsHeld() as held:
            return run(command, environment, scratch, max_log_bytes, wait_descendants_s, on_tick, held)
    program = host.find_program(command[0], environment)[0]
    if program is None:
        raise FsprobeError("%s: command not found" % command[0], "check the name and PATH", EXIT_NOT_FOUND)
    outcome = session.Outcome()
    read_before = session.read_bytes()
    outcome.started_s = time.time()
    begin = time.monotonic()
    pid = session.start(command, environment, held, limited=False, program=program)
    outcome.tracer_pid = outcome.target_pid = pid
    watched = [*session.FORWARDED, signal.SIGCHLD]
    while True:
        arrived = session.take_signal(watched, session.TICK_S)
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        if arrived is not None and arrived.si_signo != signal.SIGCHLD and arrived.si_code != session.TTY_SIGNAL_CODE:
            session.send(pid, arrived.si_signo)
        outcome.log_truncated = outcome.log_truncated or _bound(scratch, max_log_bytes)
        if on_tick is not None:
            try:
                on_tick()
            except (OSError, ValueError):
                on_tick = None
    outcome.wall_s = time.monotonic() - begin
    # there is no tracer: the process is the target, and its usage holds that of the children it has waited for
    _, status, usage = os.wait4(pid, 0)
    outcome.user_s, outcome.sys_s, outcome.majflt = usage.ru_utime, usage.ru_stime, usage.ru_majflt
    outcome.exit_status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    read_after = session.read_bytes()
    if read_before is not None and read_after is not None:
        outcome.read_bytes = read_after - read_before
    outcome.descendants_left = _descendants_left(scratch, wait_descendants_s, watched)
    stop_writers(scratch)
    try:
        outcome.log_truncated = gather(scratch) or outcome.log_truncated
    except OSError as error:
        raise FsprobeError(
            "what the interpreters noted in %s cannot be read: %s" % (scratch, error.strerror),
            "the command has run; name another place with --tmp-dir",
            _exit_code(outcome.exit_status) or None,
        )
    return outcome


def _exit_code(status: "int") -> "int":
    return status if status >= 0 else 128 - status


def _bound(scratch: "str", max_log_bytes: "int") -> "str":
    """Take the hooks' place away when there is too much in it or too little room; say why, or ""."""
    place = os.path.join(scratch, scratch_dir.MARKS)
    try:
        with os.scandir(place) as entries:
            size = sum(entry.stat().st_size for entry in entries)
        free = scratch_dir.free_bytes(scratch)
    except OSError:
        return ""
    if size <= max_log_bytes and free >= session.LOW_SPACE_BYTES:
        return ""
    stop_writers(scratch)
    return "the log reached --max-log" if size > max_log_bytes else "the scratch filesystem is nearly full"


def stop_writers(scratch: "str") -> "None":
    """Take the hooks' place away: they append by path, and where that is not there they write no more."""
    try:
        os.rename(os.path.join(scratch, scratch_dir.MARKS), os.path.join(scratch, _FULL))
    except OSError:
        pass


def _descendants_left(scratch: "str", wait_s: "float", watched: "list[int]") -> "bool":
    """Wait for interpreters that outlive the command; whether some are still there when the time is over."""
    end = time.monotonic() + wait_s
    while running(scratch):
        arrived = session.take_signal(watched, 0.02)
        asked = arrived is not None and arrived.si_signo != signal.SIGCHLD
        if asked or time.monotonic() >= end:
            return True
    return False


def running(scratch: "str") -> "list[int]":
    """Processes that a hook of this run noted and that are still there, with the hook in their environment."""
    place = os.path.join(scratch, scratch_dir.MARKS)
    try:
        names = [name for name in os.listdir(place) if name.startswith(CALLS)]
    except OSError:
        return []
    found = []
    entry = _hook_dir(scratch)
    for name in names:
        word = name[len(CALLS) :].split(".")[0]
        if word.isdigit() and session.is_running(int(word)) and int(word) not in found:
            try:
                with open("/proc/%s/environ" % word, "rb", buffering=0) as source:
                    is_ours = bool(entry) and entry in source.read(1 << 20)
            except OSError:
                is_ours = False
            if is_ours:
                found.append(int(word))
    return found


def _hook_dir(scratch: "str") -> "bytes":
    """What this run put on PYTHONPATH, as it wrote it down before the command started."""
    try:
        with own_files.reader(os.path.join(scratch, scratch_dir.STATE)) as source:
            return os.fsencode(str(json.loads(source.read().decode("utf-8", "surrogateescape"))["hook_dir"]))
    except (OSError, ValueError, LookupError, TypeError):
        return b""


# ---- one log ------------------------------------------------------------------------------------------------------


def gather(scratch: "str") -> "str":
    """Make the log of what the processes noted, ordered by time, each after what shows who started it.

    Returns:
        Why the log is not complete, "" when it is.

    Raises:
        OSError: what they noted can't be read.
    """
    import heapq  # only here: it costs a dozen metadata calls, and this module is loaded with every recorder

    place = os.path.join(scratch, scratch_dir.MARKS)
    if not os.path.isdir(place):
        os.rename(os.path.join(scratch, _FULL), place)
    to_wall_ns = int(time.time() * 1e9) - int(time.monotonic() * 1e9)
    paths = [os.path.join(place, name) for name in os.listdir(place) if name.startswith(CALLS)]
    births = {path: birth for path, birth in ((path, _birth(path)) for path in paths) if birth is not None}
    streams = [_stream(path, births[path]) for path in births]
    streams.append(iter(_clones(sorted(births.values(), key=lambda birth: birth.at_ns))))
    log = os.path.join(scratch, scratch_dir.LOG)
    try:
        with os.fdopen(own_files.open_file(log, os.O_WRONLY | os.O_CREAT), "wb") as target:
            target.truncate()
            for at_ns, tid, rest in heapq.merge(*streams, key=lambda entry: entry[0]):
                seconds, ns = divmod(at_ns + to_wall_ns, 1000000000)
                target.write(b"%d %d.%09d %s\n" % (tid, seconds, ns, rest))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return "the scratch filesystem is full"
    return ""


class Birth:
    """The first line of a process's file: how it came to be, when, and by whom."""

    def __init__(self, words: "list[bytes]") -> "None":
        self.word = words[0].decode("ascii", "replace")
        self.pid, self.parent, self.tid, self.at_ns, self.forked_by, self.forked_ns = [int(one) for one in words[1:7]]


def _birth(path: "str") -> "Birth | None":
    try:
        with own_files.reader(path, buffering=0) as source:
            head = source.read(256).split(b"\n", 1)[0]
        return Birth(head[1:].split()) if head[:1] == b"!" else None
    except (OSError, ValueError, IndexError):
        return None


def _clones(births: "list[Birth]") -> "list[tuple[int, int, bytes]]":
    """The calls that made the processes, as far as their parents are known: sorted by time."""
    born = {}  # type: dict[int, Birth]
    found = []
    for birth in births:
        if birth.word == "fork":
            by = birth.forked_by or birth.parent
            flags = b"CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"
            found.append((birth.forked_ns or birth.at_ns - 1, by, _CLONE % (flags, birth.pid)))
        elif birth.parent in born and birth.pid not in born:
            flags = b"CLONE_VM|CLONE_VFORK|SIGCHLD"
            found.append((birth.at_ns - 1, birth.parent, _CLONE % (flags, birth.pid)))
        born[birth.pid] = birth
    return sorted(found)


def _stream(path: "str", birth: "Birth") -> "Iterator[tuple[int, int, bytes]]":
    """The lines of one file, in its order; read by path in blocks, since there may be more files than descriptors."""
    at, rest, last_ns = 0, b"", birth.at_ns
    while True:
        with own_files.reader(path, buffering=0) as source:
            source.seek(at)
            block = source.read(BLOCK_BYTES)
        at += len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            words = line.split(b" ", 2)
            if len(words) == 3 and words[0].isdigit() and words[1].isdigit():
                # threads take their stamps side by side: in the file's order, but never backwards
                last_ns = max(last_ns, int(words[1]))
                yield last_ns, int(words[0]), words[2]
            elif line[:1] != b"!" and line:
                yield last_ns, birth.tid, line
        if not block:
            return
