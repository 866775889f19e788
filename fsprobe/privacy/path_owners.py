"""Whose is a component of a path: where people, projects and hosts stand in it, and where the system and packages do.

A name is only a name in its place: `lib` is a person below /home and a directory below /usr. So a path is walked from its
root, and each component is judged by the zone that the ones before it lead to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

HOMES = frozenset(b"home homes users user jusers people staff students u".split())
PEOPLE = HOMES - {b"u", b"home"}
"""What is called so inside of a project holds its members' directories; `home` may be any program's."""
MAX_PEOPLE_DEPTH = 2
PROJECTS = frozenset(
    b"project projects projappl proj prj cdirs group groups scratch flash work workspace workspaces ws campaign".split()
)
"""Directories whose entries are projects or people. A judgement, from the layouts of LUMI, NERSC, Juelich, OLCF, ARCHER2."""
SYSTEM = frozenset(b"usr lib lib32 lib64 bin sbin".split())
"""Here components are ordinary words of the system."""
ELSEWHERE = frozenset(b"etc proc sys dev boot snap nix var run opt appl sw srv cvmfs".split())
"""Here nobody lives either, but a component may be anybody's name."""
STRUCTURE = frozenset(
    b"lib lib32 lib64 libexec bin sbin include share src etc usr var tmp opt home root dev proc sys run mnt local data "
    b"site-packages dist-packages python python3 __pycache__ conda env envs venv .venv pkgs cache .cache .local .config "
    b"lost+found .snapshot .snapshots shared public software modules test tests".split()
)
"""Components that say what kind of directory it is: analysis reads them, so they stay unless they are known to be a name."""
COMMON = frozenset(
    b"apps app archive archives backup backups benchmark benchmarks bench build builds checkpoint checkpoints code codes config "
    b"configs containers container dataset datasets doc docs environment environments example examples experiment experiments "
    b"figures git image images input inputs install installs job jobs library libraries log logs miniconda miniconda3 miniforge "
    b"miniforge3 model models modulefiles notebooks output outputs packages plots repo repos repositories result results run "
    b"runs scripts script simulation simulations source sources spack team tools training workflow workflows".split()
)
"""Directories of a project that are hardly anybody's name. A judgement."""
SHARED = frozenset(
    b"data lustre gpfs beegfs ceph cephfs weka vast panfs pfs lus nobackup nfs nas afs storage shared bulk tank raid pool ptmp global "
    b"fast datasets dataset fs net archive arc isilon netapp orange blue cluster hpc home2 mmfs".split()
)
"""Directories of the root below which people and projects lie, with or without a number. A judgement."""
_NUMBERED = re.compile(
    rb"(?:fs|vol|gpfs|mmfs|lustre|scratch|data|nfs|pool|tank|tier|disk|ssd|nvme|hdd|raid|storage|stor|archive|beegfs|ceph|weka|pfs|lus"
    rb"|export|local)[-_]?[a-z]?\d{0,3}"
)
"""What storage is called itself: people are one further down."""
ROOTS: Mapping[tuple[bytes, ...], str] = {
    (b"run", b"user"): "home",
    (b"run", b"media"): "home",
    (b"media",): "home",
    (b"var", b"home"): "home",
    (b"usr", b"home"): "home",
    (b"export", b"home"): "home",
    (b"tmp",): "open",
    (b"var", b"tmp"): "open",
    (b"dev", b"shm"): "open",
    (b"local",): "open",
    (b"localscratch",): "open",
    (b"export",): "open",
    (b"exports",): "open",
}
MAX_DEPTH = 8
"""How deep a directory called `home` or `project` may lie and still be where people or projects are."""
_LIKE_AN_OWNED_FILE = re.compile(rb"(?=.*[A-Za-z\x80-\xff]{3})(?!tmp[a-z0-9_]{6,8}$|fsprobe)[^.]")
_LIKE_A_NAME = re.compile(rb"[a-z][a-z_.-]{2,20}[0-9]{0,4}")
_PACKAGES = re.compile(rb"(?:site|dist)-packages|(?:python|pypy)\d+(?:\.\d+)*|python\d+\.zip|node_modules")


