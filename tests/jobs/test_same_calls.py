"""Ranks that made the same calls are counted from one of them: with the very results of reading each the long way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from fsprobe.events import clocks
from fsprobe.jobs.reading import chunks, same_calls, stamped
from fsprobe.jobs.reading.chunks import Part, read_chunk
from fsprobe.jobs.reading.pattern import without_addresses
from fsprobe.jobs.reading.recordings import gather
from fsprobe.recording import file as recording
from tests.job_recordings import rank_variables

N_RANKS = 5
LIB = "/usr/lib/python3.11"
MISSING = "-1 ENOENT (No such file or directory)"
MOUNTS = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 0:25 / /proc rw - proc proc rw\n"


@dataclass
class Rank:
    """One start of an interpreter, with what is its own: numbers, names, addresses, times."""

    number: int
    pid: int = 0
    lines: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    now_ns: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.number)
        self.pid = 4000 + 17 * self.number
        self.token = f"{self.pid}.{self.number:012x}"
        self.hook = f"/run/fsprobe-{self.number:08x}/hook"
        self.scratch = f"/dev/shm/fsprobe-{self.number + 99:08x}"

    def line(self, text: str, *, lasts: bool = True, tid: int = 0) -> None:
        delta = self.chance.randrange(60_000, 400_000)
        self.now_ns += delta
        us = self.chance.choice((9, 12, 15, 300)) if self.number else 10
        duration = f" <0.{us if us * 1000 < delta else 9:06d}>" if lasts else ""
        wall_us = 1_795_000_000_000_000 + self.number * 1_000_000 + self.now_ns // 1000
        head = f"{tid or self.pid:<5d} {wall_us // 1_000_000}.{wall_us % 1_000_000:06d} (+     0.{delta:09d})"
        self.lines.append(f"{head} {text}{duration}\n")

    @property
    def address(self) -> str:
        return f"0x7f{self.chance.randrange(1 << 40):010x}"

    def stat(self, path: str, *, found: bool) -> None:
        status = "{st_mode=S_IFREG|0644, st_size=10, ...}" if found else self.address
        self.line(f'newfstatat(AT_FDCWD</w>, "{path}", {status}, 0) = {0 if found else MISSING}')

    def open(self, path: str, result: str = "") -> None:
        self.line(f'openat(AT_FDCWD</w>, "{path}", O_RDONLY|O_CLOEXEC) = 3<{result or path}>')

    def note(self, word: str, rest: str = "") -> None:
        own_ns = 10**12 * (self.number + 1) + self.now_ns + 50_000
        said = f"fsprobe!{word} {self.token} {self.pid} {own_ns}{rest}"
        self.line(f'faccessat2(-1, "{said}", F_OK, 0) = -1 EBADF (Bad file descriptor)')
        # the call was stamped just after what it says
        self.now_ns = max(self.now_ns, own_ns - 10**12 * (self.number + 1))

    def mark(self, kind: str, name: str) -> None:
        self.now_ns += 20_000
        self.marks.append(f"{10**12 * (self.number + 1) + self.now_ns} {self.pid} {kind}{name}\n")
        self.line('getcwd("/w", 4096) = 3')

    def start(self, change: str = "") -> None:
        """All that it does; `change` is what it does otherwise than others."""
        self.line(f'execve("/usr/bin/python3", ["python3", "-c", "import x"], {self.address} /* 5 vars */) = 0')
        self.stat(f"{LIB}/glibc-hwcaps/libpython.so", found=False)
        self.open("/etc/ld.so.cache")
        self.stat(f"{LIB}/encodings/__init__.py", found=True)
        self.stat(f"{self.hook}/sitecustomize.py", found=True)
        self.open(f"{self.hook}/sitecustomize.py")
        self.note("begin")
        self.note("at")
        self.open("/proc/self/mountinfo", f"/proc/{self.pid}/mountinfo")
        self.note("ready", f" {self.chance.randrange(10**12, 10**13)} 0")
        self.mark(">", "sitecustomize")
        self.mark("<", "sitecustomize")
        self.mark(">", "x")
        self.stat("/site/x" if change != "path" else "/site/xx", found=False)
        self.stat("/site/x.py", found=change != "error")
        if change == "call":
            self.stat("/site/more", found=False)
        self.mark(">", "x.y" if change != "import" else "x.z")
        self.open("/site/y.py")
        self.line(f"getdents64(3</site>, {self.address} /* 3 entries */, 32768) = 80")
        self.mark("<", "x.y" if change != "import" else "x.z")
        if change == "mark":  # said before the directory was read
            self.marks[-1] = f"{int(self.marks[-1].split()[0]) - 900_000} {self.pid} <x.y\n"
        self.mark("<", "x")
        self.open(
            f"/data/0x{self.number if change == 'name' else 0:02x}, 0x{self.number if change == 'name' else 0:02x}"
        )
        status = 1 if change == "status" else 0
        used = f"si_utime={self.number}, si_stime={self.chance.randrange(9)}"
        self.line(
            f"--- SIGCHLD {{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=3, si_uid=7, si_status={status}, {used}}} ---",
            lasts=False,
        )
        self.line("+++ exited with 0 +++", lasts=False)

    def write(self, place: Path, *, change: str = "") -> None:
        facts = {
            "pid": self.pid, "ns": self.now_ns, "version": "3.11.7", "implementation": "cpython",
            "executable": "/usr/bin/python3", "prefix": "/usr", "base_prefix": "/usr", "exec_prefix": "/usr",
            "path": ["/site", LIB] if change != "facts" else [LIB], "cache_tag": "cpython-311", "extension_suffixes": [".so"],
            "environment": {"PYTHONPATH": self.hook},
        }  # fmt: skip
        marks = ("=" + repr(facts) + "\n" + "".join(self.marks)).encode()
        cwd = "/elsewhere" if change == "cwd" else "/w"
        manifest = {
            "backend": "strace", "capabilities": ["durations", "results", "stats", "loader"], "command": ["python3"],
            "cwd": cwd, "environment": {}, "exit_code": 0, "hook_dir": self.hook, "host": "n", "kernel": "6.1",
            "markers": "time", "scratch": self.scratch, "started_s": 1_795_000_000.0 + self.number, "wall_s": 1.5,
            "user_s": 0.2, "sys_s": 0.1, "uid": 7, "job": rank_variables(self.number, size=N_RANKS, per_node=N_RANKS),
        }  # fmt: skip
        lookups = {"missing": ["/gone"]} if change == "lookups" else {}
        recording.write(
            str(place / f"r{self.number}.fsprobe"),
            "recording",
            [
                ("manifest", json.dumps(manifest).encode()),
                ("log", "".join(self.lines).encode()),
                ("marks", f"@marks.{self.token} {len(marks)}\n".encode() + marks),
                ("mounts", MOUNTS),
                ("lookups", json.dumps(lookups).encode()),
            ],
        )


def write(place: Path, changes: Sequence[str]) -> None:
    for number, change in enumerate(changes):
        rank = Rank(number)
        rank.start(change)
        rank.write(place, change=change)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each recording that was compared, whether it was counted from another one."""
    seen: list[bool] = []
    known = same_calls.SameCalls()
    find = same_calls.SameCalls.find

    def noted(self: same_calls.SameCalls, source: same_calls.Source) -> same_calls.Same | None:
        same = find(self, source)
        seen.append(same is not None)
        return same

    monkeypatch.setattr(same_calls.SameCalls, "find", noted)
    monkeypatch.setattr(same_calls, "KNOWN", known)
    return seen


