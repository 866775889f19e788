"""The plain layout: the environment as it lies there. Also the value that every layout is described by."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsprobe.capture.machine.mounts import mount_of, parse_mountinfo
from fsprobe.errors import BadInput

Made = Callable[[str, bool], None]
"""Is told of a directory right before it is made (and is removed later), and once more, with True, when it is to stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which an environment lies on disk, and how to run a command that sees it so at the environment's own path."""

    label: str
    kind: str
    """plain | copy | squashfs | overlay"""
    where: Path
    """The directory or image that holds the files."""
    fstype: str
    """Type of the filesystem that `where` lies on."""
    mount_how: str
    """squashfs (the kernel) | fuse.squashfuse_ll | overlay on ... | bind | "" for plain."""
    enter: list[str]
    """Goes in front of the command's argv; empty for plain."""


@contextmanager
def plain(venv: str | Path, *, label: str = "plain") -> Iterator[Layout]:
    """The environment where it is; makes nothing.

    Raises:
        BadInput: no such directory.
    """
    where = Path(os.path.realpath(venv))
    if not where.is_dir():
        raise BadInput(f"{venv}: no such directory", "name the environment: the directory that `python -m venv` made")
    yield Layout(label=label, kind="plain", where=where, fstype=fstype_of(where), mount_how="", enter=[])


def fstype_of(path: Path) -> str:
    """Type of the filesystem that holds `path`; "" when the kernel does not tell."""
    with open("/proc/self/mountinfo", "rb") as file:
        row = mount_of(os.fsencode(os.path.realpath(path)), parse_mountinfo(file.read()))
    return row[1] if row else ""
