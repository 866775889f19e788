"""What is read through an open file is summed in the slot of its open: against what the program knows, and against strace."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from fsprobe.events.ring import Reads
from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON


def of(run: recorded.Run, path: Path | str) -> list[Reads]:
    return [one for one in run.facts.reads if one.path == os.fsencode(path)]


def record_script(library: Path, script: str, *words: str, **kwargs: object) -> recorded.Run:
    run = recorded.record(library, [PYTHON, "-c", script, *words], **kwargs)  # type: ignore[arg-type]
    assert run.returncode == 0, run.stderr
    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(100_000))
    return path


def test_read_pread_readv_and_map(library: Path, data: Path) -> None:
    script = (
        "import mmap, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.read(fd, 1000); os.read(fd, 70); os.pread(fd, 500, 99_900); os.readv(fd, [bytearray(10), bytearray(20)])\n"
        "mmap.mmap(fd, 50_000, prot=mmap.PROT_READ)\n"
        "try: os.pread(fd, 1, -1)\n"
        "except OSError: pass\n"
    )
    (one,) = of(record_script(library, script, str(data)), data)
    assert (one.n_reads, one.n_bytes) == (5, 1000 + 70 + 100 + 30)
    assert (one.n_maps, one.map_bytes) == (1, 50_000)
    assert 0 < one.time_ns < 1_000_000_000


def test_a_million_reads_take_one_slot(library: Path, data: Path) -> None:
    script = "import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY); read = os.pread\nfor i in range(300_000): read(fd, 1, 5)"
    run = record_script(library, script, str(data))
    (one,) = of(run, data)
    assert (one.n_reads, one.n_bytes) == (300_000, 300_000)
    assert run.facts.n_slots < 2000


def test_duplicates_and_children_count_where_it_was_opened(library: Path, data: Path) -> None:
    script = (
        "import fcntl, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "other = os.dup(fd); os.read(other, 100); os.dup2(fd, 99); os.read(99, 100); third = fcntl.fcntl(fd, fcntl.F_DUPFD, 50)\n"
        "os.close(fd); os.read(third, 100)\n"
        "if os.fork() == 0: os.read(other, 100); os._exit(0)\n"
        "os.wait()\n"
    )
    (one,) = of(record_script(library, script, str(data)), data)
    assert (one.n_reads, one.n_bytes) == (4, 400)


def test_a_descriptor_that_is_used_again_is_another_file(library: Path, data: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.write_bytes(b"x" * 1000)
    script = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY); os.read(fd, 11); os.close(fd)\n"
        "again = os.open(sys.argv[2], os.O_RDONLY); assert again == fd; os.read(fd, 22); os.close(fd)\n"
        "ends = os.pipe(); assert fd in ends; os.write(ends[1], b'y' * 33); os.read(ends[0], 33); os.closerange(fd, fd + 2)\n"
        "again = os.open(sys.argv[1], os.O_RDONLY); assert again == fd; os.read(fd, 44)\n"
    )
    run = record_script(library, script, str(data), str(second))
    assert [one.n_bytes for one in of(run, data)] == [11, 44]
    assert [one.n_bytes for one in of(run, second)] == [22]
    assert sum(one.n_bytes for one in of(run, "")) >= 33, "a pipe's reads are the process's own"


def test_a_vforked_child_closes_only_its_own(library: Path, data: Path) -> None:
    script = (
        "import os, subprocess, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY); os.read(fd, 10)\n"
        "subprocess.run(['true'], close_fds=True)\n"
        "actions = [(os.POSIX_SPAWN_CLOSE, fd), (os.POSIX_SPAWN_OPEN, fd, '/etc/hosts', 0, 0)]\n"
        "os.posix_spawn('/bin/true', ['true'], os.environ, file_actions=actions); os.wait()\n"
        "os.read(fd, 10)\n"
    )
    (one,) = of(record_script(library, script, str(data)), data)
    assert (one.n_reads, one.n_bytes) == (2, 20)


def test_threads_add_up(library: Path, data: Path) -> None:
    script = (
        "import os, sys, threading\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "def work():\n"
        "    for i in range(20_000): os.pread(fd, 3, i)\n"
        "threads = [threading.Thread(target=work) for i in range(4)]\n"
        "[one.start() for one in threads]; [one.join() for one in threads]\n"
    )
    (one,) = of(record_script(library, script, str(data)), data)
    assert (one.n_reads, one.n_bytes) == (80_000, 240_000)


def test_all_reads_of_a_run_as_strace_counts_them(library: Path, tmp_path: Path) -> None:
    """In one and the same run; the recorder's own are what it reads of the ring's header and of the process's status, in each process."""
    recorded.need(shutil.which("strace") is not None, "strace counts what is read")
    log = tmp_path / "log"
    strace = [
        "strace",
        "-f",
        "-q",
        "--seccomp-bpf",
        "-y",
        "-e",
        "trace=read,pread64,readv,preadv,preadv2",
        "-o",
        str(log),
    ]
    script = "import json, asyncio, subprocess; subprocess.run(['cat', '/etc/passwd', '/etc/services'], stdout=subprocess.DEVNULL)"
    run = recorded.record(library, [PYTHON, "-c", script], under=strace)
    lines = [
        line for line in log.read_bytes().splitlines() if not re.search(rb"FSPRING1|/proc/\d+/status>| resumed>", line)
    ]
    lines = [line for line in lines if re.search(rb"\b(?:read|pread64|readv|preadv2?)\(\d+", line)]
    sizes = [int(match.group(1)) for line in lines if (match := re.search(rb" = (\d+)$", line)) is not None]
    # the loader's reads of the module itself come before it can see anything
    before = [size for line in lines for size in [832] if os.fsencode(library) in line]
    assert sum(one.n_reads for one in run.facts.reads) == len(lines) - len(before)
    assert sum(one.n_bytes for one in run.facts.reads) == sum(sizes) - sum(before)
    per_file: dict[bytes, int] = {}
    for line in lines:
        match = re.search(rb"\b\w+\(\d+<(/[^>]*)>.* = (\d+)$", line)
        if (
            match is not None
            and os.fsencode(library) not in line
            and not match.group(1).startswith((b"/dev", b"/proc"))
        ):
            per_file[match.group(1)] = per_file.get(match.group(1), 0) + int(match.group(2))
    ours: dict[bytes, int] = {}
    for one in run.facts.reads:
        if one.path and not one.path.startswith((b"/dev", b"/proc")):
            ours[one.path] = ours.get(one.path, 0) + one.n_bytes
    assert {path: n for path, n in ours.items() if n} == {path: n for path, n in per_file.items() if n}


