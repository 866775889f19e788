"""A tracer of our own that behaves like strace, for machines that have none: standard library and ctypes alone.

`python fsprobe/capture/ptrace.py -o LOG -- CMD ARGS...` runs CMD with its own stdin, stdout, stderr, exit code and
signals, follows every thread and child, and writes the lines that

    strace -f -q --seccomp-bpf -ttt --relative-timestamps=ns -T -y -s 256 -o LOG \\
        -e trace=%file,getdents64,?getdents,fchdir,?clone,?clone3,?fork,?vfork,exit_group CMD

would write, so that one parser reads both. Needs Linux 5.3 on x86_64 (see `why_not`); runs on Python 3.6 and later.

A seccomp filter stops the target at the traced calls only, so every other call runs at full speed. If this process is
killed, the kernel kills the target (PTRACE_O_EXITKILL) instead of leaving its calls to fail. `no_new_privs` is set
only where the kernel asks for it, which is for everybody but root.
"""

import ctypes
import errno
import gc
import os
import resource
import signal
import struct
import sys
import time

if not __package__:  # run as a file: its own directory must not shadow the standard library
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fsprobe.capture import ptrace_abi as abi
from fsprobe.capture import ptrace_decode as decode

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Ptrace = Callable[..., int]

EXIT_OWN_FAILURE = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127

FLUSH_EVERY_S = 0.1
"""How stale the log may be while the target is quiet."""
_FLUSH_PARTS = 512

_SECCOMP_STOP = abi.EVENT_SECCOMP << 16 | 0x57F
_SYSCALL_STOP = abi.SIG_TRAP_SYSCALL << 8 | 0x7F
_PASSED_BY = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGPIPE", "SIGTERM", "SIGTTOU", "SIGTTIN")
"""What this process ignores, as strace does with -o: the target gets them from the terminal or from our caller."""

if hasattr(time, "monotonic_ns"):
    _monotonic_ns = time.monotonic_ns
else:  # Python 3.6

    def _monotonic_ns() -> int:
        return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e9)


