"""What the recorder writes down of the machine, the job and the command: facts from an allow-list, never a whole environment.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import stat
import sys

from fsprobe.capture.machine import ranks
from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_BATCH_VARIABLES = (
    "SLURM_JOB_ID SLURM_JOB_NAME SLURM_JOB_PARTITION SLURM_JOB_NUM_NODES SLURM_NNODES SLURM_NTASKS SLURM_NTASKS_PER_NODE "
    "SLURM_CPUS_PER_TASK SLURMD_NODENAME SLURM_CLUSTER_NAME SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID PBS_JOBID LSB_JOBID"
).split()
JOB_VARIABLES = sorted({*_BATCH_VARIABLES, *ranks.VARIABLES})
TARGET_VARIABLES = (
    "PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONNOUSERSITE PYTHONUSERBASE PYTHONSAFEPATH "
    "PYTHONOPTIMIZE LD_LIBRARY_PATH LD_PRELOAD VIRTUAL_ENV CONDA_PREFIX MPLCONFIGDIR TRITON_CACHE_DIR NUMBA_CACHE_DIR "
    "XDG_CACHE_HOME TMPDIR OMP_NUM_THREADS APPTAINER_CONTAINER SINGULARITY_CONTAINER APPTAINER_NAME SINGULARITY_NAME"
).split()


def pick(environment: "Mapping[str, str]", names: "Iterable[str]") -> "dict[str, str]":
    """The named variables that are set; no other value is ever recorded."""
    return {name: environment[name] for name in names if name in environment}


def facts(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Kernel, host, processors, user id, this Python, job variables and the named variables of the target."""
    name = os.uname()
    try:
        n_cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        n_cpus = os.cpu_count() or 1
    return {
        "host": name.nodename,
        "kernel": name.release,
        "machine": name.machine,
        "n_cpus": n_cpus,
        "uid": os.getuid(),
        "fsprobe_python": "%d.%d.%d" % sys.version_info[:3],
        "job": pick(environment, JOB_VARIABLES),
        "environment": _of_target(pick(environment, TARGET_VARIABLES)),
    }


def _of_target(variables: "dict[str, str]") -> "dict[str, str]":
    """What the user chose for the command: an activated venv that is fsprobe's own says nothing about it."""
    claimed = variables.get("VIRTUAL_ENV")
    if claimed and sys.prefix != sys.base_prefix and os.path.realpath(claimed) == os.path.realpath(sys.prefix):
        variables = {name: value for name, value in variables.items() if name != "VIRTUAL_ENV"}
    return variables


def find_program(command: "str", environment: "Mapping[str, str]") -> "tuple[str | None, str]":
    """Look a command up as execvp would.

    Returns:
        (path, "") when it can be run, (path, reason) when it is there but can't, (None, reason) when it is not there.
    """
    if "/" in command:
        places = [command]
    else:
        # an empty entry means the working directory
        places = [os.path.join(entry or ".", command) for entry in environment.get("PATH", os.defpath).split(":")]
    denied = None
    for place in places:
        try:
            mode = os.stat(place).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and os.access(place, os.X_OK):
            return place, ""
        denied = denied or (place, "is a directory" if stat.S_ISDIR(mode) else "is not executable")
    if denied is not None and ("/" in command or not denied[1].startswith("is a dir")):
        return denied
    return None, "not found"


def why_not_started(path: "str", head: "bytes" = b"") -> "tuple[str, str, int]":
    """Look at the first bytes of a program, as execve will.

    Args:
        path: the program.
        head: how it begins, where that is known.

    Returns:
        (reason, hint, exit code) when the kernel will refuse it, else ("", "", 0). A file that can't be read is no reason.
    """
    try:
        if not head:
            with open(path, "rb", buffering=0) as source:
                head = source.read(256)
    except OSError:
        return "", "", 0
    if not head.startswith(b"#!"):
        if head.startswith(b"\x7fELF") or _has_other_formats():
            return "", "", 0
        return (
            "is no program (neither ELF nor a #! line)",
            "start it with its interpreter, as in `sh %s`" % path,
            EXIT_NOT_EXECUTABLE,
        )
    words = head[:256].split(b"\n", 1)[0][2:].split()
    if words and not os.path.exists(words[0]):
        interpreter = os.fsdecode(words[0])
        return "its interpreter %s does not exist" % interpreter, "correct its first line", EXIT_NOT_FOUND
    return "", "", 0


