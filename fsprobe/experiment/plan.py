"""What is compared, and what came of it: the values of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsprobe import pipeline
from fsprobe.layouts.plain import Layout
from fsprobe.model.requests import RequestCounts

BASELINE = "plain"
CACHES = ("cold", "warm")

LAYOUT_HINT = "add --flash DIR, --layout LABEL=DIR, --squashfs or --overlay"

STARTING_S = 0.5
"""What a start may take beside the command: a mount namespace, a mount. 0.08 to 1 s were seen, by the machine; for estimates alone."""

Probe = Callable[[], Mapping[str, int]]
"""Reads a file server's counters; they may only grow."""
Progress = Callable[[str, int, int], None]
"""(what is being done, done, of all)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A layout that is a SquashFS image."""

    label: str
    kind: str
    """squashfs | overlay"""
    image: Path | None = None
    """one that is there already; None: one that is packed for all layouts that name none"""
    way: str = ""
    """the only way to mount it (see `layouts.mount.methods`); the first that works when empty"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to compare."""

    env: Path
    command: list[str]
    copies: Mapping[str, Path] = field(default_factory=dict)
    """label -> directory below which a copy is made"""
    existing: Mapping[str, Path] = field(default_factory=dict)
    """label -> a copy that is there already"""
    images: tuple[Image, ...] = ()
    image_dir: Path | None = None
    """where a new image goes; the environment's parent directory when None"""
    n_runs: int = 7
    caches: tuple[str, ...] = ("warm",)
    make_cold: str = ""
    keep: bool = False
    spares_env: bool = False
    """no run writes byte code, so that the environment stays as it is"""
    check_byte_code: bool = True
    """compare the .pyc files of all sides; looks at every name of the environment"""
    output_dir: Path | None = None
    """where the command's output goes; None lets it through"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a comparison will do, before it does it."""

    layouts: tuple[str, ...]
    n_runs: int
    """timed runs of each layout and cache state"""
    caches: tuple[str, ...]
    n_starts: int
    """how often the command starts: a first time, traced in each layout, timed; a warm run right after another one"""
    needs: tuple[tuple[str, Path, int], ...]
    """what is made: (copy or image, the directory where it goes, bytes at most)"""
    keeps: bool
    """what is made stays"""
    run_s: float | None = None
    """how long the first run took; None before it"""

    @property
    def estimate_s(self) -> tuple[float, float]:
        """How long all starts take: as the first run, and with all that a start may take besides. 0 where no run was timed yet."""
        if self.run_s is None:
            return 0.0, 0.0
        return self.n_starts * self.run_s, self.n_starts * (self.run_s + STARTING_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One untraced run."""

    layout: str
    cache: str
    wall_s: float
    user_s: float
    sys_s: float
    beside_s: float | None
    """CPU of the processes that serve the layout's mount, during the run; 0.0 where there are none."""
    majflt: int
    exit_status: int
    server: Mapping[str, int] | None
    """what the file server counted: for a cold run since before the layout was mounted, else during the run; None where
    nobody could be asked"""


@dataclass(slots=True)
class Side:
    """One layout while it is there."""

    layout: Layout
    in_place: str = ""
    """why it runs from where it lies, and not at the environment's own path; "" when it does not"""
    analysis: pipeline.Analysis | None = None
    recording: Path | None = None
    mounting: RequestCounts | None = None
    """requests for the image file when it is mounted; None for layouts that are no image, or where it was not observed"""
    without_pyc: frozenset[bytes] = frozenset()
    """sources, relative to the environment, that have a valid .pyc on the baseline only"""
    with_pyc: frozenset[bytes] = frozenset()
    """... and on this side only"""


@dataclass(slots=True)
class State:
    """An experiment so far."""

    sides: list[Side] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    new_image: Path | None = None
    """the image that was packed for this comparison"""
    caches: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    interrupted: str = ""
    """the signal that ended it early"""
    counted_by: str = ""
    """the filesystem's client in the kernel, where `Run.server` has its counters; "" where they are a server's own"""
    counted_mount: str = ""
    """the mount whose client that is"""
    counted_device: tuple[str, bytes] | None = None
    """type and device of that mount"""
