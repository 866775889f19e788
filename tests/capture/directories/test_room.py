"""The files that hooks share memory with: what they hold is read as it was written, and there is room before it is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe.capture.directories import room
from fsprobe.capture.machine import memory
from tests.capture.test_hook import Hooked, pairs, written

EIGHT = 8


def header(own: int, child: int, first: int, entries: dict[int, tuple[int, int, int]]) -> bytearray:
    data = bytearray(room.HEADER_BYTES)
    data[:8] = room.MAGIC
    for at, value in ((8, own), (16, child), (24, first)):
        data[at : at + EIGHT] = value.to_bytes(EIGHT, "little")
    for number, values in entries.items():
        for i, value in enumerate(values):
            at = room.TABLE + room.ENTRY * number + EIGHT * i
            data[at : at + EIGHT] = value.to_bytes(EIGHT, "little")
    return data


def test_each_process_has_its_own_lines_and_what_it_lost(tmp_path: Path) -> None:
    own, child = 1 << 16, 1 << 12
    data = header(own, child, 8192, {0: (8192, 4160, 0), 2: (own + 2 * child, own + child + 64, 3)})
    data += b"1 2 >a\n".ljust(32, b"\0") + b"2 2 <a\n".ljust(32, b"\0")
    data += bytes(own + child - len(data)) + b"+0 5 2\n".ljust(32, b"\0") + b"torn"
    path = tmp_path / "room.x"
    path.write_bytes(bytes(data) + bytes(child))
    assert dict(room.read(str(path))) == {0: b"1 2 >a\n2 2 <a\n", 2: b"+0 5 2\n-3 room\n"}
    assert room.used_bytes(bytes(data[:4096])) == 64 + 64


@pytest.mark.parametrize("data", [b"", b"fsproom1", b"x" * 9000, b"fsproom1" + b"\xff" * 9000])
def test_what_no_hook_wrote_is_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "room.x"
    path.write_bytes(data)
    assert list(room.read(str(path))) == []
    room.Rooms(str(tmp_path)).extend()
    assert path.read_bytes() == data


def test_what_a_process_fills_is_allocated_ahead_of_it(tmp_path: Path) -> None:
    own, child, first = 1 << 20, 1 << 14, 1 << 16
    path = tmp_path / "room.x"
    path.write_bytes(bytes(header(own, child, first, {0: (first, first - 4096, 0)})))
    os.truncate(path, own + child * (room.N_PARTS - 1))
    rooms = room.Rooms(str(tmp_path))
    rooms.extend()
    limit = room.parts(room.header_of(str(path)))[0].limit
    assert limit >= 2 * first - 8192
    assert path.stat().st_blocks * 512 >= limit - first
    rooms.extend()
    assert room.parts(room.header_of(str(path)))[0].limit == limit


@pytest.mark.parametrize(
    ("spare", "most"),
    [(None, room.MAX_AHEAD_BYTES), (9 << 20, (9 << 20) // 3), (0, 1 << 20), (-(5 << 20), 1 << 20)],
    ids=["unlimited", "some", "none", "less"],
)
def test_no_more_is_allocated_than_the_jobs_memory_gives(tmp_path: Path, spare: int | None, most: int) -> None:
    """Also to a process that lost lines, for which much more is allocated at once."""

    class Given(memory.Charge):
        def spare_bytes(self) -> int | None:
            return spare

    own, child, first = 64 << 20, 1 << 14, 1 << 16
    path = tmp_path / "room.x"
    path.write_bytes(bytes(header(own, child, first, {0: (first, first - 4096, 7)})))
    os.truncate(path, own + child * (room.N_PARTS - 1))
    before = path.stat().st_blocks * 512
    rooms = room.Rooms(str(tmp_path), Given(str(tmp_path)))
    rooms.extend()
    assert not rooms.is_short
    taken = path.stat().st_blocks * 512 - before
    assert most - (64 << 10) <= taken <= most
    assert room.parts(room.header_of(str(path)))[0].limit == pytest.approx(first + taken, abs=8192)


def test_a_part_that_needs_more_than_the_jobs_memory_gives_is_known(tmp_path: Path) -> None:
    class Nothing(memory.Charge):
        def spare_bytes(self) -> int | None:
            return 0

    own, child, first = 64 << 20, 1 << 14, 1 << 16
    path = tmp_path / "room.x"
    path.write_bytes(bytes(header(own, child, first, {0: (8 << 20, 8 << 20, 7)})))
    os.truncate(path, own + child * (room.N_PARTS - 1))
    rooms = room.Rooms(str(tmp_path), Nothing(str(tmp_path)))
    rooms.extend()  # how much is used it knows from then on
    rooms.extend()
    path.write_bytes(
        bytes(header(own, child, first, {0: (room.parts(room.header_of(str(path)))[0].limit,) * 2 + (9,)}))
    )
    rooms.extend()
    assert rooms.is_short
    assert rooms.used_bytes() > 8 << 20


def test_no_part_reaches_into_another() -> None:
    found = room.parts(bytes(header(1 << 20, 1 << 14, 1 << 16, {})))
    spans = sorted((part.start, part.end) for part in found)
    assert len(spans) == room.N_PARTS == 128
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))


def test_what_has_no_room_is_kept_and_then_counted(tmp_path: Path) -> None:
    """Nobody allocates more here: 64 KiB are some 700 imports."""
    hooked = Hooked(tmp_path)
    program = "import sys\nfor i in range(1500):\n    try:\n        __import__('no_such_module_%d' % i)\n    except ImportError: pass\n"
    hooked.run(sys.executable, program)
    (path,) = hooked.marks.glob("room.*")
    (lines,) = dict(room.read(str(path))).values()
    rows = lines.decode().splitlines()
    assert rows[-1].startswith("-")
    n_marks = len([row for row in rows if "no_such" in row])
    assert 500 < n_marks < 3000
    number, why = rows[-1].split()
    n_lost = -int(number)
    assert why == "room"
    assert n_marks + n_lost >= 3000, "what is there and what is not make up all of them"


@pytest.mark.parametrize("n_children", [3, 90])
def test_processes_that_are_forked_off_have_parts_as_far_as_there_are_some(tmp_path: Path, n_children: int) -> None:
    hooked = Hooked(tmp_path)
    program = (
        f"import os\nfor _ in range({n_children}):\n    pid = os.fork()\n    if not pid:\n        import csv\n        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    hooked.run(sys.executable, program)
    (path,) = hooked.marks.glob("room.*")
    found = dict(room.read(str(path)))
    whole = [number for number, lines in found.items() if number and b">csv" in lines]
    assert len(whole) == min(n_children, 4), "nobody allocates more here"
    assert (room.N_PARTS in found) == (n_children > room.N_CHILDREN)


CONFINED = """
import os, signal, resource, sys
place, kind = sys.argv[1:]
if kind == "size":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
elif kind == "descriptors":
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
elif kind == "user":
    os.setuid(65534)
