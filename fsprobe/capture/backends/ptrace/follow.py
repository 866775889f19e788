"""Follows every thread of a target from stop to stop and writes its calls to the log, as strace does.

Runs beside the target on Python 3.6 and later: standard library, few imports.
"""

# The C module: `signal` itself loads `enum` and `functools`, a third of what it takes to start.
import _signal as signal  # type: ignore[import-not-found]
import ctypes
import os
import time

from fsprobe.capture.backends.ptrace import abi, memory, own_ways, served
from fsprobe.capture.backends.ptrace.calls import SYSCALLS
from fsprobe.capture.backends.ptrace.tracee import CpuTimes, Stops, Tracee

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable

    from fsprobe.capture.backends.ptrace.tracee import Syscall

    Ptrace = Callable[..., int]

FLUSH_EVERY_S = 0.1
"""How stale the log may be while the target is quiet."""
_FLUSH_PARTS = 512

_SECCOMP_STOP = abi.EVENT_SECCOMP << 16 | 0x57F
_SYSCALL_STOP = abi.SIG_TRAP_SYSCALL << 8 | 0x7F

if hasattr(time, "monotonic_ns"):
    _monotonic_ns = time.monotonic_ns
else:  # Python 3.6

    def _monotonic_ns() -> int:
        return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e9)

# ---- the log ------------------------------------------------------------------------------------------------------


class Log:
    """The file: lines in the order of their start, each stamped with the time since the line before it."""

    __slots__ = ("fd", "parts", "open", "last_ns", "begun_ns", "error", "n_bytes", "n_lost")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.parts: "list[str]" = []
        self.open: "Tracee | None" = None
        """Whose call stands half written at the end of the log."""
        self.last_ns = self.begun_ns = 0
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
        self.begun_ns = self.begun_ns or now_ns
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
            try:
                size = os.fstat(self.fd).st_size
                tail = os.pread(self.fd, 65536, max(0, size - 65536))
                # Whole lines only, and room for the mark.
                end = tail.rfind(b"\n", 0, max(0, len(tail) - 160)) + 1
                size -= len(tail) - end
                self.n_lost += len(tail) - end
                os.ftruncate(self.fd, size)
                os.lseek(self.fd, size, os.SEEK_SET)
                os.write(
                    self.fd, f"fsprobe ptrace: log cut: {self.error.strerror}, {self.n_lost} bytes lost\n".encode()
                )
            except OSError:
                pass  # there is still no room: the line on stderr says it
            wrong = f"log cut: {self.error.strerror}, {self.n_lost} bytes lost"
        os.close(self.fd)
        return wrong


class Run:
    """The target: its threads, its log, and the calls to the kernel that move it on."""

    def __init__(self, log: Log, ptrace: "Ptrace", main_pid: int) -> None:
        self.log = log
        self.ptrace = ptrace
        self.main_pid = main_pid
        self.main_status = 0
        self.tracees: "dict[int, Tracee]" = {main_pid: Tracee(main_pid)}
        self.buffer = ctypes.create_string_buffer(abi.SYSCALL_INFO_SIZE)
        self.siginfo = ctypes.create_string_buffer(128)
        self.started = False
        """The target's own execve was seen: from here on calls are its own."""
        self.proving = False
        """It is not known yet whether that execve succeeds."""
        self.foreign: "set[int]" = set()
        """Who makes 32-bit calls, which are not decoded."""
        self.confined: "set[int]" = set()
        """Who confined itself, and whose hook asks for nothing from then on."""
        self.n_undecoded = 0
        self.servers: "served.Servers | None" = None
        """Who serves a filesystem (FUSE) itself, once somebody may."""
        self.stops = Stops()
        self.cpu_path = ""
        """Where CPU times of threads go; "": nowhere."""
        self.cpu: "CpuTimes | None" = None
        """... from the first process on in which imports are marked."""
        self.waiting = False
        """The loop is at rest, so the timer may flush."""
        self.ticking = False

    def expect_server(self) -> "served.Servers":
        """From now on a process of the target may serve a filesystem."""
        if self.servers is None:
            self.servers = served.Servers(self.ptrace, self.tracees, self.stops)
        return self.servers

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
    stops = run.stops
    queue = stops.queue
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
        for stops.at, (pid, status) in enumerate(queue):
            tracee = tracees.get(pid)
            if tracee is None:
                if not os.WIFSTOPPED(status):
                    continue  # no child of the target: one that this process was born with, or one served out of turn
                tracee = tracees[pid] = Tracee(pid)
                if own_ways.owed:
                    own_ways.give_child(ptrace, pid)
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
    if run.cpu is not None:
        run.cpu.flush()


