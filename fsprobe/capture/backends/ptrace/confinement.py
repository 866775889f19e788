"""A target that confines itself: the hook in it must ask the kernel for nothing from then on, or a filter kills the target.

The hook tells where in its memory some bytes of its own lie; when prctl or seccomp is about to set a filter, the first of them
are changed before the call goes on. A forked process has the same bytes at the same place.

Runs beside the target on Python 3.6 and later: standard library, few imports.

Source: seccomp(2), prctl(2), ptrace(2).
"""

import ctypes

from fsprobe.capture.backends.ptrace import abi, memory

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable

    from fsprobe.capture.backends.ptrace.tracee import Tracee

PRCTL, SECCOMP = 157, 317
CALLS = frozenset([PRCTL, SECCOMP])
MAY_ASK = b"fsprobe!may ask"
"""What lies at the place of a hook that is still there: a program that took its place has something else."""
_CONFINED = b"confined"
_MAX_PARENTS = 64

_places: "dict[int, int]" = {}
"""Process -> where its hook's bytes lie."""


def note_hook(tid: int, text: str) -> None:
    """Read in a hook's own note where its bytes lie: `"fsprobe!ready TOKEN TID NS PLACE USER"`."""
    words = text[text.index('"fsprobe!') + 1 :].partition('"')[0].split()
    if len(words) == 6 and words[4].isdigit() and int(words[4]):
        _places[tid] = int(words[4])


def stop_hook(ptrace: "Callable[..., int]", t: "Tracee") -> bool:
    """Tell the hook in the process of a thread at the entry of prctl or seccomp, where that sets a filter or the strict mode.

    Returns:
        Whether there is a hook, and it was told now.
    """
    is_filter = (
        t.args[0] == abi.PR_SET_SECCOMP if t.call is not None and t.call.number == PRCTL else t.args[0] in (0, 1)
    )
    if not is_filter:
        return False
    pid = t.tid
    for _ in range(_MAX_PARENTS):
        process, parent = _process_of(pid)
        place = _places.get(process)
        if place is not None or not parent:
            break
        pid = parent
    if place is None or memory.read_memory(t.tid, place, len(MAY_ASK)) != MAY_ASK:
        return False
    word = ctypes.c_void_p(int.from_bytes(_CONFINED, "little"))
    return ptrace(abi.PTRACE_POKEDATA, t.tid, ctypes.c_void_p(place), word) >= 0


def _process_of(tid: int) -> "tuple[int, int]":
    """The process of a thread, and that one's parent; zeros where it is gone."""
    found = {"Tgid": 0, "PPid": 0}
    try:
        with open(f"/proc/{tid}/status", errors="replace") as source:
            for line in source:
                name, _, value = line.partition(":")
                if name in found:
                    found[name] = int(value)
    except (OSError, ValueError):
        pass
    return found["Tgid"], found["PPid"]