def _has_other_formats() -> "bool":
    try:
        return bool(set(os.listdir("/proc/sys/fs/binfmt_misc")) - {"register", "status"})
    except OSError:
        return False


_gains = {}  # type: dict[str, str]  # of the command of a run, from its first look on: see `check_command`


def note_privilege(path: "str", opened: "int") -> "None":
    """Remember what a program gains that is open: it need not be looked at again for that. Nobody asks for root."""
    if os.getuid():
        _gains[path] = privilege_of(opened)


def forget_privileges() -> "None":
    """Another command begins."""
    _gains.clear()


def known_privilege_of(path: "str") -> "str":
    """As `privilege_of`, as far as `check_command` has looked already."""
    return _gains[path] if path in _gains else privilege_of(path)


def privilege_of(path: "str | int") -> "str":
    """What a program gains when it is started ("" for nothing): setuid, setgid or file capabilities. Tracing takes it away.

    Args:
        path: the program, or a descriptor of it.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode) and mode & stat.S_ISUID:
            return "setuid"
        if stat.S_ISREG(mode) and mode & stat.S_ISGID and mode & stat.S_IXGRP:
            return "setgid"
        if "security.capability" in os.listxattr(path):
            return "file capabilities"
    except OSError:
        pass
    return ""


def check_command(
    command: "list[str]", environment: "Mapping[str, str]", known: "tuple[str, bytes]" = ("", b"")
) -> "tuple[str, list[str]]":
    """Look a command up before anything is started.

    Args:
        command: its words.
        environment: where it is looked up.
        known: its path and how it begins, as far as they are known: see `starters.known`.

    Returns:
        Its path, and warnings: a command that loses its privileges when it is traced.

    Raises:
        FsprobeError: not found (127), not executable (126).
    """
    path, reason = (known[0], "") if known[0] else find_program(command[0], environment)
    if path is None:
        hint = "check the name and PATH"
        if " " in command[0] and find_program(command[0].split(" ")[0], environment)[0]:
            hint = "leave the quotes away: the command and its arguments are words of their own"
        elif os.path.isdir(command[0]):
            hint = "it is a directory: name a program in it"
        elif "/" not in command[0] and os.path.isfile(command[0]):
            hint = "it is in this directory, not on PATH: ./%s" % command[0]
        elif command[0] == "python" and find_program("python3", environment)[0]:
            hint = "there is a python3"
        elif command[0] in ("cd", "source", ".", "export", "module", "ulimit", "conda"):
            hint = "it is a word of the shell: do it before, or `fsprobe run -- bash -c '...'`"
        elif command[1:] and command[0].partition("=")[0].isidentifier() and "=" in command[0]:
            hint = "variables go before fsprobe, or by env: `fsprobe run -- env %s ...`" % command[0]
        elif command[0].endswith((".py", ".sh")):
            hint = "there is no such file: check its name and the directory"
        raise FsprobeError("%s: command not found" % command[0], hint, EXIT_NOT_FOUND)
    if reason:
        raise FsprobeError("%s: %s" % (path, reason), "check its permissions", EXIT_NOT_EXECUTABLE)
    reason, hint, code = why_not_started(path, known[1])
    if reason:
        raise FsprobeError("%s: %s" % (path, reason), hint, code)
    if not known[0]:
        _gains.clear()
    gain = known_privilege_of(path) if os.getuid() else ""
    if os.getuid():
        _gains[path] = gain
    if not gain:
        return path, []
    return path, [
        "%s is %s and loses that when it is traced: it may fail or behave differently. Run fsprobe inside instead, as in "
        "`apptainer exec IMAGE fsprobe run -- ...`"
        % (path, "a program with file capabilities" if gain[0] == "f" else gain)
    ]