class Zone(NamedTuple):
    """What the components so far have led to."""

    kind: str
    """outside (nothing known yet) | system | elsewhere | home | project | shared (people's or projects') | open (anybody's, as
    /tmp) | package"""
    depth: int
    """Components from the root, or from where the area begins."""
    has_user: bool = False
    """Whether a person's name has stood in this area already."""


START = Zone("outside", 0)
NOBODY = Zone("elsewhere", 0)


def is_area(zone: Zone) -> bool:
    """Whether what lies here belongs to people or projects."""
    return zone.kind in ("home", "project", "shared")


def is_home(point: tuple[bytes, ...]) -> bool:
    """Whether a mount point is known to hold homes, or lies in one, or is anybody's."""
    zone = START
    for at, name in enumerate(point):
        zone = step(zone, point[:at], name, {}, {})
    return zone.kind in ("home", "open", "project") and len(point) > 0


def is_link_of_area(zone: Zone, name: bytes) -> bool:
    """Whether a component at the top of an area leads to a further area: /project/home, /homes/a."""
    if not is_area(zone) or zone.depth:
        return False
    if zone.kind == "shared" and (_NUMBERED.fullmatch(name) or name in STRUCTURE or name.lower() in COMMON):
        return True
    return name in HOMES or name in PROJECTS or _is_letter(zone, name)


def _is_letter(zone: Zone, name: bytes) -> bool:
    return zone.kind == "home" and len(name) == 1


def is_member(zone: Zone, name: bytes) -> bool:
    """Whether a component right below a project's directory is likely to be a member's: it is no directory's usual name."""
    return (
        zone.kind in ("project", "shared")
        and zone.depth == 1
        and not zone.has_user
        and name not in STRUCTURE
        and name.lower() not in COMMON
        and name not in PEOPLE
        and name not in PROJECTS
        and not name.startswith(b".")
        and len(name) > 1
    )


def may_be_name(zone: Zone, name: bytes) -> bool:
    """Whether a component stands where names often do, without much certainty: top of /tmp, second level of a project."""
    return (
        (
            (zone.kind == "open" and zone.depth == 0 and _LIKE_AN_OWNED_FILE.match(name) is not None)
            or (
                zone.kind in ("project", "shared") and zone.depth in (1, 2) and _LIKE_A_NAME.fullmatch(name) is not None
            )
        )
        and name not in STRUCTURE
        and name not in COMMON
        and name not in PROJECTS
    )


def step(
    zone: Zone,
    before: tuple[bytes, ...],
    name: bytes,
    roots: Mapping[tuple[bytes, ...], str],
    known: Mapping[bytes, str],
) -> Zone:
    """The zone below a component.

    Args:
        zone: the zone that it stands in.
        before: the components before it.
        name: itself.
        roots: directories that are areas whatever they are called, besides `ROOTS`.
        known: names of people and projects, and which they are.
    """
    here = (*before, name)
    root = roots.get(here) or ROOTS.get(here)
    if root is not None:
        return Zone(root, 0)
    if zone.kind == "package" or _PACKAGES.fullmatch(name):
        return Zone("package", 0)
    if zone.kind == "outside":
        if not before and name in SYSTEM:
            return Zone("system", 0)
        if not before and name in ELSEWHERE:
            return NOBODY
        if not before and (name.rstrip(b"0123456789").rstrip(b"-_") in SHARED or name in SHARED):
            return Zone("shared", 0)
        if zone.depth >= MAX_DEPTH:
            return NOBODY
    if zone.kind in ("outside", "open") and zone.depth < MAX_DEPTH:
        plain = name if before else name.rstrip(b"0123456789").rstrip(b"-_")  # /scratch2, /home-3
        area = "home" if plain in HOMES else "project" if plain in PROJECTS else ""
        if area and (name not in known or not before):
            return Zone(area, 0)
    if zone.kind in ("project", "shared") and name in PEOPLE and name not in known and zone.depth <= MAX_PEOPLE_DEPTH:
        return Zone("home", 0)
    if is_link_of_area(zone, name) and name not in known:
        return Zone("project" if name in PROJECTS else "home" if name in HOMES else zone.kind, 0)
    return Zone(zone.kind, zone.depth + 1, zone.has_user or known.get(name) in ("user", "name"))
