"""The ptrace backend: a tracer of our own that writes what strace would.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.capture.backends.protocol import NO, OK
from fsprobe.capture.backends.ptrace import entry
from fsprobe.capture.backends.tracing import COMPLAINTS, Tracer
from fsprobe.capture.directories import own_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fsprobe.capture.backends.protocol import Machine, Run
    from fsprobe.capture.process.start import Launch


CPU = "cpu"
"""File and section of the CPU times."""
MAX_CPU_BYTES = 1 << 28


class Ptrace(Tracer):
    """Our own tracer."""

    name = "ptrace"
    remedy = "use strace (`conda install -c conda-forge strace`, or a module that has it); see `fsprobe doctor`"

    def why_not(self, machine: "Machine") -> "str":
        """Say why it can't run here ("" when it can); a child of ours is traced to see it."""
        return entry.why_not() or ""

    def check(self, machine: "Machine") -> "tuple[str, str, str] | None":
        """Whether a program may be traced at all."""
        scope = _scope()
        why = self.why_not(machine)
        if why:
            hint = "run fsprobe outside of the container or tracer that forbids it, or use --backend audit"
            return NO, why + ("; Yama scope %s" % scope if scope else "; no Yama"), hint
        return OK, "allowed" + (", Yama scope %s" % scope if scope else ", no Yama"), ""

    def prepare(self, run: "Run", launch: "Launch") -> "Launch":
        """The tracer's command line around the command's."""
        made = super().prepare(run, launch)
        made.words = entry.command(
            self.log(),
            launch.words,
            complaints=os.path.join(self.place, COMPLAINTS),
            variables=launch.target_variables,
            mask=run.mask,
            cpu_path="" if run.is_streamed else os.path.join(self.place, CPU),
        )
        made.dress = entry.hold
        return made

    def sections(self) -> "Iterator[tuple[str, Iterable[bytes]]]":
        """The log, and the CPU times of threads where imports were marked."""
        yield from super().sections()
        try:
            with own_files.reader(os.path.join(self.place, CPU), buffering=0) as source:
                times = source.read(MAX_CPU_BYTES)
        except OSError:
            return
        if times:
            yield CPU, [times]


def _scope() -> "str":
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as source:
            return source.read(16).strip()
    except OSError:
        return ""
