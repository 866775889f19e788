"""Limits of this process that its child starts with, and that could end a tracer instead of the command.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

CPU_TIME, FILE_SIZE = "cpu time", "file size"


def own_limits() -> "frozenset[str]":
    """Which of the limits that could end a tracer are set: `CPU_TIME`, `FILE_SIZE`."""
    try:
        with open("/proc/self/limits", "rb", buffering=0) as source:
            lines = source.read(8192).decode("ascii", "replace").split("\n")
    except OSError:
        return frozenset()
    found = set()
    for name in (CPU_TIME, FILE_SIZE):
        for line in lines:
            if line.startswith("Max " + name) and line.split()[3] != "unlimited":
                found.add(name)
    return frozenset(found)


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
