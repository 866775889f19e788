"""Limits of this process that its child starts with, and that could end a tracer instead of the command.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import resource  # os.wait4 loads it as well

CPU_TIME, FILE_SIZE, ADDRESS_SPACE = resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_AS


def own_limits() -> "frozenset[int]":
    """Which of the limits that could end a tracer are set: `CPU_TIME`, `FILE_SIZE`."""
    return frozenset(kind for kind in (CPU_TIME, FILE_SIZE) if own_limit(kind) is not None)


def own_limit(kind: "int") -> "int | None":
    """The soft limit of a kind; None where there is none."""
    soft = resource.getrlimit(kind)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def lift_limits(pid: "int") -> "None":
    """Set the limits of a tracer as high as they may be, once its target has been started with them."""
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        for wanted in (resource.RLIM_INFINITY, None):
            try:
                hard = resource.prlimit(pid, kind)[1] if wanted is None else wanted
                resource.prlimit(pid, kind, (hard, hard))
                break
            except (OSError, ValueError):
                continue
