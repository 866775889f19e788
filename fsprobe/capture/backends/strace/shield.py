"""What stands between strace and the command: strace's complaints stay off the command's stderr, signals off strace.

strace starts the command itself, and hands on what it has: its stderr, its blocked signals. So both can only differ
where something is executed in between. That is a program of some 300 bytes, made for the run: it puts stderr and the
signal mask back as fsprobe found them, closes its own descriptors and executes the command. strace keeps a file in the
scratch directory for its stderr, and blocks every signal that would end it; a program whose strace has ended gets ENOSYS
from every traced call.

That program's own execve is the first line of the log, and is left out of the recording: it looks up one path, calls
nothing else that is traced, and has gone before the command begins.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import fcntl
import os
import signal
import struct

from fsprobe.capture.backends.tracing import COMPLAINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAM = "start"
_LET_THROUGH = frozenset("SIGKILL SIGSTOP SIGCHLD SIGCONT SIGTSTP SIGTTIN SIGTTOU SIGWINCH SIGURG".split())
"""What can't be blocked, ends nobody, or is job control, which stops strace and the command together."""
BLOCKED = sorted(
    # 32 and 33 are glibc's own
    set(range(1, signal.NSIG)) - {int(getattr(signal, name)) for name in _LET_THROUGH} - {32, 33}
)
TRIED = 42
"""The exit code of the program when it is started without a command."""

# linux/asm/unistd_64.h
_CLOSE, _RT_SIGPROCMASK, _DUP2, _EXECVE, _EXIT_GROUP = 3, 14, 33, 59, 231
_SIG_SETMASK = 2
_MFD_EXEC = 0x10
"""linux/memfd.h, 6.3: older kernels refuse it, newer ones ask for it."""
_BASE = 0x400000
_HEAD_BYTES = 64 + 2 * 56


class Shield:
    """A shield that is ready: `command` goes in place of the command, `put_on` is called in the child that becomes strace."""

    def __init__(self, path: "str", command: "list[str]", kept: "list[int]", complaints: "int") -> "None":
        self.path = path
        self.command = [path] + command
        self.kept = kept + [complaints]
        """Descriptors that only strace needs: to be closed once it has been started."""
        self._complaints = complaints

    def put_on(self, mask: "Iterable[int]") -> "None":
        """Take strace's stderr and signal mask, on top of the command's own `mask`."""
        os.dup2(self._complaints, 2)
        os.set_inheritable(2, True)
        signal.pthread_sigmask(signal.SIG_SETMASK, set(mask) | set(BLOCKED))


def make(place: "str", program: "str", command: "list[str]", mask: "Iterable[int]") -> "Shield | None":
    """Make the shield of one run; None where this machine runs no such program, and strace stands unshielded.

    Args:
        place: where strace's files are.
        program: path of the command.
        command: the command with its arguments.
        mask: the signals that shall be blocked when it starts.
    """
    if os.uname().machine != "x86_64" or struct.calcsize("P") != 8:
        return None
    kept = []  # type: list[int]
    try:
        saved = _saved_stderr()
        if saved >= 0:
            kept.append(saved)
        bits = sum(1 << (int(number) - 1) for number in mask)
        if hasattr(os, "memfd_create"):  # in memory: a scratch directory is often mounted noexec
            path = _in_memory(kept, saved, bits, os.fsencode(program))
        else:
            path = os.path.join(place, PROGRAM)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
            os.write(fd, _image(saved, -1, bits, os.fsencode(program)))
            os.close(fd)
        if not _runs(path):
            raise OSError
        complaints = os.open(
            os.path.join(place, COMPLAINTS), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
    except OSError:
        for fd in kept:
            os.close(fd)
        return None
    return Shield(path, command, kept, complaints)


def _saved_stderr() -> "int":
    """A copy of stderr for the command, -1 where it has none."""
    try:
        # what this process opened itself came to stand there because there was none
        if fcntl.fcntl(2, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            return -1
    except OSError:
        return -1
    return fcntl.fcntl(2, fcntl.F_DUPFD, 3)


def _in_memory(kept: "list[int]", saved: "int", mask: "int", program: "bytes") -> "str":
    try:
        made = os.memfd_create("fsprobe", os.MFD_CLOEXEC | _MFD_EXEC)
    except OSError:
        made = os.memfd_create("fsprobe")
    try:
        # opened again: what is open for writing can't be executed
        again = os.open("/proc/self/fd/%d" % made, os.O_RDONLY | os.O_CLOEXEC)
        try:
            own = fcntl.fcntl(again, fcntl.F_DUPFD, 3)
        finally:
            os.close(again)
        kept.append(own)
        os.write(made, _image(saved, own, mask, program))
    finally:
        os.close(made)
    return "/proc/self/fd/%d" % own


def _image(saved: "int", own: "int", mask: "int", program: "bytes") -> "bytes":
    """An ELF program for x86_64.

    Args:
        saved: descriptor that becomes its stderr; -1 for none.
        own: descriptor that it is executed from; -1 for none.
        mask: the signal mask that it sets, as the kernel has it.
        program: path of what it executes, with the arguments that follow its own name.

    Source:
        elf(5); x86-64 psABI: a process starts with argc at the stack pointer, then argv and the environment.
    """
    leave = _move(TRIED) + _call(_EXIT_GROUP)
    code = b"\x48\x83\x3c\x24\x01\x75" + struct.pack("B", len(leave)) + leave  # cmp qword [rsp], 1; jne
    if saved >= 0:
        code += _move(saved) + b"\xbe" + struct.pack("<I", 2) + _call(_DUP2) + _move(saved) + _call(_CLOSE)
    else:
        code += _move(2) + _call(_CLOSE)
    if own >= 0:
        code += _move(own) + _call(_CLOSE)
    ending = _ending(0)
    data = _BASE + _HEAD_BYTES + len(code) + len(ending)
    body = code + _ending(data) + struct.pack("<Q", mask) + program + b"\0"
    size = _HEAD_BYTES + len(body)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEAD_BYTES, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return head + load + stack + body


def _ending(data: "int") -> "bytes":
    """Set the mask that lies at `data`, execute the path behind it, and exit 1 where that fails."""
    code = _move(_SIG_SETMASK) + b"\xbe" + struct.pack("<I", data) + b"\x31\xd2"  # mov esi; xor edx, edx
    code += b"\x41\xba" + struct.pack("<I", 8) + _call(_RT_SIGPROCMASK)  # mov r10d
    code += _move(data + 8) + b"\x48\x8d\x74\x24\x10"  # lea rsi, [rsp+16]
    code += b"\x48\x8b\x04\x24\x48\x8d\x54\xc4\x10"  # mov rax, [rsp]; lea rdx, [rsp+rax*8+16]
    return code + _call(_EXECVE) + _move(1) + _call(_EXIT_GROUP)


def _move(value: "int") -> "bytes":
    """mov edi, value: the first argument of a call."""
    return b"\xbf" + struct.pack("<I", value)


def _call(number: "int") -> "bytes":
    """mov eax, number; syscall."""
    return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"


def _runs(path: "str") -> "bool":
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(path, [path], {})
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == TRIED
