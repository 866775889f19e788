"""The few calls into the C library that the standard library does not offer."""

from __future__ import annotations

import ctypes
import os

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29

_library = ctypes.CDLL(None, use_errno=True)


def mount(source: bytes, target: bytes, fstype: bytes, flags: int, options: bytes) -> None:
    """mount(2)."""
    if _library.mount(source, target, fstype, ctypes.c_ulong(flags), options):
        _raise_errno(target)


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    if _library.umount2(target, flags):
        _raise_errno(target)


def set_timer_slack_ns(slack_ns: int) -> None:
    """Set how late the calling thread, and those it starts, may be woken from a sleep."""
    _library.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns), 0, 0, 0)


def die_with_parent(signal_number: int) -> None:
    """Ask for this signal when the process that forked this one ends."""
    _library.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0)


def _raise_errno(path: bytes) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)