class CannotTrace(Exception):
    """One clear line, and the exit code that goes with it."""

    def __init__(self, message: str, exit_code: int = EXIT_OWN_FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


# ---- the log ------------------------------------------------------------------------------------------------------


class Log:
    """The file: lines in the order of their start, each stamped with the time since the line before it."""

    __slots__ = ("fd", "parts", "open", "last_ns", "error", "n_bytes", "n_lost")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.parts: "list[str]" = []
        self.open: "decode.Tracee | None" = None
        """Whose call stands half written at the end of the log."""
        self.last_ns = 0
        self.error: "OSError | None" = None
        self.n_bytes = 0
        self.n_lost = 0

    def begin(self, tid: int) -> str:
        """Break off the line that stands half written, and stamp a new one."""
        if self.open is not None:
            self.parts.append(" <unfinished ...>\n")
            self.open = None
        now_ns = _monotonic_ns()
        since = now_ns - self.last_ns if self.last_ns else 0
        self.last_ns = now_ns
        if since < 1000000000:
            return f"{tid:<5} {time.time():.6f} (+     0.{since:09d}) "
        return f"{tid:<5} {time.time():.6f} (+{since // 1000000000:6d}.{since % 1000000000:09d}) "

    def line(self, tid: int, text: str) -> None:
        """Write a whole line that is no call."""
        leader = self.begin(tid)
        self.parts.append(f"{leader}{text}\n")

    def flush(self) -> None:
        """Hand what is gathered to the kernel; a full disk ends the log, not the target."""
        data = "".join(self.parts).encode("utf-8", "replace")
        del self.parts[:]
        while data and self.error is None:
            try:
                n_bytes = os.write(self.fd, data)
            except OSError as error:
                self.error = error
                break
            self.n_bytes += n_bytes
            data = data[n_bytes:]
        self.n_lost += len(data)

    def close(self) -> "str | None":
        """Flush; after a failed write cut the half line off and mark the place. Returns what went wrong, if it did."""
        self.flush()
        wrong = None
        if self.error is not None:
            wrong = f"log cut: {self.error.strerror}, {self.n_lost} bytes lost"
            try:
                size = os.fstat(self.fd).st_size
                with open(f"/proc/self/fd/{self.fd}", "rb") as written:
                    written.seek(max(0, size - 65536))
                    tail = written.read()
                size -= len(tail) - (tail.rfind(b"\n") + 1)
                os.ftruncate(self.fd, size)
                os.lseek(self.fd, size, os.SEEK_SET)
                os.write(self.fd, f"fsprobe ptrace: {wrong}\n".encode())
            except OSError:
                pass  # there is still no room: the line on stderr says it
        os.close(self.fd)
        return wrong


# ---- starting the target ------------------------------------------------------------------------------------------


def why_not() -> "str | None":
    """Explain in one line why this machine can't run the tracer, or return None where it can.

    Tries it: a child of ours is seized and let go, which takes about a millisecond.
    """
    return _why_not_this_kernel() or _why_not_ptrace()


def _why_not_this_kernel() -> "str | None":
    machine = os.uname()
    if machine.sysname != "Linux" or machine.machine != "x86_64" or struct.calcsize("P") != 8:
        return f"the ptrace backend runs on Linux on x86_64 only, not on {machine.sysname} on {machine.machine}"
    release = []
    for part in machine.release.split("-")[0].split(".")[:2]:
        release.append(int(part) if part.isdigit() else 0)
    if release < [5, 3]:
        return f"the ptrace backend needs Linux 5.3, this is {machine.release}"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(abi.PR_SET_SECCOMP, abi.SECCOMP_MODE_FILTER, None, 0, 0)
    if ctypes.get_errno() != errno.EFAULT:
        return "the kernel has no seccomp filters"
    return None


def _why_not_ptrace() -> "str | None":
    libc = ctypes.CDLL(None, use_errno=True)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    try:
        _seize(libc, pid)
    except CannotTrace as error:
        return str(error)
    finally:
        os.close(theirs)
        while True:
            _, status = os.waitpid(pid, abi.WALL)
            if not os.WIFSTOPPED(status):
                break
            libc.ptrace(abi.PTRACE_CONT, pid, None, None)
    return None


def _seize(libc: "ctypes.CDLL", pid: int) -> None:
    if libc.ptrace(abi.PTRACE_SEIZE, pid, None, ctypes.c_void_p(abi.OPTIONS)) == 0:
        return
    reason = os.strerror(ctypes.get_errno())
    with open(f"/proc/{pid}/status") as lines:
        tracer = next((line.split()[1] for line in lines if line.startswith("TracerPid:")), "0")
    if tracer != "0":
        raise CannotTrace(f"can't trace: process {tracer} traces this program already")
    raise CannotTrace(f"can't trace: {reason} (a container or the site's policy forbids ptrace)")


def original_environment() -> "list[bytes]":
    """The environment that this process was started with, without what its own interpreter added to it."""
    try:
        with open("/proc/self/environ", "rb") as file:
            data = file.read()
    except OSError:
        return [name + b"=" + value for name, value in os.environb.items()]
    return data.split(b"\0")[:-1]


def find_program(name: str, environment: "Sequence[bytes]") -> str:
    """Look a command up as a shell does.

    Raises:
        CannotTrace: with 127 where there is none, 126 where it can't be executed.
    """
    if "/" in name:
        places = [name]
    else:
        search = next((os.fsdecode(one[5:]) for one in environment if one.startswith(b"PATH=")), os.defpath)
        places = [os.path.join(directory or ".", name) for directory in search.split(":")] if name else []
    found = None
    for place in places:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return place
        if os.path.exists(place) and (found is None):
            found = place
    if found is None:
        raise CannotTrace(f"{name}: No such file or directory", EXIT_NOT_FOUND)
    reason = "Is a directory" if os.path.isdir(found) else "Permission denied"
    raise CannotTrace(f"{name}: {reason}", EXIT_NOT_EXECUTABLE)


def _become_target(
    libc: "ctypes.CDLL", program: str, argv: "Sequence[str]", environment: "Sequence[bytes]", go: int, failed: int
) -> None:
    """In the child: wait until seized, filter, execve. Comes back only if the execve failed."""
    words = [os.fsencode(word) for word in argv]
    argv_array = (ctypes.c_char_p * (len(words) + 1))(*words)
    env_array = (ctypes.c_char_p * (len(environment) + 1))(*environment)
    numbers = list(decode.SYSCALLS)
    code = abi.seccomp_program(numbers)
    code_buffer = ctypes.create_string_buffer(code, len(code))
    program_buffer = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(code_buffer)), 16
    )
    path = os.fsencode(program)
    # The interpreter ignores these two; the target shall not.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if os.read(go, 1) != b"g":
        return
    install = (abi.PR_SET_SECCOMP, abi.SECCOMP_MODE_FILTER, program_buffer, 0, 0)
    if libc.prctl(*install) != 0:
        libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.prctl(*install) != 0:
            os.write(failed, struct.pack("2i", 1, ctypes.get_errno()))
            return
    libc.execve(path, argv_array, env_array)
    os.write(failed, struct.pack("2i", 2, ctypes.get_errno()))


