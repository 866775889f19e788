"""Which tracer a run gets: strace, our own ptrace tracer, or none but the audit hooks inside the target.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.capture.backends.strace import installed, shield
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsprobe.capture.options import RunOptions

GET_STRACE = "load a module that has strace, or install it (e.g. `conda install -c conda-forge strace`)"

ALLOW_TRACING = (
    "run fsprobe where tracing is allowed (outside of this container or the other tracer), or use `--backend audit`; "
    "see `fsprobe doctor`"
)


JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
SIGNALS_OF_JOBS = "this is a batch job: a signal to all processes of a step, such as SIGUSR1, would end strace"
"""A program under --seccomp-bpf whose strace is gone gets ENOSYS from every traced call; `scancel --signal` does that."""


class Tracer:
    """A backend that was chosen: its name, how it marks imports, its version, and its whole command line."""

    why = ""
    """What kept `auto` from a better one; "" where nothing did, or where the user named it."""

    def __init__(self, backend: "str", markers: "str", version: "str", words: "list[str]", log: "str") -> "None":
        self.backend = backend
        self.markers = markers
        self.version = version
        self.words = words
        self.log = log


def choose(options: "RunOptions", environment: "Mapping[str, str]", scratch: "str") -> "Tracer":
    """Take the backend that was asked for; for `auto` strace, else ptrace, else the audit hooks.

    Raises:
        FsprobeError: it is not there, or this machine can't run it.
    """
    log = os.path.join(scratch, scratch_dir.LOG)
    if options.backend == "strace":
        why = why_not_strace(environment)
        if why:
            raise FsprobeError(why, GET_STRACE)
        return _strace(options, environment, log)
    if options.backend == "ptrace":
        why = why_not_ptrace()
        if why:
            raise FsprobeError(why, GET_STRACE + "; see `fsprobe doctor`")
        return _ptrace(options, log)
    if options.backend == "audit":
        return _audit(options, log)
    name, why = best(environment)
    if name == "audit" and options.no_markers:
        raise FsprobeError(why, GET_STRACE + "; the audit backend can't do without markers")
    tracer = (
        _strace(options, environment, log)
        if name == "strace"
        else (_ptrace if name == "ptrace" else _audit)(options, log)
    )
    tracer.why = why
    return tracer


def best(environment: "Mapping[str, str]") -> "tuple[str, str]":
    """The backend that `auto` takes on this machine, and what kept it from a better one ("" for strace)."""
    if any(environment.get(name) for name in JOB_VARIABLES) and not why_not_ptrace():
        return "ptrace", SIGNALS_OF_JOBS
    no_strace = why_not_strace(environment)
    if not no_strace:
        denied = why_not_allowed()
        return ("audit", denied) if denied else ("strace", "")
    no_ptrace = why_not_ptrace()
    return ("audit", "%s; %s" % (no_strace, no_ptrace)) if no_ptrace else ("ptrace", no_strace)


def why_not_allowed() -> "str":
    """Say why a tracer gets no permission here ("" when it does). Tried only where something hints at it: it takes time."""
    hints = 0
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", "rb", buffering=0) as source:
            hints += int(source.read(16)) > 1
    except (OSError, ValueError):
        pass
    try:
        with open("/proc/self/status", "rb", buffering=0) as source:
            for line in source.read(1 << 14).split(b"\n"):
                hints += line.startswith((b"TracerPid:", b"Seccomp:")) and line.split()[1] != b"0"
    except (OSError, IndexError):
        pass
    if not hints:
        return ""
    from fsprobe.capture.backends.ptrace import tracer as ptrace

    return ptrace.why_not_allowed() or ""


def why_not_strace(environment: "Mapping[str, str]") -> "str":
    """Say why there is no usable strace ("" when there is)."""
    program = installed.find(environment)
    if program is None:
        return "there is no strace on PATH"
    version = installed.version(program)
    if version is None:
        return "%s does not run" % program
    if version < installed.MIN_VERSION:
        return "%s is version %d.%d, fsprobe needs %d.%d" % ((program,) + version + installed.MIN_VERSION)
    return installed.denied(program)


def why_not_ptrace() -> "str":
    """Say why our own tracer can't run here ("" when it can)."""
    # ctypes and the tables are loaded only where there is no strace
    from fsprobe.capture.backends.ptrace import tracer as ptrace

    return ptrace.why_not() or ""


def _markers(options: "RunOptions", timed: "bool", tracer: "str") -> "str":
    markers = "none" if options.no_markers else options.markers
    if markers == "auto":
        return "time" if timed else "access"
    if markers in ("time", "both") and not timed:
        raise FsprobeError("%s prints no ns stamps, which time markers need" % tracer, "use --markers=access")
    return markers


def _strace(options: "RunOptions", environment: "Mapping[str, str]", log: "str") -> "Tracer":
    program = installed.find(environment) or "strace"
    version = installed.version(program)
    name = "%d.%d" % version if version is not None else ""
    markers = _markers(options, installed.has_relative_ns(version), "strace " + name)
    return Tracer("strace", markers, name, installed.command_line(program, version, log, options.command), log)


def _ptrace(options: "RunOptions", log: "str") -> "Tracer":
    from fsprobe.capture.backends.ptrace import tracer as ptrace

    complaints = os.path.join(os.path.dirname(log), shield.COMPLAINTS)
    return Tracer(
        "ptrace",
        _markers(options, True, "ptrace"),
        "",
        ptrace.command(log, options.command, complaints=complaints),
        log,
    )


def _audit(options: "RunOptions", log: "str") -> "Tracer":
    from fsprobe.capture.backends.audit import waiting

    if options.no_markers:
        raise FsprobeError("the audit backend is made of markers", "leave --no-markers away, or use another backend")
    if options.markers != "auto":
        raise FsprobeError("the audit backend has markers of its own", "leave --markers away")
    return Tracer("audit", waiting.MARKERS, "", options.command, log)
