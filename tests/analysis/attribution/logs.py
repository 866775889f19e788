"""Logs as an interpreter makes them, line by line: what the import system asks is written out here by its rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fsprobe.analysis.attribution.attribute import Attributed, Notes, attribute
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.counting.tally import Tally, fold
from fsprobe.events.strace import parser
from fsprobe.model.events import Event, ParseQuality

LIB = "/opt/py/lib/python3.11"
SITE = "/venv/lib/python3.11/site-packages"
START = [
    '1 execve("/venv/bin/python", ["python", "p.py"], 0x7ffc /* 9 vars */) = 0',
    '1 openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3',
    f'1 openat(AT_FDCWD, "{LIB}/encodings/__pycache__/__init__.cpython-311.pyc", O_RDONLY|O_CLOEXEC) = 3',
    '1 openat(AT_FDCWD, "/venv/pyvenv.cfg", O_RDONLY|O_CLOEXEC) = 3',
    f'1 openat(AT_FDCWD, "{SITE}", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3<{SITE}>',
    f"1 getdents64(3<{SITE}>, 0x55 /* 9 entries */, 32768) = 288",
]
MAIN = ['1 openat(AT_FDCWD, "/work/p.py", O_RDONLY) = 3']


def directory(path: str) -> str:
    """A look at a directory that is there."""
    return f'1 newfstatat(AT_FDCWD, "{path}", {{st_mode=S_IFDIR|0755, st_size=9, ...}}, 0) = 0'


def looked(path: str, found: bool = True, link: bool = False) -> str:
    """A stat of a file."""
    status = "{st_mode=S_IFREG|0644, st_size=9, ...}" if found else "0x7ffc"
    flags = "AT_SYMLINK_NOFOLLOW" if link else "0"
    return f'1 newfstatat(AT_FDCWD, "{path}", {status}, {flags}) = ' + ("0" if found else "-1 ENOENT (No such file)")


def opened(path: str, found: bool = True) -> str:
    """An open to read."""
    return f'1 openat(AT_FDCWD, "{path}", O_RDONLY|O_CLOEXEC) = ' + ("3" if found else "-1 ENOENT (No such file)")


def visited(path: str) -> list[str]:
    """The import system meets a directory of the search path."""
    return [
        *[directory(path)] * 3,
        f'1 openat(AT_FDCWD, "{path}", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3<{path}>',
        f"1 getdents64(3<{path}>, 0x55 /* 9 entries */, 32768) = 288",
    ]


def searched(*entries: str) -> list[str]:
    """The import system asks entries of the search path in turn."""
    return [directory(entry) for entry in entries]


def module(place: str, name: str) -> list[str]:
    """A module is found in a directory and loaded; its own calls only."""
    return [
        looked(f"{place}/{name}.py"),
        looked(f"{place}/{name}.py"),
        opened(f"{place}/__pycache__/{name}.cpython-311.pyc"),
    ]


def package(place: str, name: str) -> list[str]:
    """A package is found and loaded."""
    return [
        looked(f"{place}/{name}/__init__.cpython-311-x86_64-linux-gnu.so", found=False),
        looked(f"{place}/{name}/__init__.py"),
        looked(f"{place}/{name}/__init__.py"),
        opened(f"{place}/{name}/__pycache__/__init__.cpython-311.pyc"),
    ]


def rows_of(lines: Iterable[str]) -> tuple[list[Attributed], Notes]:
    """The calls of a log, attributed without marks."""
    notes = Notes()
    return list(attribute(_events(lines), notes)), notes


def tally_of(lines: Iterable[str]) -> tuple[Tally, Notes]:
    """The same as a tally."""
    notes = Notes()
    return fold(attribute(_events(lines), notes), WhyNotFound([])), notes


def _events(lines: Iterable[str]) -> Iterator[Event]:
    return parser.parse((line.encode() + b"\n" for line in lines), ParseQuality())
