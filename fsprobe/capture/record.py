"""Record one run: options in, one recording file out. Reads as the list of what happens.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import json
import os
import time
import zlib

import fsprobe
from fsprobe import recording
from fsprobe.capture import backends, host, lookups, mounts, session
from fsprobe.capture import scratch as scratch_dir
from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, BadInput, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fsprobe.capture.options import RunOptions

HOOK_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hook", "sitecustomize.py")
N_EXECS_LOOKED_AT = 50
DENIED_HINT = (
    "tracing is not allowed here (container policy, Yama, or already traced): see `fsprobe doctor`, "
    "or use `--backend audit`"
)


class Recorded:
    """What `record` gives back: the file, how the run ended, and lines that the user should read."""

    def __init__(self, path: "str", outcome: "session.Outcome", warnings: "list[str]") -> "None":
        self.path = path
        self.outcome = outcome
        self.warnings = warnings


def record(
    options: "RunOptions",
    on_start: "Callable[[str], None] | None" = None,
    on_tick: "Callable[[], None] | None" = None,
    warn: "Callable[[str], None] | None" = None,
    enter: "list[str] | None" = None,
    layout: "dict[str, Any] | None" = None,
) -> "Recorded":
    """Run a command under a tracer and write what happened.

    Args:
        options: what was asked for.
        on_start: called with the log's path before the command starts.
        on_tick: called about ten times a second while it runs.
        warn: called with what the user should know before the command starts.
        enter: a command line prefix that enters the layout in which the tracer and the command shall run.
        layout: what the manifest shall say of that layout.

    Raises:
        FsprobeError: command not found (127) or not executable (126); no tracer, tracing denied, no scratch, no room (125).
    """
    environment = dict(os.environ)
    rows = mounts.parse_mountinfo(mounts.read_own())
    warnings = check_command(options.command, environment)
    for line in warnings:
        if warn is not None:
            warn(line)
    scratch = scratch_dir.make(options.tmp_dir or None, environment, rows)
    try:
        tracer = backends.choose(options, environment, scratch)
        target_environment = dict(environment)
        if tracer.markers != "none":
            install_hook(scratch, tracer.markers, target_environment)
        state = first_facts(options, tracer, environment, layout, scratch)
        write_state(scratch, state)
        if on_start is not None:
            on_start(tracer.log)
    except BaseException:
        scratch_dir.remove(scratch)
        raise
    outcome = session.run(
        list(enter or []) + tracer.words,
        target_environment,
        scratch,
        options.max_log_bytes,
        options.wait_descendants_s,
        on_tick,
    )
    if outcome.empty_log:
        scratch_dir.remove(scratch)
        raise FsprobeError("%s could not trace %s" % (tracer.backend, options.command[0]), DENIED_HINT)
    state.update(last_facts(outcome))
    path = options.output or default_name(options.command, state)
    try:
        write_recording(scratch, state, path, warnings)
    except FsprobeError as error:
        write_state(scratch, state)
        error.hint += "; nothing is lost: `fsprobe salvage %s -o FILE` makes the recording" % scratch
        raise
    if outcome.descendants_left:
        warnings.append(
            "processes that outlive the command were still running %g s after it ended: the recording stops there "
            "(--wait-descendants)" % options.wait_descendants_s
        )
        session.leave_to_janitor(outcome.tracer_pid, scratch)
    else:
        scratch_dir.remove(scratch)
    return Recorded(path, outcome, warnings)


def check_command(command: "list[str]", environment: "dict[str, str]") -> "list[str]":
    """Look the command up before anything is started.

    Returns:
        Warnings: a command that loses its privileges when it is traced.

    Raises:
        FsprobeError: not found (127), not executable (126).
    """
    path, reason = host.find_program(command[0], environment)
    if path is None:
        raise FsprobeError("%s: command not found" % command[0], "check the name and PATH", EXIT_NOT_FOUND)
    if reason:
        raise FsprobeError("%s: %s" % (path, reason), "check its permissions", EXIT_NOT_EXECUTABLE)
    gain = host.privilege_of(path) if os.getuid() else ""
    if not gain:
        return []
    return [
        "%s is %s and loses that when it is traced: it may fail or behave differently. Run fsprobe inside instead, as in "
        "`apptainer exec IMAGE fsprobe run -- ...`"
        % (path, "a program with file capabilities" if gain[0] == "f" else gain)
    ]


def install_hook(scratch: "str", mode: "str", environment: "dict[str, str]") -> "None":
    """Put the hook into the scratch directory and its directory first on PYTHONPATH."""
    place = os.path.join(scratch, scratch_dir.HOOK)
    with open(HOOK_FILE, encoding="utf-8") as source:
        lines = source.read().split("\n")
    filled = {
        "MARKS = ": os.path.join(scratch, scratch_dir.MARKS),
        "MODE = ": mode,
        "NAMES = ": tuple(host.TARGET_VARIABLES),
    }
    for i, line in enumerate(lines):
        for start in filled:
            if line.startswith(start):
                lines[i] = start + ascii(filled[start])
    with open(os.path.join(place, "sitecustomize.py"), "w", encoding="utf-8") as target:
        target.write("\n".join(lines))
    # never a colon after it when there is nothing to follow: an empty entry would add the working directory
    old = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = place + ":" + old if old else place


def first_facts(
    options: "RunOptions",
    tracer: "backends.Tracer",
    environment: "dict[str, str]",
    layout: "dict[str, Any] | None",
    scratch: "str",
) -> "dict[str, Any]":
    """What is known before the run; written down at once, so that a run whose fsprobe is killed can be salvaged."""
    facts = host.facts(environment)
    facts.update(
        fsprobe_version=fsprobe.__version__,
        command=options.command,
        label=options.label,
        cwd=_cwd(),
        backend=tracer.backend,
        backend_version=tracer.version,
        markers=tracer.markers,
        started_s=time.time(),
        cache="unknown",
        layout=layout,
        exit_code=None,
        fsprobe_pid=os.getpid(),
        scratch=scratch,
    )
    return facts


def _cwd() -> "str":
    try:
        return os.getcwd()
    except OSError:
        return ""


def last_facts(outcome: "session.Outcome") -> "dict[str, Any]":
    """What is known after it."""
    return {
        "exit_code": outcome.exit_status if outcome.exit_status >= 0 else 128 - outcome.exit_status,
        "signal": -outcome.exit_status if outcome.exit_status < 0 else None,
        "started_s": outcome.started_s,
        "wall_s": round(outcome.wall_s, 6),
        "user_s": outcome.user_s,
        "sys_s": outcome.sys_s,
        "tracer_user_s": outcome.tracer_user_s,
        "tracer_sys_s": outcome.tracer_sys_s,
        "majflt": outcome.majflt,
        "read_bytes": outcome.read_bytes,
        "log_truncated": outcome.log_truncated,
        "descendants_left": outcome.descendants_left,
    }


def write_state(scratch: "str", state: "dict[str, Any]") -> "None":
    """Write the facts into the scratch directory; that it fails is no reason to stop a run."""
    try:
        path = os.path.join(scratch, scratch_dir.STATE)
        with open(path + ".new", "w", encoding="ascii") as target:
            json.dump(state, target)
        os.replace(path + ".new", path)
    except OSError:
        pass


def default_name(command: "list[str]", state: "dict[str, Any]") -> "str":
    """A name for the recording in the working directory: command, host, time and pid, so that ranks never collide."""
    words = [os.path.basename(word) for word in command[:1]]
    words += [os.path.basename(word) for word in command[1:] if word.endswith(".py")][:1]
    stem = "-".join([*words, state["host"].split(".")[0], time.strftime("%Y%m%d-%H%M%S"), str(os.getpid())])
    return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in stem) + ".fsprobe"


def write_recording(scratch: "str", state: "dict[str, Any]", path: "str", warnings: "list[str]") -> "None":
    """Make the recording from what lies in the scratch directory.

    Raises:
        FsprobeError: it can't be written; the scratch is as it was.
    """
    log = os.path.join(scratch, scratch_dir.LOG)
    state["privileged"] = privileged_execs(log) if state.get("uid") else []
    for program, gain in state["privileged"]:
        warnings.append(
            "%s (%s) was started and lost that by being traced; run fsprobe inside the container instead"
            % (program, gain)
        )
    recording.write(
        path,
        "recording",
        [
            ("manifest", json.dumps(state, indent=1, sort_keys=True).encode("ascii")),
            ("log", _log_blocks(scratch)),
            ("marks", _marks_blocks(os.path.join(scratch, scratch_dir.MARKS))),
            ("mounts", mounts.read_own()),
            ("lookups", json.dumps(lookups.collect(log)).encode("ascii")),
        ],
    )


def privileged_execs(log: "str") -> "list[list[str]]":
    """Programs that were started in the run and have setuid, setgid or file capabilities: [path, what it has]."""
    paths = {}  # type: dict[bytes, None]
    try:
        with open(log, "rb") as source:
            for line in source:
                if b" execve(" in line and b" = 0" in line and len(paths) < N_EXECS_LOOKED_AT:
                    paths[line.split(b'"', 2)[1]] = None
    except (OSError, IndexError):
        pass
    gains = [(os.fsdecode(path), host.privilege_of(os.fsdecode(path))) for path in paths]
    return [[path, gain] for path, gain in gains if gain]


def _log_blocks(scratch: "str") -> "Iterator[bytes]":
    kept = os.path.join(scratch, scratch_dir.KEPT_LOG)
    if os.path.exists(kept):
        unpack = zlib.decompressobj()
        last = b""
        for block in recording.read_file(kept):
            raw = unpack.decompress(block)
            cut = raw.rfind(b"\n") + 1
            yield last + raw[:cut]
            last = raw[cut:]
        return
    for block in recording.read_file(os.path.join(scratch, scratch_dir.LOG)):
        yield block


def _marks_blocks(directory: "str") -> "Iterator[bytes]":
    """Each file of the hooks, led by a line `@name size`."""
    for name in sorted(os.listdir(directory)):
        try:
            with open(os.path.join(directory, name), "rb") as source:
                data = source.read()
        except OSError:
            continue
        yield b"@%s %d\n" % (os.fsencode(name), len(data))
        yield data


def salvage(scratch: "str", output: "str") -> "tuple[str, bool]":
    """Make a recording from the scratch directory of a run whose fsprobe was killed.

    Returns:
        The recording's path, and whether the run still goes on (the scratch is then left alone).

    Raises:
        BadInput: not a scratch directory of fsprobe, or nothing in it yet.
    """
    try:
        with open(os.path.join(scratch, scratch_dir.STATE), encoding="ascii") as source:
            state = json.load(source)
    except (OSError, ValueError):
        raise BadInput(
            "%s is no scratch directory of fsprobe" % scratch,
            "they are named %s... in /dev/shm, $TMPDIR or /tmp" % scratch_dir.PREFIX,
        )
    log = os.path.join(scratch, scratch_dir.LOG)
    if not os.path.exists(log):
        raise BadInput("%s holds no log" % scratch, "the run was stopped before its command started")
    pid = session.first_pid(log)
    running = bool(pid) and os.path.exists("/proc/%d" % pid) and _is_traced_into(pid)
    state["salvaged"] = True
    if state.get("exit_code") is None and not running:
        status = session.exit_status_in_log(log, pid)
        state["exit_code"] = status if status >= 0 else 128 - status
    path = output or default_name(state["command"], state)
    write_recording(scratch, state, path, [])
    if not running:
        scratch_dir.remove(scratch)
    return path, running


def _is_traced_into(pid: "int") -> "bool":
    # a process id may have been taken by somebody else meanwhile: ours still has its tracer
    try:
        with open("/proc/%d/status" % pid, "rb") as source:
            for line in source:
                if line.startswith(b"TracerPid:"):
                    return int(line.split()[1]) != 0
    except (OSError, ValueError):
        pass
    return False
