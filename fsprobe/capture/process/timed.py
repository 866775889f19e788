"""Time one command from right beside it: inside whatever namespace it runs in, after the caches were emptied.

    python -I -S timed.py OUT SETTINGS -- CMD...

SETTINGS is JSON: `warm` (run the command once before the timed run: a file system that was mounted a moment ago has an
empty cache), `cold` ("" for nothing, "drop" for sync and the kernel's drop_caches, else a shell command), `starter` (the
process that started all this, where a layout is mounted: what else runs below it serves the mount; else 0), `variables`
(set for the command alone: what mounts a layout looks for its tools on PATH, and must not do that in the environment
that is measured), `meeting` (two descriptors, or none: a byte is written and one awaited right before and right after the
run, for whoever reads a server's counters). The start of this program, of a mount helper or of the shell command is not
in the measured time.

Writes JSON to OUT: wall_s, user_s, sys_s, majflt, beside_s (CPU of what serves the mount, during the run; null where
it can't be told), exit_status (minus the signal's number), cold ("" or why the caches could not be emptied). Standard library only.
"""

import json
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORWARDED = (signal.SIGTERM, signal.SIGHUP)


def make_cold(how: "str") -> "str":
    """Empty the caches; "" when that was done or not asked for, else why not."""
    if not how:
        return ""
    if how != "drop":
        status = os.system(how)
        return "" if status == 0 else "%s ended with %d" % (how, os.waitstatus_to_exitcode(status))
    try:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as control:
            control.write("3\n")
    except OSError as error:
        return "drop_caches: %s" % error.strerror
    return ""


class Child:
    """The command while it runs; what asks this program to end is for the command."""

    def __init__(self) -> "None":
        self.pid = 0
        self.is_asked_to_end = False
        self.taken = []  # type: list[int]
        for number in (*FORWARDED, signal.SIGINT, signal.SIGQUIT):
            if signal.getsignal(number) != signal.SIG_IGN:  # what was ignored stays that, in the command too
                # what the terminal sends reaches the command too, which decides
                signal.signal(number, self._forward if number in FORWARDED else lambda number, frame: None)
                self.taken.append(number)

    def _forward(self, number: "int", frame: "Any") -> "None":
        self.is_asked_to_end = True
        if self.pid:
            os.kill(self.pid, number)

    def run(self, command: "list[str]") -> "tuple[int, Any]":
        """Run the command to its end; wait status and resources."""
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for number in (*self.taken, signal.SIGPIPE):
                    signal.signal(number, signal.SIG_DFL)
                os.execvp(command[0], command)
            except OSError as error:
                os.write(2, ("fsprobe: %s: %s\n" % (command[0], error.strerror)).encode("utf-8", "backslashreplace"))
            finally:
                os._exit(127)
        if self.is_asked_to_end:  # between the question and the fork
            os.kill(self.pid, signal.SIGTERM)
        _, status, usage = os.wait4(self.pid, 0)
        self.pid = 0
        return status, usage


def processes_beside(starter: "int") -> "list[int]":
    """What runs below the child of `starter` that leads to us, but neither leads to us nor comes from us."""
    parents = {}  # type: dict[int, int]
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as source:
                    parents[int(name)] = int(source.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError):
                continue
    line = [os.getpid()]
    while parents.get(line[-1], 0) not in (0, starter):
        line.append(parents[line[-1]])
    if parents.get(line[-1]) != starter:
        return []
    beside = []
    for pid in parents:
        above = pid
        while above and above != line[0] and above != line[-1]:
            above = parents.get(above, 0)
        if above == line[-1] and pid not in line:
            beside.append(pid)
    return beside


def cpu_s(pids: "list[int]") -> "float | None":
    """CPU seconds of all threads of these processes so far; None where the kernel does not tell.

    Source: Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat: the first number is time on the CPU in ns.
    """
    total_ns = 0
    for pid in pids:
        try:
            for thread in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/schedstat" % (pid, thread), "rb") as source:
                    total_ns += int(source.read().split()[0])
        except (OSError, ValueError, IndexError):
            return None
    return total_ns / 1e9


def meet(descriptors: "list[int]") -> "None":
    """Let the other side read its counters."""
    if descriptors:
        os.write(descriptors[0], b"+")
        os.read(descriptors[1], 1)


def main() -> "int":
    """Run the command; our exit code is its."""
    out, settings = sys.argv[1], json.loads(sys.argv[2])
    command = sys.argv[4:]
    os.environ.update(settings["variables"])
    meeting = settings["meeting"]
    for descriptor in meeting:
        os.set_inheritable(descriptor, False)
    child = Child()
    if settings["warm"]:
        child.run(command)
    cold = make_cold(settings["cold"])
    if child.is_asked_to_end:
        return 128 + signal.SIGTERM
    beside = processes_beside(settings["starter"]) if settings["starter"] else []
    meet(meeting)
    beside_before = cpu_s(beside)
    begin = time.perf_counter()
    status, usage = child.run(command)
    wall = time.perf_counter() - begin
    beside_after = cpu_s(beside)
    meet(meeting)
    if child.is_asked_to_end:
        return 128 + signal.SIGTERM
    code = os.waitstatus_to_exitcode(status)
    facts = {
        "wall_s": wall,
        "user_s": usage.ru_utime,
        "sys_s": usage.ru_stime,
        "majflt": usage.ru_majflt,
        "beside_s": None if beside_before is None or beside_after is None else beside_after - beside_before,
        "exit_status": code,
        "cold": cold,
    }
    with open(out, "w") as target:
        json.dump(facts, target)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