def _enter_call(
    run: Run,
    t: Tracee,
    unpack: "Callable[[ctypes.Array[ctypes.c_char]], tuple[int, ...]]" = abi.SYSCALL_INFO_ENTRY.unpack_from,
    syscalls: "dict[int, Syscall]" = SYSCALLS,
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
    if number in own_ways.CLONES:
        own_ways.let_follow(ptrace, t)
    if run.started and not call.hidden:
        log = run.log
        leader = log.begin(t.tid)
        try:
            early = call.enter(t, t.args)
        except Exception as error:
            early = _undecoded(run, call, error)
        log.parts.append(f"{leader}{call.name}({early}")
        log.open = t
        if call.number == 59 and served.MOUNTERS in early:
            run.expect_server()
        if '"fsprobe!' in early:
            if run.cpu is None and run.cpu_path:
                run.cpu = CpuTimes(run.cpu_path, log.begun_ns)
            if '"fsprobe!ready ' in early:
                own_ways.note_hook(t.tid, early)
        if run.cpu is not None and log.last_ns >= t.cpu_due_ns:
            run.cpu.note(t, log.last_ns)
    elif run.started and number in own_ways.CALLS and own_ways.stop_hook(ptrace, t):
        run.confined.add(t.tid)
    t.entered_ns = _monotonic_ns()
    ptrace(abi.PTRACE_SYSCALL, t.tid, 0, 0)


def _leave_call(
    run: Run,
    t: Tracee,
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
    if own_ways.taken:
        own_ways.give_back(ptrace, t.tid, value < 0)
    if call.moves and value >= 0:
        memory.cwd_age[0] += 1
    if run.started and not call.hidden:
        try:
            late = call.leave(t, (*t.args, value)) if call.leave is not None else ""
        except Exception as error:
            late = _undecoded(run, call, error)
        if -4096 < value < 0:
            result = errors.get(-value) or f"-1 (errno {-value})"
        elif call.returns_fd:
            result = memory.descriptor(t.tid, value)
            if result.endswith(served.OPENED):
                run.expect_server().note(t.tid)
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


def _other_event(run: Run, t: Tracee, status: int) -> "tuple[int, int]":
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
        if run.cpu is not None:
            run.cpu.forget(t)
        del run.tracees[pid]
        memory.forget_memory(pid)
        return 0, 0
    event = status >> 16
    number = status >> 8 & 0xFF
    go_on = abi.PTRACE_SYSCALL if t.call is not None else abi.PTRACE_CONT
    if event == 0:
        if run.ptrace(abi.PTRACE_GETSIGINFO, pid, 0, run.siginfo) == 0 and run.started:
            log.line(pid, f"--- {abi.signal_name(number)} {memory.signal_info(run.siginfo.raw)} ---")
        return go_on, number
    if event == abi.EVENT_STOP and number in abi.STOP_SIGNALS:
        log.line(pid, f"--- stopped by {abi.signal_name(number)} ---")
        return abi.PTRACE_LISTEN, 0
    if event == abi.EVENT_EXEC:
        # It is inside execve, whose end we want to see.
        return (abi.PTRACE_SYSCALL if _replace_program(run, t).call is not None else abi.PTRACE_CONT), 0
    if event == abi.EVENT_EXIT:
        if run.cpu is not None:
            run.cpu.note(t, _monotonic_ns())
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


def _replace_program(run: Run, t: Tracee) -> Tracee:
    """After a successful execve its memory is new, and a thread that called it goes on under the process's id.

    Returns the thread that goes on.
    """
    pid = t.tid
    message = ctypes.c_ulong(0)
    run.ptrace(abi.PTRACE_GETEVENTMSG, pid, 0, ctypes.byref(message))
    former = run.tracees.pop(message.value, None) if message.value not in (0, pid) else None
    memory.forget_memory(pid)
    if former is None:
        return t
    log = run.log
    if log.open is former:
        log.parts.append(f" <pid changed to {pid} ...>\n")
        log.open = None
    memory.forget_memory(former.tid)
    old_tid, former.tid = former.tid, pid
    former.cwd_age = -1
    former.reprint = True
    if log.open is t:
        log.parts.append(" <unfinished ...>\n")
        log.open = None
    run.tracees[pid] = former
    log.line(pid, f"+++ superseded by execve in pid {old_tid} +++")
    return former


def _undecoded(run: Run, call: "Syscall", error: Exception) -> str:
    """Keep a defect of ours from the target, which dies with us; it is in the log and said at the end."""
    run.n_undecoded += 1
    return f"<undecoded by fsprobe: {type(error).__name__} in {call.name}>"


def _note_foreign(run: Run, t: Tracee, number: int) -> None:
    if t.tid not in run.foreign:
        run.foreign.add(t.tid)
        mode = "x32" if number & abi.X32_BIT else "32 bit"
        run.log.line(t.tid, f"[ Process PID={t.tid} runs in {mode} mode. ]")
