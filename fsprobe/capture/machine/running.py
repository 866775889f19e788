"""A running process, as /proc describes it: what is known of a target before it is attached to.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import re

from fsprobe.errors import BadInput, MachineCannot

_PYTHON_NAME = re.compile(r"^(?:python|pypy)[0-9.]*$")


class Target:
    """A running process, as /proc describes it before anything is done to it."""

    def __init__(self, pid: "int", tids: "list[int]", words: "list[str]", program: "str") -> "None":
        self.pid = pid
        self.tids = tids
        self.words = words
        self.program = program
        self.is_python = False
        self.cwd = ""
        self.environment = {}  # type: dict[str, str]
        self.mounts = b""


def look_at(pid: "int") -> "Target":
    """Describe a running process, and refuse at once what can't be traced.

    Raises:
        BadInput: there is none, it has ended, or it is this very process.
        MachineCannot: another tracer is at it.
    """
    status = status_of(pid)
    if not status:
        raise BadInput("there is no process %d" % pid, "it may have ended: see `ps`")
    leader = int(status.get("Tgid", pid))
    if leader == os.getpid():
        raise BadInput("%d is fsprobe itself" % pid, "name the process of the program")
    if status.get("State", "")[:1] in "ZX":
        raise BadInput("process %d has ended already" % pid, "only its parent has not noticed")
    tracer = int(status.get("TracerPid", 0))
    if tracer:
        raise MachineCannot(
            "process %d is traced already, by process %d (%s)" % (pid, tracer, status_of(tracer).get("Name", "?")),
            "a process has one tracer at a time: end that one first",
        )
    try:
        program = os.readlink("/proc/%d/exe" % leader)
    except OSError:
        program = ""
    words = [os.fsdecode(word) for word in _read(leader, "cmdline").split(b"\0")[:-1]]
    target = Target(leader, tids_of(leader), words, program or status.get("Name", ""))
    target.is_python = bool(_PYTHON_NAME.match(os.path.basename(program))) or b"/libpython3" in _read(leader, "maps")
    try:
        target.cwd = os.readlink("/proc/%d/cwd" % leader)
    except OSError:
        pass
    for entry in _read(leader, "environ").split(b"\0"):
        name, equals, value = os.fsdecode(entry).partition("=")
        if equals:
            target.environment[name] = value
    target.mounts = _read(leader, "mountinfo")
    return target


def usage(pid: "int") -> "dict[str, float]":
    """CPU seconds, major faults and bytes read of a process so far; without what can't be read."""
    found = {}  # type: dict[str, float]
    try:
        # proc(5), /proc/PID/stat: 12 majflt, 14 utime, 15 stime
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        tick = float(os.sysconf("SC_CLK_TCK"))
        found.update(majflt=int(fields[9]), user_s=int(fields[11]) / tick, sys_s=int(fields[12]) / tick)
    except (ValueError, IndexError):
        return found
    for line in _read(pid, "io").split(b"\n"):
        if line.startswith(b"rchar:"):
            found["read_bytes"] = int(line.split()[1])
    return found


def _read(pid: "int", name: "str") -> "bytes":
    try:
        with open("/proc/%d/%s" % (pid, name), "rb", buffering=0) as source:
            return b"".join(iter(lambda: source.read(1 << 16), b""))
    except OSError:
        return b""


def status_of(pid: "int") -> "dict[str, str]":
    """The fields of /proc/PID/status; none where there is no such process."""
    lines = _read(pid, "status").decode("utf-8", "replace").split("\n")
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines if ":" in line}


def tids_of(pid: "int") -> "list[int]":
    """The threads of a process."""
    try:
        return sorted(int(name) for name in os.listdir("/proc/%d/task" % pid))
    except OSError:
        return []


def tracer_of(pid: "int", tid: "int") -> "int":
    """Who traces a thread; 0 for nobody."""
    return int(_status_of_thread(pid, tid).get("TracerPid", 0))


def _status_of_thread(pid: "int", tid: "int") -> "dict[str, str]":
    lines = _read(pid, "task/%d/status" % tid).decode("utf-8", "replace").split("\n")
    # a thread that has just ended is nobody's to trace any more
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines if ":" in line}
