"""What this machine allows: facts for `fsprobe doctor`. Each check stands alone; one that fails says so.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import sys

from fsprobe.capture import backends
from fsprobe.capture.backends.protocol import LIMITED, NO, OK, Machine
from fsprobe.capture.directories import hook_place
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import host, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MORE_PLACES = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Where helpers of mounting are looked for besides PATH, as `fsprobe exec` and `compare` do."""
CONTAINER_STARTERS = ("apptainer", "singularity", "singularity-ce")
STARTER_PLACES = (("libexec",), ("lib",), ("lib", "x86_64-linux-gnu"), ("lib", "aarch64-linux-gnu"))
CLONE_NEWUSER = 0x10000000
FUSE_TOOLS = (("squashfuse_ll", "squashfuse"), ("fusermount3", "fusermount"), ("bwrap",))
GET_FUSE = "load modules that have them, or ask the site for squashfuse, fuse3 and bubblewrap"
PYTHONS = ["python3." + str(minor) for minor in range(6, 16)]


def row(check: "str", status: "str", found: "str", hint: "str" = "") -> "dict[str, Any]":
    """One line of the answer: what was looked at, ok | limited | no, what was found, and what gets what is missing."""
    return {"check": check, "status": status, "found": found, "hint": hint}


def examine(environment: "Mapping[str, str]") -> "list[dict[str, Any]]":
    """All checks, in the order in which they matter to a user."""
    checks = [(name, check_backend(name)) for name in backends.TABLE] + [
        ("scratch", check_scratch),
        ("hook", check_hook),
        ("network filesystems", check_network),
        ("user namespaces", check_user_namespaces),
        ("fuse", check_fuse),
        ("containers", check_containers),
        ("batch system", check_batch),
        ("interpreters", check_interpreters),
    ]  # type: list[tuple[str, Callable[[Mapping[str, str]], dict[str, Any] | None]]]
    found = [isolated(name, check, environment) for name, check in checks]
    return [one for one in found if one is not None]


def isolated(
    name: "str", check: "Callable[[Mapping[str, str]], dict[str, Any] | None]", environment: "Mapping[str, str]"
) -> "dict[str, Any] | None":
    """Run one check; whatever goes wrong in it becomes its own line."""
    try:
        return check(environment)
    except Exception as error:
        return row(name, NO, "the check itself failed: %s: %s" % (type(error).__name__, error), "please report this")


def check_backend(name: "str") -> "Callable[[Mapping[str, str]], dict[str, Any] | None]":
    """The check of a backend, which knows itself; it gives None where there is nothing to say."""

    def check(environment: "Mapping[str, str]") -> "dict[str, Any] | None":
        found = backends.named(name).check(Machine(environment))
        return None if found is None else row(name, *found)

    return check


def check_scratch(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Where the log goes, and how much room there is."""
    rows = mounts.parse_mountinfo(mounts.read_own())
    reasons = []
    for place in scratch_dir.candidates(environment):
        why = scratch_dir.why_not(place, rows)
        if not why:
            found = "%s, %.1f GiB free" % (place, scratch_dir.free_bytes(os.path.realpath(place)) / float(1 << 30))
            return row("scratch", OK, found)
        reasons.append("%s %s" % (place, why))
    return row("scratch", NO, "; ".join(reasons), "name a node-local directory with --tmp-dir")


def check_hook(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Where the hook goes that marks imports: a directory that only the user can make, now and after a run."""
    place, why = hook_place.first_place(environment)
    if place:
        return row("hook", OK, place)
    return row("hook", LIMITED, "imports are estimated: " + why, "name a directory of your own with XDG_CACHE_HOME")


def check_network(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Filesystems of the kind that is worth looking at."""
    found = []
    for path, fstype, _, _ in mounts.parse_mountinfo(mounts.read_own()):
        if mounts.classify(fstype) == "network":
            found.append("%s (%s)" % (path.decode("utf-8", "backslashreplace"), fstype))
    shown = ", ".join(found[:6]) + (" and %d more" % (len(found) - 6) if len(found) > 6 else "")
    return row("network filesystems", OK, shown or "none in sight")


def check_user_namespaces(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Whether a program may make a user namespace; a child of ours tries it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = 0 if libc.unshare(CLONE_NEWUSER) == 0 else min(ctypes.get_errno(), 254)
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 255
    if code == 0:
        return row("user namespaces", OK, "allowed")
    reason = os.strerror(code) if code < 255 else "the attempt ended badly"
    return row(
        "user namespaces", NO, "not allowed: %s" % reason, "images need another way: root, or a container runtime"
    )


def check_fuse(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Whether /dev/fuse can be opened, and which programs there are that mount images with it."""
    found, missing = [], []
    for names in FUSE_TOOLS:
        tried = [host.find_program(name, where) for name in names for where in (environment, {"PATH": MORE_PLACES})]
        paths = [path for path, why in tried if path and not why]
        if paths:
            gain = host.privilege_of(paths[0])
            found.append(os.path.basename(paths[0]) + (" (%s)" % gain if gain else ""))
        else:
            missing.append(names[0])
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
        device = "/dev/fuse can be opened"
    except OSError as error:
        device = "/dev/fuse cannot be opened (%s)" % error.strerror
    shown = (
        device + ("; " + ", ".join(found) if found else "") + ("; not there: " + ", ".join(missing) if missing else "")
    )
    if "cannot" in device:
        return row("fuse", NO, shown, "ask the site for /dev/fuse with mode 0666, or use a container runtime")
    return row("fuse", LIMITED if missing else OK, shown, GET_FUSE if missing else "")


def check_containers(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Container runtimes, and whether their starter is setuid (which tracing from outside breaks)."""
    found, hint = [], ""
    inside = environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER")
    if inside:
        found.append("this is one (%s)" % os.path.basename(inside))
    seen = []
    for name in CONTAINER_STARTERS:
        path, why = host.find_program(name, environment)
        if path is None or why or os.path.realpath(path) in seen:
            continue
        # apptainer's packages have `singularity` as a link to it: one program, whose starter lies below its real name
        real = os.path.realpath(path)
        seen.append(real)
        prefix, real_name = os.path.dirname(os.path.dirname(real)), os.path.basename(real).split("-")[0]
        starters = [os.path.join(prefix, *words + (real_name, "bin", "starter-suid")) for words in STARTER_PLACES]
        if any(host.privilege_of(starter) for starter in starters):
            found.append("%s with a setuid starter" % name)
            hint = "run fsprobe inside: %s exec IMAGE fsprobe run -- ..." % name
        else:
            found.append("%s without a setuid starter" % name)
    return row("containers", OK, ", ".join(found) or "no apptainer or singularity on PATH", hint)


def check_batch(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """The batch system, by its variables and its commands."""
    if environment.get("SLURM_JOB_ID"):
        return row("batch system", OK, "in Slurm job %s" % environment["SLURM_JOB_ID"])
    path, _ = host.find_program("srun", environment)
    return row("batch system", OK, "Slurm's srun is on PATH; this is no job" if path else "none in sight")


def check_interpreters(environment: "Mapping[str, str]") -> "dict[str, Any]":
    """Interpreters on PATH that a target may run on."""
    found = [name for name in PYTHONS if host.find_program(name, environment)[0]]
    return row(
        "interpreters",
        OK,
        "fsprobe on %d.%d.%d" % sys.version_info[:3] + ("; on PATH: " + ", ".join(found) if found else ""),
    )
