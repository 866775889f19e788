"""The strace backend: which strace there is, what it can do, and the command line that traces a program.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
Measured choices (kernel 6.18, strace 6.1): `--seccomp-bpf` decides the cost of every call that is not traced; `-ttt -T -y
-s` cost next to nothing; relative stamps in ns are the monotonic clock that time markers are merged by.
"""

import os
import re

from fsprobe.capabilities import MARKED_BY_CALLS, UNMARKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TRACED = "trace=%file,getdents64,?getdents,fchdir,?clone,?clone3,?fork,?vfork,exit_group,?io_uring_setup,?ptrace"
MIN_VERSION = (4, 22)
"""`?name` (4.17) and `%file` (4.17) in -e trace=; older ones refuse the command line."""
SECCOMP_VERSION = (5, 3)
RELATIVE_NS_VERSION = (5, 10)
"""Surely has `--relative-timestamps=ns`; below it imports are marked by visible calls instead."""
WAYS_WITHOUT_NS = (MARKED_BY_CALLS, UNMARKED)


def version(program: "str") -> "tuple[int, int] | None":
    """Ask an strace for its version (major, minor); None when it does not run or does not say."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(write_end, 1)
            os.set_inheritable(1, True)  # where stdout was closed, the pipe is that very descriptor
            os.execv(program, [program, "-V"])
        finally:
            os._exit(127)
    os.close(write_end)
    output = b""
    while True:
        block = os.read(read_end, 4096)
        if not block:
            break
        output += block
    os.close(read_end)
    os.waitpid(pid, 0)
    found = re.search(rb"version (\d+)\.(\d+)", output)
    return (int(found.group(1)), int(found.group(2))) if found else None


def has_relative_ns(strace_version: "tuple[int, int] | None") -> "bool":
    """Whether it prints monotonic stamps in ns, which time markers need."""
    return strace_version is not None and strace_version >= RELATIVE_NS_VERSION


def command_line(
    program: "str",
    strace_version: "tuple[int, int] | None",
    log: "str",
    command: "list[str]",
    variables: "Mapping[str, str] | None" = None,
) -> "list[str]":
    """The strace command line that traces `command` into `log`; `variables` are set for the command alone.

    `-q` once: strace then says nothing of attached processes but still logs exits. `-f` is what `--seccomp-bpf` needs.
    """
    words = [program, "-f", "-q"]
    if strace_version is not None and strace_version >= SECCOMP_VERSION:
        words.append("--seccomp-bpf")
    words.append("-ttt")
    if has_relative_ns(strace_version):
        words.append("--relative-timestamps=ns")
    for name, value in sorted((variables or {}).items()):
        words += ["-E", "%s=%s" % (name, value)]
    return [*words, "-T", "-y", "-s", "256", "-o", log, "-e", TRACED, "--", *command]


def attach_line(program: "str", strace_version: "tuple[int, int] | None", log: "str", pid: "int") -> "list[str]":
    """The strace command line that traces a running process with its threads; seccomp filters can't be put into one."""
    words = [program, "-f", "-q", "-ttt"]
    if has_relative_ns(strace_version):
        words.append("--relative-timestamps=ns")
    return [*words, "-T", "-y", "-s", "256", "-o", log, "-e", TRACED, "-p", str(pid)]


def find(environment: "Mapping[str, str]") -> "str | None":
    """The strace on PATH, or None."""
    for entry in environment.get("PATH", os.defpath).split(":"):
        path = os.path.join(entry or ".", "strace")
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def denied(program: "str") -> "str":
    """Say why the kernel or a policy forbids tracing here ("" when nothing speaks against it).

    Tracing is tried out only where something hints at a refusal (a seccomp filter, as in containers): strace's own
    complaints would otherwise be the first thing that the command's stderr shows.
    """
    try:
        with open("/proc/self/status", "rb", buffering=0) as source:
            status = dict(line.split(b":\t", 1) for line in source.read(1 << 16).split(b"\n") if b":\t" in line)
    except OSError:
        return ""
    if status.get(b"TracerPid", b"0").strip() != b"0":
        return "fsprobe itself is traced already, and so can't trace"
    if status.get(b"Seccomp", b"0").strip() == b"0" and _yama_scope() < 2:
        return ""
    return "" if _can_trace(program) else "tracing is denied here (container policy or Yama)"


def _yama_scope() -> "int":
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", "rb", buffering=0) as source:
            return int(source.read(8))
    except (OSError, ValueError):
        return 0


def _can_trace(program: "str") -> "bool":
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
                os.set_inheritable(fd, True)
            os.execv(program, [program, "-f", "-q", "-o", os.devnull, "-e", "trace=none", "--", program, "-V"])
        finally:
            os._exit(127)
    return os.waitpid(pid, 0)[1] == 0