def both(place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Part, Part]:
    ranks = gather([str(place)]).ranks
    monkeypatch.setattr(chunks, "FEWEST_SAME", N_RANKS)
    short = read_chunk(ranks, is_whole=True)
    monkeypatch.setattr(chunks, "FEWEST_SAME", 1 << 30)
    return short, read_chunk(ranks, is_whole=True)


def check_equal(short: Part, long: Part) -> None:
    for one in fields(Part):
        assert getattr(short, one.name) == getattr(long, one.name), one.name
    assert list(short.tally.by_path) == list(long.tally.by_path)


def test_ranks_that_made_the_same_calls_are_counted_from_the_first(
    tmp_path: Path, found: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [""] * N_RANKS)
    short, long = both(tmp_path, monkeypatch)
    assert found == [False, True, True, True, True]
    check_equal(short, long)
    assert short.tally.total.n_stat == 4 * N_RANKS
    assert short.tally.own["stat"] == N_RANKS
    assert short.tally.by_module["x"].cumulative.n_list == N_RANKS
    assert len({row.startup_s for row in short.rows}) == N_RANKS  # their times are their own


@pytest.mark.parametrize(
    "change", ["path", "error", "call", "import", "mark", "name", "facts", "cwd", "lookups", "status"]
)
def test_a_rank_that_differs_is_read_the_long_way(
    tmp_path: Path, found: list[bool], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    write(tmp_path, ["", "", change, "", ""])
    short, long = both(tmp_path, monkeypatch)
    assert found == [False, True, False, True, True]
    check_equal(short, long)


def test_where_all_differ_no_more_is_learned(
    tmp_path: Path, found: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, ["name"] * N_RANKS)
    short, long = both(tmp_path, monkeypatch)
    assert found == [False] * N_RANKS
    assert len(same_calls.KNOWN.kept) == same_calls.MAX_UNUSED
    check_equal(short, long)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'newfstatat(3</0x1>, "0x2, 0x3", 0x4, 0) = -1 E', b'newfstatat(3</0x1>, "0x2, 0x3", 0x, 0) = -1 E'),
        (
            b"getdents64(3</0x1, 0x2>, 0x3 /* 4 entries */, 9) = 8",
            b"getdents64(3</0x1, 0x2>, 0x /* 4 entries */, 9) = 8",
        ),
        (b'openat(3</x>, "y", O_RDONLY) = 3</0x1, 0x2, >', b'openat(3</x>, "y", O_RDONLY) = 3</0x1, 0x2, >'),
        (b'readlink("/x", 0x1, 4095) = -1 EINVAL', b'readlink("/x", 0x, 4095) = -1 EINVAL'),
        (b"exit_group(0) = ?", b"exit_group(0) = ?"),
    ],
)
def test_only_addresses_are_left_out(text: bytes, told: bytes) -> None:
    assert without_addresses(text) == told


def test_a_log_as_columns_has_the_clocks_of_its_lines() -> None:
    rank = Rank(1)
    rank.start()
    data = "".join(rank.lines).encode()
    log = stamped.read(data)
    assert log is not None
    notes = [number for number, text in enumerate(log.texts) if b"fsprobe!" in text]
    assert stamped.clocks(log, notes, []) == clocks.read(data.splitlines(keepends=True))
    assert log.texts[-1] == b"+++ exited with 0 +++"
    assert log.dur_ns[-1] == -1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b"(+  ", b"(+ x", 1),
        lambda data: data + b"strace: something\n",
        lambda data: data.replace(b" (+     0.", b" (+     0,", 1),
        lambda data: b"",
    ],
)
def test_another_log_is_no_such_columns(damage: Callable[[bytes], bytes]) -> None:
    rank = Rank(1)
    rank.start()
    assert stamped.read(damage("".join(rank.lines).encode())) is None
