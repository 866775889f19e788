"""What is looked up in a log when the recording is written."""

from __future__ import annotations

from fsprobe.capture.sections import programs_of

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
        assert programs_of(blocks) == [b"/bin/sh", b"/usr/bin/gdb"]
