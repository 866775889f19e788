"""An import hook's notes come through the ring: by an access call that the kernel never sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fsprobe.model.events import Call, Mark
from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON, SOURCES

MODE = 0x46535021
NOTE = "import posix\ndef note(text): return posix.access(text, 0x46535021, dir_fd=-1)\n"


def test_the_mode_is_that_of_the_c_source() -> None:
    assert re.findall(r"MARK_MODE = (0x\w+)", (SOURCES / "calls.h").read_text()) == [hex(MODE)]


def test_marks_stand_where_they_were_made(library: Path) -> None:
    script = NOTE + (
        "import os, time\n"
        "used = time.thread_time_ns\n"
        "note('fsprobe>outer'); os.stat('/etc/hosts'); before = used(); note('fsprobe>inner.name'); begun = used()\n"
        "while used() < begun + 20_000_000: pass\n"
        "ended = used(); os.stat('/etc/passwd'); note('fsprobe<inner.name'); after = used()\n"
        "time.sleep(0.03); note('fsprobe<outer'); note('fsprobe!ready 1'); note('fsprobe>' + 'x' * 300)\n"
        "print(ended - begun, after - before)\n"
    )
    run = recorded.record(library, [PYTHON, "-c", script])
    marks = [event for event in run.events if isinstance(event, Mark)]
    assert [(one.kind, one.name) for one in marks] == [
        ("begin", b"outer"), ("begin", b"inner.name"), ("end", b"inner.name"), ("end", b"outer"), ("note", b"ready 1"), ("begin", b"x" * 300),
    ]  # fmt: skip
    names = [
        event.name if isinstance(event, Mark) else event.path for event in run.events if isinstance(event, Mark | Call)
    ]
    at = names.index(b"outer")
    assert names[at : at + 5] == [b"outer", b"/etc/hosts", b"inner.name", b"/etc/passwd", b"inner.name"]
    assert not [path for path in run.paths() if re.search(rb"fsprobe[<>!]", path)], "they are no calls"
    usages = run.facts.usages
    assert [one.t_ns for one in usages] == [one.t_ns for one in marks]
    busy = usages[2].cpu_ns - usages[1].cpu_ns
    least, most = (int(word) for word in run.stdout.split())
    assert least - 1000 <= busy <= most + 1000, "what the thread computed, by its own clock (getrusage counts us)"
    slept = usages[3].cpu_ns - usages[2].cpu_ns
    assert slept < 20_000_000 < usages[3].t_ns - usages[2].t_ns
    assert usages[3].n_voluntary_switches > usages[2].n_voluntary_switches


def test_the_kernel_sees_none(library: Path, tmp_path: Path) -> None:
    recorded.need(shutil.which("strace") is not None, "strace shows what the kernel sees")
    log = tmp_path / "log"
    script = NOTE + "note('fsprobe>module')"
    run = recorded.record(
        library, [PYTHON, "-c", script], under=["strace", "-f", "-q", "-e", "trace=%file", "-o", str(log)]
    )
    assert [event.name for event in run.events if isinstance(event, Mark)] == [b"module"]
    assert b"fsprobe>module" not in log.read_bytes()


def test_the_hook_can_tell_whether_they_are_taken(library: Path) -> None:
    script = NOTE + "print(note('fsprobe!there'))"
    assert recorded.record(library, [PYTHON, "-c", script]).stdout == b"True\n"
    assert subprocess.run([PYTHON, "-c", script], capture_output=True, timeout=60).stdout == b"False\n"


def test_what_is_no_mark_goes_to_the_kernel(library: Path) -> None:
    script = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def ask(fd, path, mode):\n"
        "    ctypes.set_errno(0); return libc.faccessat(fd, path, mode, 0), ctypes.get_errno()\n"
        "mode = 0x46535021\n"
        "print(ask(-1, b'fsprobe>x', 0), ask(-100, b'fsprobe>x', mode), ask(-1, b'other', mode), ask(-1, 8, mode), ask(-1, None, mode))\n"
    )
    plain = subprocess.run([PYTHON, "-c", script], capture_output=True, timeout=60)
    run = recorded.record(library, [PYTHON, "-c", script])
    assert (run.stdout, run.stderr) == (plain.stdout, plain.stderr)
    assert not [event for event in run.events if isinstance(event, Mark)]


def test_major_faults_are_counted(library: Path, tmp_path: Path) -> None:
    """Pages that were thrown out of the page cache are read again when they are touched."""
    path = tmp_path / "cold"
    path.write_bytes(os.urandom(8 << 20))
    script = NOTE + (
        "import mmap, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY); os.fsync(fd); os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)\n"
        "area = mmap.mmap(fd, 0, prot=mmap.PROT_READ); area.madvise(mmap.MADV_RANDOM)\n"
        "note('fsprobe>cold')\n"
        "for at in range(0, len(area), 1 << 20): area[at]\n"
        "note('fsprobe<cold')\n"
    )
    run = recorded.record(library, [PYTHON, "-c", script, str(path)])
    first, second = run.facts.usages
    faults = second.n_major_faults - first.n_major_faults
    if faults == 0:
        pytest.skip("this filesystem keeps its pages (tmpfs)")
    assert 1 <= faults <= 64


@pytest.mark.parametrize(
    "python", sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")), ids=lambda path: path.parts[-3]
)
def test_every_interpreter_can_make_them(library: Path, python: Path) -> None:
    run = recorded.record(library, [str(python), "-c", NOTE + "note('fsprobe>module')"])
    assert [event.name for event in run.events if isinstance(event, Mark)] == [b"module"]
    assert len(run.facts.usages) == 1
