"""What is known of a run besides its calls: command, machine, how it ended."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fsprobe.model.requests import Operation, side_by_side


def signal_name(number: int) -> str:
    """How a signal is called: SIGTERM; `signal 40` of one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFacts:
    """A mount of the target."""

    path: str
    fstype: str
    fs_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFacts:
    """The first interpreter of the run, as it described itself, or as the paths that it read tell."""

    version: str | None = None
    implementation: str | None = None
    executable: str | None = None
    prefix: str | None = None
    base_prefix: str | None = None
    path: tuple[str, ...] = ()
    """sys.path at start-up, fsprobe's own entry left out."""
    from_paths: bool = False
    """The interpreter said nothing: the paths tell where its standard library, its pyvenv.cfg and its packages are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutFacts:
    """The storage layout that a run of `compare` or `run --image` was made in."""

    label: str = ""
    kind: str = ""
    where: str = ""
    at: str = ""
    """Where an image was mounted; "" where nobody said."""
    mount_how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountCounters:
    """What a node's client of a mount counted during the run, of all the node's programs; of a job the sum of its nodes'."""

    source: str = ""
    """What was read."""
    operations: Mapping[str, int] = field(default_factory=dict)
    """How often, by the client's own words; what never occurred is left out."""
    before: Mapping[str, int] | None = None
    """What it had counted since the mount when the run began; None where nobody noted it, and for a job."""
    n_nodes: int = 0
    """Of a job: nodes whose client was read; each is in it once, however many of its ranks read it. 0 for a run."""
    why_not: str = ""
    """Why there are none; "" where there are."""

    def beside(self, predicted: Mapping[str, int] | None) -> tuple[Operation, ...]:
        """Each operation beside its prediction; see `side_by_side`."""
        return side_by_side(predicted, {}, self.operations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A run's circumstances. None, or "" for text, where nobody knows."""

    command: tuple[str, ...] | None = None
    label: str = ""
    cwd: str = ""
    backend: str = ""
    backend_version: str = ""
    backend_why: str = ""
    """What kept `auto` from a better backend."""
    capabilities: tuple[str, ...] = ()
    """What the recording can show: words of `fsprobe.capabilities`; empty where nobody knows."""
    markers: str = ""
    """How imports were timed: time, access, both, inside, ring, none."""
    fsprobe_version: str = ""
    fsprobe_python: str = ""
    host: str = ""
    kernel: str = ""
    machine: str = ""
    n_cpus: int | None = None
    uid: int | None = None
    job: Mapping[str, str] = field(default_factory=dict)
    """Variables of the batch system."""
    ranks: str = ""
    """Which ranks `--ranks` selected."""
    lookups_left: bool = False
    """What the trace leaves open the first rank of the node has looked up, for this one too. Of a job: and that one is not among
    its recordings, or ran another program."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the allow-list."""
    environment_observed: bool | None = None
    """Of a log that was loaded: whether it shows the command's variables (`strace -v`); None where fsprobe recorded them."""
    command_cut: bool = False
    """Of a log that was loaded: strace left out a part of the command line (-s)."""
    cache: str = "unknown"
    layout: LayoutFacts | None = None
    started_s: float | None = None
    """Wall clock, seconds since the epoch."""
    wall_s: float | None = None
    user_s: float | None = None
    sys_s: float | None = None
    tracer_user_s: float | None = None
    tracer_sys_s: float | None = None
    majflt: int | None = None
    read_bytes: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    log_truncated: str = ""
    log_compressed_bytes: int = 0
    """So much of the log was compressed while the command ran: its place was memory that a job is charged for, or nearly full."""
    no_hook: str = ""
    """Why no hook was put into the target; "" where one was."""
    hook_fstype: str = ""
    """The network filesystem that the hook lay on; "" where it lay on none."""
    counters: Mapping[str, MountCounters] = field(default_factory=dict)
    """Mount point -> what the node's client of NFS or Lustre counted meanwhile (`run --counters`)."""
    descendants_left: bool = False
    flushed: bool = False
    """Written when the command was asked to end, and never again: what came after is missing."""
    salvaged: bool = False
    disclosed: bool = False
    """Made for somebody else: arguments, values and names may have been replaced."""
    streamed: bool = False
    attached: Mapping[str, Any] | None = None
    privileged: tuple[tuple[str, ...], ...] = ()
    """(program, what it lost by being traced)."""
    tracers: tuple[str, ...] = ()
    """Programs that trace others, or tried to, by name: in a traced program they can't."""
    logs: tuple[str, ...] = ()
    """Names of the logs that were loaded."""
    python: PythonFacts | None = None
    n_python_processes: int | None = None
    n_python_without_events: int | None = None
    """Where interpreters told of their own calls: those older than sys.addaudithook."""
    mounts: tuple[MountFacts, ...] = ()
    """Pseudo filesystems left out."""
    job_id: str | None = None
    job_name: str | None = None

    @property
    def knows_environment(self) -> bool:
        """Whether a variable that is not in `environment` was not set."""
        return not self.logs if self.environment_observed is None else self.environment_observed

    def lacks(self, capability: str) -> bool:
        """Whether the recording is known not to show something; False where nobody knows what it shows."""
        return bool(self.capabilities) and capability not in self.capabilities

    @property
    def signal_name(self) -> str:
        """The signal that ended the command: SIGTERM; "" where none did."""
        return signal_name(self.signal) if self.signal else ""

    def shows(self, capability: str) -> bool:
        """Whether the recording is known to show something."""
        return capability in self.capabilities