for name in list(sys.builtin_module_names):
    if name in sys.modules: continue
    print(name)
    try: __import__(name)
    except OSError: assert kind == "descriptors"  # some import a module that lies in a file (_pickle)
"""


@pytest.mark.parametrize("kind", ["size", "descriptors", "user"])
def test_limits_that_a_program_sets_itself_cost_no_mark(tmp_path: Path, kind: str) -> None:
    if kind == "user" and os.getuid():
        pytest.skip("only root can become somebody else")
    hooked = Hooked(tmp_path)
    (tmp_path / "main.py").write_text(CONFINED)
    # some Pythons have deprecated modules built in (Debian's spwd), and the words about them need files to be opened
    words = [sys.executable, "-W", "ignore", "main.py", str(tmp_path), kind]
    done = subprocess.run(words, env=hooked.environment, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    (text,) = written(hooked.marks).values()
    names = [name for mark, name, _ in pairs(text) if mark == ">"]
    tried = set(done.stdout.decode().split())
    assert len(names) > 10
    assert tried | {"resource"} <= set(names)


def test_a_limit_of_file_sizes_from_the_start_is_no_harm(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    words = ["/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "-", sys.executable, "-c", "import csv; print(7)"]
    done = subprocess.run(words, env=hooked.environment, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"7\n", b"")


def test_the_descriptor_that_a_mapping_takes_is_not_closed_under_the_target(tmp_path: Path, interpreter: str) -> None:
    """Before 3.13 a mapping closes a number of its own when it ends: by then a file of the target may have it."""
    hooked = Hooked(tmp_path)
    program = (
        "import gc, os, sys\n"
        "if sys.version_info < (3, 8): sys.exit()\n"
        "mine = [os.open('/dev/null', os.O_RDONLY) for _ in range(8)]\n"
        "class Last:\n"
        "    def __init__(self): self.fstat, self.mine, self.write = os.fstat, mine, os.write\n"
        "    def __del__(self): [self.fstat(fd) for fd in self.mine]; self.write(1, b'open')\n"
        # what a module holds of itself goes last
        "sys.last = Last(); gc.collect(); [os.fstat(fd) for fd in mine]\n"
    )
    assert hooked.run(interpreter, program) in ("open", "")


def test_a_stopped_hook_writes_no_more(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    program = "import os\nprint(7, flush=True); input()\nimport csv, decimal\n"
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, env=hooked.environment, cwd=tmp_path, stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        room.stop(str(hooked.marks))
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(60) == 0 != signal.SIGBUS
    (text,) = written(hooked.marks).values()
    assert ">csv" not in text