def test_sizes_of_opened_files(library: Path, data: Path) -> None:
    script = (
        "import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY); os.fstat(fd); os.fstat(os.open('/etc', os.O_RDONLY))"
    )
    facts = record_script(library, script, str(data)).facts
    mode, size = facts.fstats[os.fsencode(data)]
    assert (mode, size) == (data.stat().st_mode, 100_000)
    assert facts.fstats[b"/etc"][0] == os.stat("/etc").st_mode


def test_when_a_file_was_read(library: Path, data: Path) -> None:
    script = (
        "import os, sys, time\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY); time.sleep(0.05); times = [time.monotonic_ns()]; os.read(fd, 10)\n"
        "time.sleep(0.02); os.read(os.dup(fd), 10); times.append(time.monotonic_ns()); time.sleep(0.05); print(*times)\n"
    )
    run = record_script(library, script, str(data))
    (one,) = of(run, data)
    first_ns, last_ns = map(int, run.stdout.split())
    unit = 1 << 14
    assert first_ns - unit <= one.first_ns
    assert one.last_ns <= last_ns + unit
    assert one.last_ns - one.first_ns >= 20_000_000


def test_what_is_copied_in_the_kernel_is_read(library: Path, data: Path, tmp_path: Path) -> None:
    """Its time only where it goes to a file: a socket makes it wait too."""
    script = (
        "import os, socket, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY); to = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)\n"
        "assert os.sendfile(to, fd, 0, 1000) == 1000; done = os.copy_file_range(fd, to, 500, 1000, 2000); assert done == 500\n"
        "ends = os.pipe(); assert os.splice(fd, ends[1], 30, offset_src=0) == 30\n"
        "other = os.open(sys.argv[3], os.O_RDONLY); a, b = socket.socketpair(); assert os.sendfile(a.fileno(), other, 0, 77) == 77\n"
    )
    second = tmp_path / "second"
    second.write_bytes(b"x" * 100)
    run = record_script(library, script, str(data), str(tmp_path / "copy"), str(second))
    (one,), (sent,) = of(run, data), of(run, second)
    assert (one.n_reads, one.n_bytes) == (3, 1530)
    assert one.time_ns > 0
    assert (sent.n_reads, sent.n_bytes, sent.time_ns, sent.first_ns) == (1, 77, 0, 0)
