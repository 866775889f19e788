"""What a backend is: how one way of observing a run is chosen, started, watched, and put into the recording.

The way of a run through it, each step once: `why_not` (can it work here), `prepare` (what is started, and with what),
`watch` at each tick, `finish` when the waiting is over, `sections` for the recording. Two backends can observe one run: each
has a `place` of its own in the scratch directory, and each changes what the other has prepared.

A backend is a folder beside this module and a line in `backends.TABLE`. Nothing outside of its folder asks for its name:
what a recording can show is in `observes`, what a backend can do in the attributes below.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

from abc import ABC, abstractmethod

from fsprobe.capabilities import UNMARKED
from fsprobe.capture.process.wait import Observer
from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from fsprobe.capture.machine.running import Target
    from fsprobe.capture.process.start import Launch, Process
    from fsprobe.capture.process.wait import Outcome

OK, LIMITED, NO = "ok", "limited", "no"
"""What `check` says of a machine."""


class Machine:
    """What a backend is asked about before a run: this machine, as this process sees it."""

    def __init__(self, environment: "Mapping[str, str]", command: "Iterable[str]" = (), scratch: "str" = "") -> "None":
        self.environment = environment
        self.command = list(command)
        """What shall be run; nothing where that is not known yet."""
        self.scratch = scratch
        """The run's directory, where something can be tried out; "" where there is no run yet."""


class Run:
    """What a backend is told of the run that it observes."""

    scratch = ""
    is_entered = False
    """Whether what is started enters a layout first, and only then starts what the backend prepared."""
    is_streamed = False
    max_log_bytes = 0
    mask: "Iterable[int]" = frozenset()
    """Signals that are blocked when the command starts."""

    def __init__(self, command: "list[str]", environment: "Mapping[str, str]") -> "None":
        self.command = command
        self.environment = dict(environment)