# ---- following it -------------------------------------------------------------------------------------------------


class Run:
    """The target: its threads, its log, and the calls to the kernel that move it on."""

    def __init__(self, log: Log, ptrace: "Ptrace", main_pid: int) -> None:
        self.log = log
        self.ptrace = ptrace
        self.main_pid = main_pid
        self.main_status = 0
        self.tracees: "dict[int, decode.Tracee]" = {main_pid: decode.Tracee(main_pid)}
        self.buffer = ctypes.create_string_buffer(abi.SYSCALL_INFO_SIZE)
        self.siginfo = ctypes.create_string_buffer(128)
        self.started = False
        """The target's own execve was seen: from here on calls are its own."""
        self.proving = False
        """It is not known yet whether that execve succeeds."""
        self.foreign: "set[int]" = set()
        """Who makes 32-bit calls, which are not decoded."""
        self.waiting = False
        """The loop is at rest, so the timer may flush."""
        self.ticking = False

    def tick(self, *_: object) -> None:
        if self.waiting:
            if self.log.parts:
                self.log.flush()
            else:
                signal.setitimer(signal.ITIMER_REAL, 0)
                self.ticking = False


def follow(run: Run) -> None:
    """Trace until the last thread of the target is gone; the log and `main_status` then hold what happened."""
    log = run.log
    parts = log.parts
    ptrace = run.ptrace
    tracees = run.tracees
    waitpid = os.waitpid
    queue: "list[tuple[int, int]]" = []
    signal.signal(signal.SIGALRM, run.tick)
    while True:
        if parts:
            if len(parts) > _FLUSH_PARTS:
                log.flush()
            elif not run.ticking:
                run.ticking = True
                signal.setitimer(signal.ITIMER_REAL, FLUSH_EVERY_S, FLUSH_EVERY_S)
        run.waiting = True
        try:
            pid, status = waitpid(-1, abi.WALL)
        except ChildProcessError:
            break
        finally:
            run.waiting = False
        queue.append((pid, status))
        if len(tracees) > 1:
            # Serve all that stopped before waiting again: a busy thread must not starve the others.
            while len(queue) < len(tracees):
                pid, status = waitpid(-1, abi.WALL | os.WNOHANG)
                if not pid:
                    break
                queue.append((pid, status))
        for pid, status in queue:
            tracee = tracees.get(pid)
            if tracee is None:
                if not os.WIFSTOPPED(status):
                    continue  # no child of the target: one that this process was born with
                tracee = tracees[pid] = decode.Tracee(pid)
            if status == _SECCOMP_STOP:
                _enter_call(run, tracee)
            elif status == _SYSCALL_STOP:
                _leave_call(run, tracee)
            else:
                request, with_signal = _other_event(run, tracee, status)
                if request:
                    ptrace(request, pid, 0, with_signal)
        del queue[:]
    signal.setitimer(signal.ITIMER_REAL, 0)


