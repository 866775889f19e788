"""A tracer of our own that behaves like strace, for machines that have none: standard library and ctypes alone.

`python fsprobe/capture/backends/ptrace/tracer.py -o LOG -- CMD ARGS...` runs CMD with its own stdin, stdout, stderr, exit code and
signals, follows every thread and child, and writes the lines that

    strace -f -q --seccomp-bpf -ttt --relative-timestamps=ns -T -y -s 256 -o LOG \\
        -e trace=%file,getdents64,?getdents,fchdir,?clone,?clone3,?fork,?vfork,exit_group,?ptrace CMD

would write, so that one parser reads both. Needs Linux 5.3 on x86_64 (see `entry.why_not`); runs on Python 3.6 and later.

A seccomp filter stops the target at the traced calls only, so every other call runs at full speed. If this process is
killed, the kernel kills the target (PTRACE_O_EXITKILL) instead of leaving its calls to fail. `no_new_privs` is set
only where the kernel asks for it, which is for everybody but root.
"""

# The C module: `signal` itself loads `enum` and `functools`, a third of what it takes to start.
import _signal as signal  # type: ignore[import-not-found]
import ctypes
import errno
import gc
import os
import resource
import struct
import sys

if not __package__:  # run as a file: its own directory must not shadow the standard library
    sys.path[0] = os.path.abspath(__file__).rsplit("/", 5)[0]

from fsprobe.capture.backends.ptrace import abi, memory
from fsprobe.capture.backends.ptrace.calls import SYSCALLS
from fsprobe.capture.backends.ptrace.entry import (
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    EXIT_OWN_FAILURE,
    PASSED_BY,
    CannotTrace,
    seize,
    why_not_this_kernel,
)
from fsprobe.capture.backends.ptrace.follow import Log, Run, follow

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# ---- starting the target ------------------------------------------------------------------------------------------


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
    libc: "ctypes.CDLL",
    program: str,
    argv: "Sequence[str]",
    environment: "Sequence[bytes]",
    go: int,
    failed: int,
    mask: "Sequence[int] | None",
) -> None:
    """In the child: wait until seized, filter, execve. Comes back only if the execve failed."""
    words = [os.fsencode(word) for word in argv]
    argv_array = (ctypes.c_char_p * (len(words) + 1))(*words)
    env_array = (ctypes.c_char_p * (len(environment) + 1))(*environment)
    numbers = list(SYSCALLS)
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
    if mask is not None:
        # what has arrived meanwhile is the command's own, and no exception of this interpreter
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    libc.execve(path, argv_array, env_array)
    os.write(failed, struct.pack("2i", 2, ctypes.get_errno()))


# ---- the command line ---------------------------------------------------------------------------------------------


def trace(
    log_path: str,
    argv: "Sequence[str]",
    environment: "Sequence[bytes] | None" = None,
    complaints: str = "",
    mask: "Sequence[int] | None" = None,
    cpu_path: str = "",
) -> int:
    """Run a command to its end and log its calls; returns the wait status of the command itself.

    Must be the only thing that this process does: it changes the disposition of signals and its own stdin and stdout,
    and waits for any child.

    Args:
        log_path: file to write, made or emptied first.
        argv: the command and its arguments.
        environment: `NAME=value` entries; what this process was started with if None.
        complaints: file for what is to be said while the command runs and of how it went; "" for stderr.
        mask: the signals that shall be blocked in the command; None for those that are blocked here.
        cpu_path: file for the CPU times of threads where imports are marked; "" for none.

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
            _become_target(libc, program, argv, entries, go, fail, mask)
        finally:
            os._exit(EXIT_OWN_FAILURE)
    os.close(go)
    os.close(fail)
    for name in PASSED_BY:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    try:
        seize(libc, pid)
    except CannotTrace:
        os.close(let_go)
        os.waitpid(pid, 0)
        raise
    os.write(let_go, b"g")
    os.close(let_go)
    _let_standard_streams_go()
    if complaints:
        _complain_to(complaints)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    gc.disable()
    # A PyDLL call keeps the interpreter lock, which saves time; no ptrace request blocks. Without argtypes a call
    # takes two thirds of the time, and all that is passed is small and positive, or a buffer.
    ptrace = ctypes.PyDLL(None).ptrace
    ptrace.restype = ctypes.c_long
    memory.set_fallback_reader(_reader_by_call(libc))
    log = Log(log_fd)
    run = Run(log, ptrace, pid)
    run.cpu_path = cpu_path
    follow(run)
    wrong = log.close()
    if wrong is not None:
        _say(f"{log_path}: {wrong}")
    if run.n_undecoded:
        _say(f"{run.n_undecoded} calls could not be decoded, a defect of fsprobe: look for `undecoded` in {log_path}")
    if run.confined:
        _say(
            f"{len(run.confined)} processes confined themselves (seccomp): fsprobe's hook asks the kernel for nothing in them from then on"
        )
    if run.foreign:
        _say(f"{len(run.foreign)} processes ran in 32-bit mode: their calls are not in the log")
    if run.servers is not None and run.servers.words():
        _say(run.servers.words())
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
    try:
        null = os.open(os.devnull, os.O_RDWR)
    except OSError:
        return  # a bare container: whoever reads them waits for the tracer too
    os.dup2(null, 0)
    os.dup2(null, 1)
    if null > 2:
        os.close(null)


def _complain_to(path: str) -> None:
    """The command's stderr is its own from now on."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(fd, 2)
    if fd > 2:
        os.close(fd)


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
    try:
        os.write(2, f"ptrace: {text}\n".encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # no room, or nobody there: that must not be how the command ended


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


def main(arguments: "Sequence[str] | None" = None) -> int:
    """`-o LOG [-u CPU_TIMES] [-c COMPLAINTS] [-m SIGNALS] [-E NAME=VALUE]... [--] CMD ARGS...`; returns the exit code, or dies of CMD's signal."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    given, variables = {"-o": "", "-u": "", "-c": "", "-m": None}, []  # type: dict[str, str | None], list[bytes]
    while len(words) > 1 and words[0] in ("-o", "-u", "-c", "-m", "-E"):
        option, value = words.pop(0), words.pop(0)
        if option == "-E":
            variables.append(os.fsencode(value))
        else:
            given[option] = value
    if words[:1] == ["--"]:
        del words[0]
    if not words or not given["-o"]:
        _say("usage: tracer.py -o LOG [--] CMD ARGS...")
        return EXIT_OWN_FAILURE
    try:
        reason = why_not_this_kernel()
        if reason is not None:
            raise CannotTrace(reason)
        environment = None
        if variables:
            names = tuple(one.partition(b"=")[0] + b"=" for one in variables)
            environment = [one for one in original_environment() if not one.startswith(names)] + variables
        mask = None if given["-m"] is None else [int(number) for number in given["-m"].split(",") if number]
        status = trace(given["-o"], words, environment, given["-c"] or "", mask, given["-u"] or "")
    except CannotTrace as error:
        _say(str(error))
        return error.exit_code
    return _end_like(status)


if __name__ == "__main__":
    os._exit(main())