class Backend(Observer):
    """The protocol, with what holds for a backend that does not say otherwise."""

    name = ""
    observes: "frozenset[str]" = frozenset()
    """What its recordings can show: see `fsprobe.capabilities`."""
    ways_to_mark: "tuple[str, ...]" = (UNMARKED,)
    """How imports can be marked, the best one first."""
    can_stream = False
    takes_privileges = False
    """Whether a program with raised privileges runs without them where it observes."""
    takes_privileges_of_root = False
    """Whether that holds where root starts it: then a setuid program goes on as root, and not as its owner."""
    by_name_alone = False
    """Whether `auto` leaves it out: only who asks for it gets it."""
    remedy = ""
    """What a user can do where it does not work."""
    data_files: "tuple[str, ...]" = ()
    """What it reads at run time beside its modules, as paths below `fsprobe/capture`: the recorder that travels takes them."""

    why = ""
    """What kept `auto` from a better one; "" where nothing did, or where the user named it."""
    version = ""
    markers = UNMARKED
    """How imports are marked in this run."""
    scratch = ""
    """The run's scratch directory, in which hooks leave their marks."""
    place = ""
    """Where it keeps its files in this run: the scratch directory itself or one in it."""
    n_packed_bytes = 0
    """How much of its log was compressed while the command ran."""
    truncated = ""
    """Why what it observed is not complete; "" where it is."""

    # -- before the run -----------------------------------------------------------------------------------------------

    def why_not(self, machine: "Machine") -> "str":
        """Say why it can't work here ("" when it can). Everybody asks this: the choice, `doctor`, errors."""
        return ""

    def why_rather_not(self, machine: "Machine") -> "str":
        """Say why another one is better here, although this one works."""
        return ""

    def why_harmful(self, machine: "Machine") -> "str":
        """Say what the command could not do when it is observed so; `auto` takes another one then."""
        return ""

    def check(self, machine: "Machine") -> "tuple[str, str, str] | None":
        """For `fsprobe doctor`: `OK`, `LIMITED` or `NO`, what was found, and a remedy; None for nothing to say."""
        return None

    def why_not_marked(self, way: "str") -> "FsprobeError":
        """The error of a way to mark imports that is none of `ways_to_mark`."""
        return FsprobeError("the backend %s can't mark imports so" % self.name, "leave the option away")

    def hook_code(self) -> "str":
        """What the hook in each interpreter executes besides marking imports."""
        return ""

    def settle(self, scratch: "str", place: "str") -> "None":
        """Take the directories of a run."""
        self.scratch = scratch
        self.place = place

    def log(self) -> "str":
        """A file that grows with the calls, a line each, for the live line."""
        return ""

    def prepare(self, run: "Run", launch: "Launch") -> "Launch":
        """Give what is to be started in place of `launch`, which is the command or what another backend made of it.

        Files are written in `place`; what the child needs is in the launch.

        Raises:
            OSError: the files can't be written.
            FsprobeError: it won't do.
        """
        return launch

    def facts(self) -> "dict[str, Any]":
        """What the manifest shall hold so that `resume` finds its way."""
        return {}

    # -- while it runs, and when the waiting is over: besides what `Observer` has ---------------------------------------

    def follow(self, run: "Run", consume: "Callable[..., Any]") -> "None":
        """Stream: hand each line to `consume` as it comes, and keep what it returns in place of a log.

        Raises:
            FsprobeError: this filesystem can't do without a log.
        """
        raise FsprobeError("--stream needs a tracer, not the backend %s" % self.name, "leave --stream away")

    def streamed(self) -> "Any":
        """What `consume` returned; None where nothing was streamed."""
        return None

    def flush(self, write: "Callable[[Any], None]") -> "None":
        """Call `write` as soon as what there is can be written while the run goes on; with what was streamed so far."""

    def finish(self, process: "Process", outcome: "Outcome") -> "None":
        """Complete what was observed, and what of `outcome` only the backend knows.

        Raises:
            FsprobeError: it can't be read.
        """

    def raise_if_not_run(self, run: "Run", outcome: "Outcome") -> "None":
        """Tell a command that was never started from one that failed.

        Raises:
            FsprobeError: tracing is denied (125), or the command's execve failed (126 or 127).
        """

    def warnings(self, outcome: "Outcome") -> "list[str]":
        """What the user should know of how it went."""
        return []

    def leave(self) -> "bool":
        """The run is over and some of it goes on: stop observing. True where that takes its time: see `empty`."""
        return False

    def empty(self) -> "None":
        """Throw away what came since: called each second until nobody is left who writes it."""

    def abandon(self) -> "None":
        """The run failed: end what the backend itself has going."""

    def close(self) -> "None":
        """All is over: let go of what is still open."""

    # -- what was observed ---------------------------------------------------------------------------------------------

    def sections(self) -> "Iterator[tuple[str, Iterable[bytes]]]":
        """Name and blocks of each of its sections of the recording."""
        return iter(())

    def text(self) -> "Iterator[bytes]":
        """The calls in strace's words, in blocks: whatever is looked up after the run is found in it."""
        return iter(())

    def starts(self) -> "Iterator[bytes]":
        """Those that start a program, and any others."""
        return self.text()

    # -- a run whose fsprobe was killed --------------------------------------------------------------------------------

    def resume(self, facts: "Mapping[str, Any]") -> "None":
        """Take up a run that another fsprobe began: its manifest says `facts`. Not trusted: they come out of a file."""

    def recover(self, scratch: "str") -> "str":
        """Make its sections readable, and give why they are not complete ("" where nothing says so).

        Raises:
            BadInput: there is nothing in `scratch` (its name, for the message), or what there is isn't taken.
        """
        return ""

    def is_going_on(self, scratch: "str") -> "bool":
        """Whether the run is still observed. `scratch`: the directory by its name, which processes may have as an argument."""
        return False

    def status_of_ended(self, is_going_on: "bool") -> "int | None":
        """How the command ended, as `os.waitstatus_to_exitcode`; None where nobody has seen it, or it runs."""
        return None


class AttachingBackend(Backend, ABC):
    """A backend that gets at a program that runs already, too."""

    @abstractmethod
    def why_not_attach(self, machine: "Machine") -> "str":
        """Say why nothing can be attached to here ("" when nothing speaks against it before it is tried)."""

    @abstractmethod
    def attach(self, run: "Run", target: "Target") -> "Launch":
        """Give what is to be started in order to observe a running program."""

    @abstractmethod
    def is_attached(self, process: "Process", target: "Target") -> "bool":
        """Whether all threads of the program are observed by now; those are then in `target`."""

    @abstractmethod
    def why_not_attached(self, target: "Target") -> "FsprobeError":
        """Why it did not get at the program, in words."""

    @abstractmethod
    def let_go(self, process: "Process") -> "bool":
        """Let the program go as it was. False: that takes longer than there is time, and goes on by itself."""
