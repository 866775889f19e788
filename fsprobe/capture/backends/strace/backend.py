"""The strace backend: strace writes the log, beside the command.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

from fsprobe.capabilities import MARKED_BY_CALLS
from fsprobe.capture.backends.protocol import LIMITED, NO, OK, AttachingBackend
from fsprobe.capture.backends.strace import installed
from fsprobe.capture.backends.tracing import Tracer
from fsprobe.capture.machine import host, starters
from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fsprobe.capture.backends.protocol import Machine, Run
    from fsprobe.capture.machine.running import Target
    from fsprobe.capture.process.start import Launch, Process

GET = "load a module that has strace, or install it (e.g. `conda install -c conda-forge strace`)"
JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
SIGNALS_OF_JOBS = "this is a batch job: a signal to all processes of a step, such as SIGUSR1, would end strace"
"""A program under --seccomp-bpf whose strace is gone gets ENOSYS from every traced call; `scancel --signal` does that."""


class Strace(Tracer, AttachingBackend):
    """strace, of the machine's own."""

    name = "strace"
    takes_privileges_of_root = True  # --seccomp-bpf sets no_new_privs, whoever asks for it
    remedy = GET

    program = ""
    number: "tuple[int, int] | None" = None

    def why_not(self, machine: "Machine") -> "str":
        """Say why there is no usable strace, or why it may not trace ("" when it can)."""
        return self._why_missing(machine) or installed.denied(self.program)

    def _why_missing(self, machine: "Machine") -> "str":
        program = installed.find(machine.environment)
        if program is None:
            return "there is no strace on PATH"
        self.number = installed.version(program)
        if self.number is None:
            return "%s does not run" % program
        if self.number < installed.MIN_VERSION:
            return "%s is version %d.%d, fsprobe needs %d.%d" % ((program,) + self.number + installed.MIN_VERSION)
        self.program = program
        self.version = "%d.%d" % self.number
        if not installed.has_relative_ns(self.number):
            self.ways_to_mark = tuple(way for way in self.ways_to_mark if way in installed.WAYS_WITHOUT_NS)
        return ""

    def why_rather_not(self, machine: "Machine") -> "str":
        """It waits for a FUSE server that it traces; in a batch job a signal to the whole step ends it."""
        server = starters.mentioned(machine.command, machine.environment)
        if server:
            return "%s serves files to the command or starts what does: strace could wait for it for ever" % server
        return SIGNALS_OF_JOBS if any(machine.environment.get(name) for name in JOB_VARIABLES) else ""

    def check(self, machine: "Machine") -> "tuple[str, str, str] | None":
        """Which strace there is, and what its version lacks."""
        why = self.why_not(machine)
        if why or self.number is None:
            return NO, why, GET
        lacks = []
        if self.number < installed.SECCOMP_VERSION:
            lacks.append(
                "--seccomp-bpf (%d.%d): calls that are not traced stop the program too" % installed.SECCOMP_VERSION
            )
        if not installed.has_relative_ns(self.number):
            lacks.append("ns stamps (%d.%d): imports are marked by visible calls" % installed.RELATIVE_NS_VERSION)
        found = "%s, version %s" % (self.program, self.version)
        return (LIMITED, found + "; lacks " + "; ".join(lacks), GET) if lacks else (OK, found, "")

    def why_not_marked(self, way: "str") -> "FsprobeError":
        """An older strace has no stamps to merge marks by."""
        return FsprobeError(
            "strace %s prints no ns stamps, which time markers need" % self.version,
            "use --import-timing=%s" % MARKED_BY_CALLS,
        )

    def prepare(self, run: "Run", launch: "Launch") -> "Launch":
        """strace's command line around the command's, with the shield between them."""
        made = super().prepare(run, launch)
        cover = None
        program = launch.program or host.find_program(launch.words[0], launch.environment)[0]
        if program is not None and not run.is_entered:
            from fsprobe.capture.backends.strace import shield

            cover = shield.make(self.place, program, launch.words, run.mask)
        if cover is not None:
            self.shield = cover.path
            made.dress = cover.put_on
            made.kept += cover.kept
        made.words = installed.command_line(
            self.program,
            self.number,
            self.log(),
            launch.words if cover is None else cover.command,
            launch.target_variables,
        )
        return made

    # -- a program that runs already -----------------------------------------------------------------------------------

    def why_not_attach(self, machine: "Machine") -> "str":
        """Only whether there is one: what the kernel allows differs by program, and strace says it."""
        why = self._why_missing(machine)
        return "attaching needs strace, and %s" % why if why else ""

    def attach(self, run: "Run", target: "Target") -> "Launch":
        """strace's command line for all threads of a process; see `attaching`."""
        from fsprobe.capture.backends.strace import attaching

        self.begin(run)
        words = installed.attach_line(self.program, self.number, self.log(), target.pid)
        return attaching.launch(words, self.place, run.environment)

    def is_attached(self, process: "Process", target: "Target") -> "bool":
        """Whether strace is the tracer of every thread."""
        from fsprobe.capture.backends.strace import attaching

        return attaching.is_attached(process.pid, target)

    def why_not_attached(self, target: "Target") -> "FsprobeError":
        """Of what strace said, and of what the kernel allows."""
        from fsprobe.capture.backends.strace import attaching

        return attaching.refusal(target, self.place)

    def let_go(self, process: "Process") -> "bool":
        """Have strace detach."""
        from fsprobe.capture.backends.strace import attaching

        return attaching.let_go(process.pid)
