"""Limits of this process that its child starts with, and that could end a tracer instead of the command.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

CPU_TIME, FILE_SIZE, ADDRESS_SPACE = "cpu time", "file size", "address space"


def own_limits() -> "frozenset[str]":
    """Which of the limits that could end a tracer are set: `CPU_TIME`, `FILE_SIZE`."""
    lines = _lines()
    return frozenset(name for name in (CPU_TIME, FILE_SIZE) if _soft(lines, name) is not None)


def own_limit(name: "str") -> "int | None":
    """The soft limit of two words, as /proc/self/limits has it; None where there is none, or it can't be told.

    Without `import resource`, which looks a dozen names up.
    """
    return _soft(_lines(), name)


def _lines() -> "list[str]":
    try:
        with open("/proc/self/limits", "rb", buffering=0) as source:
            return source.read(8192).decode("ascii", "replace").split("\n")
    except OSError:
        return []


def _soft(lines: "list[str]", name: "str") -> "int | None":
    try:
        for line in lines:
            if line.startswith("Max " + name):
                soft = line.split()[3]
                return None if soft == "unlimited" else int(soft)
    except (ValueError, IndexError):
        pass
    return None


def lift_limits(pid: "int") -> "None":
    """Set the limits of a tracer as high as they may be, once its target has been started with them."""
    import resource

    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        for wanted in (resource.RLIM_INFINITY, None):
            try:
                hard = resource.prlimit(pid, kind)[1] if wanted is None else wanted
                resource.prlimit(pid, kind, (hard, hard))
                break
            except (OSError, ValueError):
                continue
