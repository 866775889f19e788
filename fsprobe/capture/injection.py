"""What is put into the target: the hook, filled in for one run, as the first directory on PYTHONPATH.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

from fsprobe import files
from fsprobe.capabilities import MARKED_IN_RING, MARKED_INSIDE
from fsprobe.capture import shipped
from fsprobe.capture.directories import hook_place
from fsprobe.capture.machine import host

DATA_FILES = ("hook/sitecustomize.py", "hook/imports.py", "hook/room.py")
"""Read as text, as paths below `fsprobe/capture`."""


def install(scratch: "str", mode: "str", environment: "dict[str, str]", code: "str" = "") -> "tuple[str, str]":
    """Put the hook where it can stay and its directory first on PYTHONPATH.

    Args:
        scratch: the run's scratch directory.
        mode: how imports are marked.
        environment: the command's; changed.
        code: what the hook executes besides marking.

    Returns:
        The hook's directory and "", or "" and why there is none.
    """
    digits = hook_place.tail_digits(scratch)
    lines = shipped.read("hook", "sitecustomize.py").split("\n")
    filled = {
        "PLACE = ": scratch[: len(scratch) - len(digits)],
        "N_DIGITS = ": len(digits),
        "MODE = ": mode,
        "NAMES = ": tuple(host.TARGET_VARIABLES),
        "IMPORTS = ": shipped.read("hook", "imports.py"),
        "ROOM = ": shipped.read("hook", "room.py"),
        "AUDIT = ": code,
        "FILTERS = ": n_filters() + (mode not in (MARKED_IN_RING, MARKED_INSIDE)),
    }
    for i, line in enumerate(lines):
        for start in filled:
            if line.startswith(start):
                lines[i] = start + ascii(filled[start])
    place, why_not = hook_place.install("\n".join(lines), scratch, environment)
    if why_not or ":" in place:
        return "", why_not or "its path has a colon, which ends an entry of PYTHONPATH"
    # never a colon after it when there is nothing to follow: an empty entry would add the working directory
    old = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = place + ":" + old if old else place
    return place, ""


def n_filters() -> "int":
    """How many filters the kernel asks before each system call of ours (seccomp): some in most containers. A tracer adds one.

    Linux before 5.9 says only that there are some: then it is 1.
    """
    try:
        text = files.told("/proc/self/status", 1 << 14)
    except OSError:
        return 0
    number = text.partition(b"\nSeccomp_filters:\t")[2].partition(b"\n")[0]
    return int(number) if number.isdigit() else int(b"\nSeccomp:\t2" in text)
