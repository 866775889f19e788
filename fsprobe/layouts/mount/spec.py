"""What shall be mounted where for one command, and how it was."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from fsprobe.errors import BadInput
from fsprobe.layouts.image import read_superblock
from fsprobe.layouts.mount.methods import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What appears where."""

    kind: str
    """squashfs (an image, read-only) | overlay (an image, with changes kept apart) | bind (a directory)."""
    source: str
    """The image or the directory."""
    at: str
    """An existing directory."""
    upper: str = ""
    """overlay: the directory that keeps the changes; "" keeps them in memory until the command ends."""
    way: str = ""
    """Name of the only way to try; "" tries all in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """How something was mounted."""

    way: str
    """See `methods.Way.name`."""
    mount_how: str
    """squashfs (the kernel) | fuse.squashfuse_ll | bind | overlay on ..."""
    fstype: str
    """Type of the filesystem that is seen at the path."""


def checked(spec: Spec) -> Spec:
    """Resolve the paths of `spec` and check what can be checked without mounting.

    Raises:
        BadInput: not an image, no such directory.
    """
    if spec.kind not in KINDS:
        raise ValueError(spec.kind)
    at = os.path.realpath(spec.at)
    if not os.path.isdir(at):
        raise BadInput(
            f"{spec.at}: {'not a directory' if os.path.exists(at) else 'no such directory'}",
            f"the path must exist to be mounted over; make an empty one: mkdir -p {spec.at}",
        )
    source = os.path.realpath(spec.source)
    if spec.kind == "bind":
        if not os.path.isdir(source):
            raise BadInput(f"{spec.source}: no such directory")
    else:
        read_superblock(source)
    upper = ""
    if spec.upper:
        upper = os.path.realpath(spec.upper)
        if upper == at or upper.startswith(at + "/"):
            raise BadInput(f"{spec.upper} lies below {spec.at}, which is mounted over", "keep the changes elsewhere")
        if not os.path.isdir(upper):
            raise BadInput(f"{spec.upper}: no such directory", f"make it: mkdir -p {spec.upper}")
        if not os.access(upper, os.W_OK | os.X_OK):
            raise BadInput(f"{spec.upper} is not writable for you")
    return replace(spec, source=source, at=at, upper=upper)
