"""What a ring says beyond the events that the model knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Reads(NamedTuple):
    """What was read through one open file, by all who shared its descriptor."""

    tid: int
    """Who opened it, and when: that call's import is whose file it is."""
    t_ns: int
    path: bytes
    """Where the open led to; b"" for descriptors that nobody was seen to open: pipes, sockets, inherited ones."""
    n_reads: int
    """read, pread64, readv, preadv, and sendfile, copy_file_range, splice from it; failed ones too."""
    n_bytes: int
    time_ns: int
    n_maps: int
    map_bytes: int
    """What was mapped; how much of it was looked at is not known."""
    map_ns: int
    first_ns: int = 0
    """When the first of its reads began; 0 where that is not known."""
    last_ns: int = 0
    """When the last of them ended."""


class Usage(NamedTuple):
    """What a thread had used when a hook noted something (getrusage RUSAGE_THREAD)."""

    tid: int
    t_ns: int
    cpu_ns: int
    n_major_faults: int
    n_minor_faults: int
    n_voluntary_switches: int


class ObjectSites(NamedTuple):
    """The loader or a library that was rewritten in a process."""

    tid: int
    is_loader: bool
    n_sites: int
    n_left: int
    """Sites of calls of interest that could not be taken: what goes through them is not seen."""
    numbers: frozenset[int]
    """Numbers of the system calls of its sites; 65535 is any."""


class Loss(NamedTuple):
    """A program that was started and not seen."""

    tid: int
    t_ns: int
    path: bytes


@dataclass(slots=True)
class RingFacts:
    """Filled while `read` is consumed."""

    n_slots: int = 0
    n_lost: int = 0
    """Slots that were asked for and are not there."""
    n_damaged: int = 0
    """Slots that no recorder writes."""
    n_cut: int = 0
    """Calls whose texts found no room."""
    reads: list[Reads] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    """One for each mark that has it, in their order."""
    fstats: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Path of an opened file -> st_mode and st_size as the program asked for them through its descriptor."""
    objects: list[ObjectSites] = field(default_factory=list)
    unseen: list[Loss] = field(default_factory=list)
    """Programs that were started and never entered: static, setuid, 32-bit, with a cleared environment, or left alone (exec.c)."""
    not_started: list[Loss] = field(default_factory=list)
    """Programs that the loader ended with 127, and of `unseen` those whose parent was told so: the recorder may be why."""
    by_preload: list[Loss] = field(default_factory=list)
    """Programs that were entered by LD_PRELOAD: their loader's own calls are missing."""
