"""A target with ways of its own that tracing would get into: it confines itself, or has a child that no tracer shall follow.

Confinement: the hook in it must ask the kernel for nothing from then on, or a filter kills the target. The hook tells where in
its memory some bytes of its own lie; when prctl or seccomp is about to set a filter, the first of them are changed before the
call goes on. A forked process has the same bytes at the same place.

CLONE_UNTRACED: a child that is not traced has our seccomp filter all the same, and each traced call of it would fail with ENOSYS.
So the flag is taken out of the call: it says nothing but who may trace the child, and where nobody does it means nothing. What
held it, a register or the target's own `clone_args`, has it again as soon as the call has returned, in parent and child.

Runs beside the target on Python 3.6 and later: standard library, few imports.

Source: seccomp(2), prctl(2), clone(2), ptrace(2); x86-64 psABI, <sys/user.h>: where a register lies.
"""

import ctypes

from fsprobe.capture.backends.ptrace import abi, memory

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable

    from fsprobe.capture.backends.ptrace.tracee import Tracee

PRCTL, SECCOMP = 157, 317
CLONE, CLONE3 = 56, 435
CLONES = frozenset([CLONE, CLONE3])
UNTRACED = 0x800000
_RDI = 14 * 8
"""Offset of the first argument in `struct user`."""
CALLS = frozenset([PRCTL, SECCOMP])
MAY_ASK = b"fsprobe!may ask"
"""What lies at the place of a hook that is still there: a program that took its place has something else."""
_CONFINED = b"confined"
_MAX_PARENTS = 64

_places: "dict[int, int]" = {}
"""Process -> where its hook's bytes lie."""
taken: "dict[int, tuple[int, int]]" = {}
"""Thread inside a clone without its CLONE_UNTRACED -> the call's number, and its first argument as it is now."""
owed: "list[tuple[int, int]]" = []
"""The same of children that have not stopped yet."""


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


def let_follow(ptrace: "Callable[..., int]", t: "Tracee") -> None:
    """Take CLONE_UNTRACED out of a call that a thread is about to make; where that can't be the child stays alone."""
    if t.call is None:
        return
    first = t.args[0]
    if t.call.number == CLONE and first & UNTRACED:
        if ptrace(abi.PTRACE_POKEUSER, t.tid, ctypes.c_void_p(_RDI), ctypes.c_void_p(first & ~UNTRACED)) >= 0:
            t.args = (first & ~UNTRACED, *t.args[1:])
            _take(t.tid, CLONE, first & ~UNTRACED)
    elif t.call.number == CLONE3:
        flags = int.from_bytes(memory.read_memory(t.tid, first, 8), "little")
        if flags & UNTRACED and _poke(ptrace, t.tid, first, flags & ~UNTRACED):
            _take(t.tid, CLONE3, first)


def _take(tid: int, number: int, value: int) -> None:
    taken[tid] = number, value
    owed.append((number, value))


def give_back(ptrace: "Callable[..., int]", tid: int, has_failed: bool) -> None:
    """The call of a thread has returned: put back what was taken out of it."""
    was = taken.pop(tid, None)
    if was is not None:
        _put_back(ptrace, tid, *was)
        if has_failed and was in owed:
            owed.remove(was)


def give_child(ptrace: "Callable[..., int]", tid: int) -> None:
    """A new thread has stopped for the first time, with the registers of its parent."""
    held = ptrace(abi.PTRACE_PEEKUSER, tid, ctypes.c_void_p(_RDI), 0)
    for was in owed:
        if held == was[1]:
            owed.remove(was)
            _put_back(ptrace, tid, *was)
            return


def _put_back(ptrace: "Callable[..., int]", tid: int, number: int, value: int) -> None:
    if number == CLONE:
        ptrace(abi.PTRACE_POKEUSER, tid, ctypes.c_void_p(_RDI), ctypes.c_void_p(value | UNTRACED))
        return
    flags = int.from_bytes(memory.read_memory(tid, value, 8), "little")
    _poke(ptrace, tid, value, flags | UNTRACED)


def _poke(ptrace: "Callable[..., int]", tid: int, address: int, value: int) -> bool:
    return ptrace(abi.PTRACE_POKEDATA, tid, ctypes.c_void_p(address), ctypes.c_void_p(value)) >= 0


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