def _enter_call(
    run: Run,
    t: "decode.Tracee",
    unpack: "Callable[[ctypes.Array[ctypes.c_char]], tuple[int, ...]]" = abi.SYSCALL_INFO_ENTRY.unpack_from,
    syscalls: "dict[int, decode.Syscall]" = decode.SYSCALLS,
) -> None:
    ptrace = run.ptrace
    if ptrace(abi.PTRACE_GET_SYSCALL_INFO, t.tid, abi.SYSCALL_INFO_SIZE, run.buffer) < 0:
        return  # killed meanwhile: its end will be reported
    info = unpack(run.buffer)
    number = info[2]
    call = syscalls.get(number)
    if call is None or info[1] != abi.AUDIT_ARCH_X86_64:
        _note_foreign(run, t, number)
        ptrace(abi.PTRACE_CONT, t.tid, 0, 0)
        return
    if not run.started and call.name == "execve":
        run.started = run.proving = True
    t.call = call
    t.args = info[3:]
    if run.started and not call.hidden:
        log = run.log
        leader = log.begin(t.tid)
        log.parts.append(f"{leader}{call.name}({call.enter(t, t.args)}")
        log.open = t
    t.entered_ns = _monotonic_ns()
    ptrace(abi.PTRACE_SYSCALL, t.tid, 0, 0)


