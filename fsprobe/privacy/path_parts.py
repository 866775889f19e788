"""Paths and text taken apart: components and the zone of each, paths and hosts within text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fsprobe.privacy import path_owners
from fsprobe.privacy.concealment import CACHE_SIZE
from fsprobe.privacy.identities import Names
from fsprobe.privacy.path_owners import START, Zone
from fsprobe.privacy.spelling import WORD

FILE = re.compile(
    rb"(.+?)((?:\.cpython-[^/]*|\.abi3)?\.(?:py[cdwi]?|so[0-9.]*|sif|simg|sqsh|squashfs|sqfs|img|sh|zip|whl|egg|pth|cfg|toml|"
    rb"json|yaml|txt|log|fsprobe))"
)
PATH_IN_TEXT = re.compile(rb"/(?:[^\s:;,|\"'`<>()\[\]{}=\\]|\\+(?:x[0-9A-Fa-f]{2}|[0-3][0-7]{2}))*")
ODD_TEXT = re.compile(rb"[\s:;,|\"'`<>()\[\]{}=]|\\(?!\\*(?:x[0-9A-Fa-f]{2}|[0-3][0-7]{2}))")
ENCODED_SLASH = re.compile(rb"(%2[Ff])")
URL = re.compile(
    rb"(?i)(?<![a-z0-9])([a-z][a-z0-9+.-]{1,20}://)(?:([^\s/?#\"'<>@]+)@)?(\[[0-9a-f:.%]+\]|[^\s/?#\"'<>:,;@\[\](){}]+)?([^\s\"'<>]*)"
)
AT_HOST = re.compile(rb"(?<![%s.+-])([A-Za-z_][A-Za-z0-9_.+-]*)@([A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*)" % WORD)
NO_HOSTS = frozenset((b"tcp", b"o2ib", b"gni", b"kfi", b"lo", b"localhost", b"git"))


MAX_STACK = 100
"""Components before one that are looked at: what lies deeper is of the same zone."""


@dataclass(slots=True)
class Walker:
    """Splits paths into components and knows the zone of each."""

    names: Names
    zones: dict[tuple[bytes, ...], Zone] = field(default_factory=dict)

    def zone(self, before: tuple[bytes, ...]) -> Zone:
        found = self.zones.get(before)
        if found is not None:
            return found
        found, at = START, len(before)
        while at and (known := self.zones.get(before[:at])) is None:
            at -= 1
        if at:
            found = known or START
        for end in range(at + 1, len(before) + 1):
            above = before[: end - 1]
            found = path_owners.step(found, above, before[end - 1], self.names.roots, self.names.known)
            if len(self.zones) >= CACHE_SIZE:
                self.zones.clear()
            self.zones[before[:end]] = found
        return found


def components(path: bytes, start: tuple[bytes, ...]) -> list[tuple[int, tuple[bytes, ...], bytes]]:
    """(index in the split path, components before, component) of each that is a name.

    `..` leads back as it is written: whose a component is depends on where the path has led to, though its text stays.
    """
    found = []
    stack = () if path.startswith(b"/") else start
    n_deeper = 0
    for index, part in enumerate(path.split(b"/")):
        if part in (b"", b"."):
            continue
        if part == b"..":
            stack, n_deeper = (stack, n_deeper - 1) if n_deeper else (stack[:-1], 0)
            continue
        found.append((index, stack, part))
        if len(stack) < MAX_STACK:
            stack = (*stack, part)
        else:
            n_deeper += 1
    return found


def stack_of(directory: bytes) -> tuple[bytes, ...]:
    stack: tuple[bytes, ...] = ()
    for part in directory.split(b"/"):
        if part == b"..":
            stack = stack[:-1]
        elif part not in (b"", b"."):
            stack = (*stack, part)
    return stack


def is_ours(before: tuple[bytes, ...]) -> bool:
    """Whether a scratch directory of fsprobe is among the components: it says nothing of anybody, and is known by its names."""
    return any(part.startswith(b"fsprobe-") for part in before)


def split_suffix(name: bytes) -> tuple[bytes, bytes]:
    match = FILE.fullmatch(name)
    return (match.group(1), match.group(2)) if match is not None else (name, b"")
