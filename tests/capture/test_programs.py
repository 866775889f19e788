"""What a log says of the programs of a run, and what of them is warned of."""

from __future__ import annotations

import pytest

from fsprobe.capture import programs
from fsprobe.capture.machine import starters
from fsprobe.capture.programs import seen_in
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import ParseQuality

LOG = (
    b'7 1.0 (+ 0.0) execve("/bin/sh", ["sh"], 0x1 /* 3 vars */) = 0 <0.000100>\n'
    b'8 1.0 (+ 0.0) execve("/usr/local/bin/gdb", ["gdb"], 0x1 /* 3 vars */) = -1 ENOENT (No such file or directory) <0.000010>\n'
    b'8 1.0 (+ 0.0) execve("/usr/bin/gdb", ["gdb"], 0x1 /* 3 vars */ <unfinished ...>\n'
    b'9 1.0 (+ 0.0) execve("/opt/none", ["none"], 0x1 /* 3 vars */ <unfinished ...>\n'
    b"8 1.0 (+ 0.0) <... execve resumed>) = 0 <0.000213>\n"
    b"9 1.0 (+ 0.0) <... execve resumed>) = -1 ENOENT (No such file or directory) <0.000213>\n"
)


def test_programs_are_those_whose_start_succeeded_in_one_line_or_in_two() -> None:
    """Wherever a block ends."""
    for size in (len(LOG), 50, 7):
        blocks = [LOG[at : at + size] for at in range(0, len(LOG), size)]
        assert seen_in(blocks).paths == [b"/bin/sh", b"/usr/bin/gdb"]


def test_a_start_without_a_readable_path_hides_no_other() -> None:
    odd = b"6 1.0 (+ 0.0) execve(0x1, NULL, NULL <unfinished ...>\n6 1.0 (+ 0.0) <... execve resumed>) = -1 EFAULT (Bad address) <0.1>\n"
    assert seen_in([odd + LOG]).paths == [b"/bin/sh", b"/usr/bin/gdb"]


TRACING = (
    b'7 1.0 (+ 0.0) execve("/opt/own debugger", ["x"], 0x1 /* 3 vars */) = 0 <0.000100>\n'
    b"7 1.0 (+ 0.0) clone(child_stack=0x7ffe, flags=CLONE_UNTRACED|SIGCHLD) = 8 <0.000100>\n"
    b"7 1.0 (+ 0.0) clone(child_stack=0x7ffe, flags=CLONE_UNTRACED|SIGCHLD) = -1 EAGAIN (Resource temporarily unavailable) <0.000100>\n"
    b"7 1.0 (+ 0.0) clone3({flags=CLONE_VM|CLONE_UNTRACED, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 88) = 9 <0.000100>\n"
    b"7 1.0 (+ 0.0) ptrace(PTRACE_SEIZE, 4, NULL, PTRACE_O_TRACEEXEC) = -1 EPERM (Operation not permitted) <0.000014>\n"
    b"7 1.0 (+ 0.0) ptrace(PTRACE_ATTACH, 5) = -1 ESRCH (No such process) <0.000014>\n"
    b"7 1.0 (+ 0.0) ptrace(PTRACE_TRACEME <unfinished ...>\n"
    b"7 1.0 (+ 0.0) <... ptrace resumed>)        = -1 EPERM (Operation not permitted) <0.000014>\n"
    b"7 1.0 (+ 0.0) ptrace(PTRACE_PEEKDATA, 4, 0x1, [0x2]) = 0 <0.000014>\n"
    b"7 1.0 (+ 0.0) +++ exited with 0 +++\n"
)


def test_who_traces_others_is_told_by_its_calls_too() -> None:
    seen = seen_in([LOG + TRACING])
    assert seen.tracers() == ["gdb", "own debugger"]
    assert seen.n_untraced == 2
    quality = ParseQuality()
    list(parse((LOG + TRACING).splitlines(keepends=True), quality))
    assert (quality.n_refused_traces, quality.n_untraced, quality.n_unparsed) == (2, 2, 0)
    said = programs.warnings([], seen.tracers(), seen.n_untraced)
    assert "gdb and own debugger were started" in said[0]
    assert "2 processes" in said[1]
    assert programs.warnings([], [], 0) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["gdb", "--args", "python3", "x.py"], "gdb"),
        (["/opt/bin/strace", "-f", "true"], "strace"),
        (["env", "A=1", "timeout", "5", "ltrace", "true"], "ltrace"),
        (["srun", "-n", "2", "gdb", "-batch", "prog"], "gdb"),
        (["bash", "-c", "cd /x && rr record python3 x.py"], "rr"),
        (["bash", "-c", "strace -o log python3 x.py"], "strace"),
        (["bash", "-c", "echo rr; for gdb in a b; do true; done # strace x"], ""),
        (["python3", "gdb"], ""),
        (["python3", "-c", "gdb -x"], ""),
        ([], ""),
    ],
)
def test_a_tracer_in_a_command(command: list[str], name: str) -> None:
    assert starters.tracer_in(command, {"PATH": "/usr/bin:/bin"}) == name
    assert bool(programs.warning_before(command, {})) == bool(name)