def _leave_call(
    run: Run,
    t: "decode.Tracee",
    unpack: "Callable[[ctypes.Array[ctypes.c_char]], tuple[int, ...]]" = abi.SYSCALL_INFO_EXIT.unpack_from,
    errors: "dict[int, str]" = abi.ERRORS,
) -> None:
    left_ns = _monotonic_ns()
    ptrace = run.ptrace
    call = t.call
    if call is None:
        ptrace(abi.PTRACE_CONT, t.tid, 0, 0)
        return
    if ptrace(abi.PTRACE_GET_SYSCALL_INFO, t.tid, abi.SYSCALL_INFO_SIZE, run.buffer) < 0:
        return
    (value,) = unpack(run.buffer)
    t.call = None
    if call.moves and value >= 0:
        decode.cwd_age[0] += 1
    if run.started and not call.hidden:
        late = call.leave(t, t.args + (value,)) if call.leave is not None else ""  # type: ignore[operator]
        if -4096 < value < 0:
            result = errors.get(-value) or f"-1 (errno {-value})"
        elif call.returns_fd:
            result = decode.descriptor(t.tid, value)
        else:
            result = str(value)
        took_ns = left_ns - t.entered_ns
        seconds, micros = (0, took_ns // 1000) if took_ns < 1000000000 else divmod(took_ns // 1000, 1000000)
        log = run.log
        if log.open is t and not t.reprint:
            log.open = None
            log.parts.append(f"{late}) = {result} <{seconds}.{micros:06d}>\n")
        else:
            t.reprint = False
            leader = log.begin(t.tid)
            log.parts.append(f"{leader}<... {call.name} resumed>{late}) = {result} <{seconds}.{micros:06d}>\n")
        if run.proving:
            run.proving = False
            run.started = value >= 0
    ptrace(abi.PTRACE_CONT, t.tid, 0, 0)


def _other_event(run: Run, t: "decode.Tracee", status: int) -> "tuple[int, int]":
    """Handle what is no call. Returns the request that moves the thread on (0 for none) and the signal it gets."""
    log = run.log
    pid = t.tid
    if not os.WIFSTOPPED(status):
        if os.WIFEXITED(status):
            log.line(pid, f"+++ exited with {os.WEXITSTATUS(status)} +++")
        else:
            core = "(core dumped) " if os.WCOREDUMP(status) else ""
            log.line(pid, f"+++ killed by {abi.signal_name(os.WTERMSIG(status))} {core}+++")
        if pid == run.main_pid:
            run.main_status = status
        del run.tracees[pid]
        decode.forget_memory(pid)
        return 0, 0
    event = status >> 16
    number = status >> 8 & 0xFF
    go_on = abi.PTRACE_SYSCALL if t.call is not None else abi.PTRACE_CONT
    if event == 0:
        if run.ptrace(abi.PTRACE_GETSIGINFO, pid, 0, run.siginfo) == 0 and run.started:
            log.line(pid, f"--- {abi.signal_name(number)} {decode.signal_info(run.siginfo.raw)} ---")
        return go_on, number
    if event == abi.EVENT_STOP and number in abi.STOP_SIGNALS:
        log.line(pid, f"--- stopped by {abi.signal_name(number)} ---")
        return abi.PTRACE_LISTEN, 0
    if event == abi.EVENT_EXEC:
        # It is inside execve, whose end we want to see.
        return (abi.PTRACE_SYSCALL if _replace_program(run, t).call is not None else abi.PTRACE_CONT), 0
    if event == abi.EVENT_EXIT:
        call, t.call = t.call, None
        if call is not None and run.started and not call.hidden:
            cut = " <unfinished ...>) = ?\n" if call.leave is not None else ") = ?\n"
            if log.open is t and not t.reprint:
                log.open = None
                log.parts.append(cut)
            else:
                leader = log.begin(pid)
                log.parts.append(f"{leader}<... {call.name} resumed>{cut}")
        return abi.PTRACE_CONT, 0
    return go_on, 0


def _replace_program(run: Run, t: "decode.Tracee") -> "decode.Tracee":
    """After a successful execve its memory is new, and a thread that called it goes on under the process's id.

    Returns the thread that goes on.
    """
    pid = t.tid
    message = ctypes.c_ulong(0)
    run.ptrace(abi.PTRACE_GETEVENTMSG, pid, 0, ctypes.byref(message))
    former = run.tracees.pop(message.value, None) if message.value not in (0, pid) else None
    decode.forget_memory(pid)
    if former is None:
        return t
    log = run.log
    if log.open is former:
        log.parts.append(f" <pid changed to {pid} ...>\n")
        log.open = None
    decode.forget_memory(former.tid)
    old_tid, former.tid = former.tid, pid
    former.cwd_age = -1
    former.reprint = True
    if log.open is t:
        log.parts.append(" <unfinished ...>\n")
        log.open = None
    run.tracees[pid] = former
    log.line(pid, f"+++ superseded by execve in pid {old_tid} +++")
    return former


def _note_foreign(run: Run, t: "decode.Tracee", number: int) -> None:
    if t.tid not in run.foreign:
        run.foreign.add(t.tid)
        mode = "x32" if number & abi.X32_BIT else "32 bit"
        run.log.line(t.tid, f"[ Process PID={t.tid} runs in {mode} mode. ]")


# ---- the command line ---------------------------------------------------------------------------------------------


def trace(log_path: str, argv: "Sequence[str]", environment: "Sequence[bytes] | None" = None) -> int:
    """Run a command to its end and log its calls; returns the wait status of the command itself.

    Must be the only thing that this process does: it changes the disposition of signals and its own stdin and stdout,
    and waits for any child.

    Args:
        log_path: file to write, made or emptied first.
        argv: the command and its arguments.
        environment: `NAME=value` entries; what this process was started with if None.

    Raises:
        CannotTrace: nothing was started: the command isn't there, or tracing or the log is not possible.
    """
    entries = original_environment() if environment is None else list(environment)
    program = find_program(argv[0], entries)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        low = os.open(log_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise CannotTrace(f"{log_path}: {error.strerror}")
    log_fd = _above_standard(low)
    go, let_go = os.pipe()
    failed, fail = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(let_go)
            _become_target(libc, program, argv, entries, go, fail)
        finally:
            os._exit(EXIT_OWN_FAILURE)
    os.close(go)
    os.close(fail)
    for name in _PASSED_BY:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        _seize(libc, pid)
    except CannotTrace:
        os.close(let_go)
        os.waitpid(pid, 0)
        raise
    os.write(let_go, b"g")
    os.close(let_go)
    _let_standard_streams_go()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    gc.disable()
    # A PyDLL call keeps the interpreter lock, which saves time; no ptrace request blocks.
    ptrace = ctypes.PyDLL(None).ptrace
    ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    ptrace.restype = ctypes.c_long
    decode.set_fallback_reader(_reader_by_call(libc))
    log = Log(log_fd)
    run = Run(log, ptrace, pid)
    follow(run)
    wrong = log.close()
    if wrong is not None:
        _say(f"{log_path}: {wrong}")
    if run.foreign:
        _say(f"{len(run.foreign)} processes ran in 32-bit mode: their calls are not in the log")
    report = os.read(failed, 8)
    if len(report) == 8:
        step, number = struct.unpack("2i", report)
        if step == 1:
            raise CannotTrace(f"can't install a seccomp filter: {os.strerror(number)}")
        code = EXIT_NOT_FOUND if number == errno.ENOENT else EXIT_NOT_EXECUTABLE
        raise CannotTrace(f"{argv[0]}: {os.strerror(number)}", code)
    return run.main_status


def _above_standard(fd: int) -> int:
    """Keep the log off descriptors 0-2, which may be closed when we are started."""
    import fcntl

    if fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def _let_standard_streams_go() -> None:
    """Hold neither end of a pipe that the target reads or writes: its peer must see the target close it."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if null > 2:
        os.close(null)


def _reader_by_call(libc: "ctypes.CDLL") -> "Callable[[int, int, int], bytes]":
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    def read(tid: int, address: int, length: int) -> bytes:
        buffer = ctypes.create_string_buffer(length)
        here = Vector(ctypes.addressof(buffer), length)
        there = Vector(address, length)
        n_bytes = libc.process_vm_readv(tid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        return buffer.raw[:n_bytes] if n_bytes > 0 else b""

    return read


def _say(text: str) -> None:
    os.write(2, f"ptrace: {text}\n".encode("utf-8", "surrogateescape"))


def _end_like(status: int) -> int:
    """Exit as the target did: its code, or its signal (without a core file of ours)."""
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number


def command(log_path: str, argv: "Sequence[str]", python: "str | None" = None) -> "list[str]":
    """The command line that runs `argv` under this tracer; `python` is the interpreter for it (3.6 or later)."""
    return [python or sys.executable, "-I", "-S", os.path.abspath(__file__), "-o", log_path, "--"] + list(argv)


def main(arguments: "Sequence[str] | None" = None) -> int:
    """`-o LOG [--] CMD ARGS...`; returns the exit code, or dies of the signal that CMD died of."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) < 3 or words[0] != "-o":
        _say("usage: ptrace.py -o LOG [--] CMD ARGS...")
        return EXIT_OWN_FAILURE
    log_path, argv = words[1], words[2:]
    if argv[0] == "--":
        argv = argv[1:]
    if not argv:
        _say("usage: ptrace.py -o LOG [--] CMD ARGS...")
        return EXIT_OWN_FAILURE
    try:
        reason = _why_not_this_kernel()
        if reason is not None:
            raise CannotTrace(reason)
        status = trace(log_path, argv)
    except CannotTrace as error:
        _say(str(error))
        return error.exit_code
    return _end_like(status)


if __name__ == "__main__":
    os._exit(main())
