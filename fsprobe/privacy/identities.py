"""Names that a redaction hides: of people, projects and hosts, and how each may be replaced.

A name that could not be anything else is replaced wherever it stands as a word. One that is also an ordinary word
(a user called `lib`, a project called `test`) is replaced only in its place, see `path_owners`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fsprobe.privacy import path_owners
from fsprobe.privacy.path_owners import STRUCTURE
from fsprobe.privacy.secrets.secret_names import is_distinctive

KINDS = "user project host server owner job name address secret lock label source value partition cluster reservation qos".split()
MIN_LETTERS = {"host": 2, "server": 2}
MIN_LETTERS_ELSE = 3
"""A shorter name stands in too many words' company to be replaced outside of its place. A judgement."""
NOT_NAMES = frozenset(b"root localhost nobody user users none unknown default".split())
ORDINARY = frozenset(
    b"python python3 fsprobe strace ptrace audit program launcher process main init site import run loader launch stat "
    b"open list exec change other sh bash dash env pip numpy pandas scipy torch time text json path name true false null".split()
)
IDENTIFIER = re.compile(rb"(?=.*\d)[A-Za-z][A-Za-z0-9_.-]{4,}")
ADDRESS = re.compile(rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")


SCHEDULER = {
    **dict.fromkeys(
        ("SLURM_JOB_PARTITION", "SBATCH_PARTITION", "PBS_QUEUE", "PBS_O_QUEUE", "LSB_QUEUE", "QUEUE"), "partition"
    ),
    **dict.fromkeys(("SLURM_CLUSTER_NAME", "LSF_CLUSTER_NAME", "SGE_CELL"), "cluster"),
    **dict.fromkeys(("SLURM_JOB_RESERVATION", "SBATCH_RESERVATION", "PBS_RESERVATION"), "reservation"),
    **dict.fromkeys(("SLURM_JOB_QOS", "SBATCH_QOS"), "qos"),
    **dict.fromkeys(("SLURM_JOB_ACCOUNT", "PBS_ACCOUNT", "LSB_PROJECT_NAME"), "project"),
    **dict.fromkeys(("SLURM_JOB_NAME", "PBS_JOBNAME", "LSB_JOBNAME", "JOB_NAME"), "job"),
    **dict.fromkeys(("SLURM_JOB_USER", "PBS_O_LOGNAME"), "user"),
}
"""What a batch system's variables name."""


@dataclass(slots=True)
class Names:
    """What is to be hidden, and what must not be taken for it."""

    known: dict[bytes, str] = field(default_factory=dict)
    """Name -> kind: people, projects, hosts."""
    forced: set[bytes] = field(default_factory=set)
    """Names that somebody gave with --name: ordinary or not."""
    roots: dict[tuple[bytes, ...], str] = field(default_factory=dict)
    """Directories in which people's directories lie, whatever they are called."""
    homes: set[tuple[bytes, ...]] = field(default_factory=set)
    ordinary: set[bytes] = field(default_factory=set)
    """Names of system directories, modules and packages, in small letters."""
    mounted: set[tuple[bytes, ...]] = field(default_factory=set)
    """Directories on the way to mount points that users made, below /tmp and the like."""
    candidates: set[bytes] = field(default_factory=set)
    """Words that stand where people's directories often are, without that being certain."""
    taken: set[bytes] = field(default_factory=set)
    """Words that look like a replacement already."""
    secrets: set[bytes] = field(default_factory=set)
    """Passwords, tokens, keys."""
    installed: set[bytes] = field(default_factory=set)
    """Top-level modules that lie in the system or in site directories."""
    uids: set[bytes] = field(default_factory=set)
    """The user's number, as directories and files of temporary places are called by it."""

    def is_secret_everywhere(self, value: bytes) -> bool:
        """Whether a secret is replaced wherever it stands, not only in its place: it is no ordinary word."""
        small = value.lower()
        return (
            is_distinctive(value)
            and small not in self.ordinary
            and small not in STRUCTURE
            and small not in ORDINARY
            and value not in self.known
        )

    def add(self, kind: str, name: bytes) -> None:
        """Take a name in; what names nobody is left out."""
        name = name.strip()
        if (
            name
            and name.lower() not in NOT_NAMES
            and name.strip(b".")
            and b"/" not in name
            and not name.startswith(b"(")
            and len(name) <= MAX_NAME_BYTES
        ):
            self.known.setdefault(name, kind)

    def add_host(self, name: bytes, kind: str = "host") -> None:
        """A host's or server's name, with and without its domain."""
        short, _, domain = name.strip().partition(b".")
        if ADDRESS.fullmatch(name.strip()):
            self.add("address", name)
            return
        self.add(kind, name)
        self.add(kind, short)
        if domain.count(b".") or b"." in domain.strip(b"."):
            self.add(kind, domain)

    def add_if_certain(self, kind: str, name: bytes) -> None:
        """A name that may be an ordinary word: taken in only where it is none, with digits or letters beyond ASCII."""
        if IDENTIFIER.fullmatch(name) or not name.isascii():
            self.add(kind, name)

    def add_home(self, path: bytes) -> None:
        """A home directory: its last component is a user, and so is what lies beside it."""
        parts = tuple(part for part in path.split(b"/") if part)
        if not path.startswith(b"/") or len(parts) < 2 or parts[-1] in NOT_NAMES:
            return
        self.add("user", parts[-1])
        self.homes.add(parts)
        parent = parts[:-1]
        if (
            parent not in path_owners.ROOTS
            and parent[-1] not in STRUCTURE
            and parent[0] not in path_owners.SYSTEM | path_owners.ELSEWHERE
        ):
            self.roots.setdefault(parent, "home")

    def add_forced(self, name: bytes) -> None:
        """A name that was asked for; with its spelling in JSON and in reports where that differs."""
        self.known[name] = self.known.get(name, "name")
        self.forced.add(name)

    def is_everywhere(self, name: bytes) -> bool:
        """Whether a name is replaced wherever it stands as a word, not only in its place."""
        if name in self.forced:
            return name not in STRUCTURE
        small = name.lower()
        return (
            len(name) >= MIN_LETTERS.get(self.known.get(name, ""), MIN_LETTERS_ELSE)
            and small not in STRUCTURE
            and small not in ORDINARY
            # letters with digits are hardly ever a word, even where a directory of the system is called so
            and (small not in self.ordinary or IDENTIFIER.fullmatch(name) is not None)
        )

    def only_in_place(self) -> list[bytes]:
        """The names that are ordinary words too."""
        return sorted(name for name in self.known if not self.is_everywhere(name))


MAX_NAME_BYTES = 255
"""A longer name no filesystem has, and no host (NAME_MAX, HOST_NAME_MAX); where one stands in its place it is replaced there."""


def from_environment(names: Names, environment: Mapping[str, str]) -> None:
    """Take in what the variables of a shell say of its user, projects and host."""
    for name in ("USER", "LOGNAME", "SLURM_JOB_USER", "SUDO_USER", "PBS_O_LOGNAME"):
        names.add("user", environment.get(name, "").encode("utf-8", "surrogateescape"))
    for name in ("SLURM_JOB_ACCOUNT", "SBATCH_ACCOUNT", "SALLOC_ACCOUNT", "SLURM_ACCOUNT", "PBS_ACCOUNT", "PROJECT"):
        value = environment.get(name, "").encode("utf-8", "surrogateescape")
        names.add("project", value.rpartition(b"/")[2])
    for name, kind in SCHEDULER.items():
        names.add_if_certain(kind, environment.get(name, "").encode("utf-8", "surrogateescape").partition(b"@")[0])
    for name in ("HOSTNAME", "SLURMD_NODENAME", "SLURM_SUBMIT_HOST", "PBS_O_HOST", "PBS_SERVER", "LSB_SUB_HOST"):
        names.add_host(environment.get(name, "").encode("utf-8", "surrogateescape"))
    names.add_home(environment.get("HOME", "").encode("utf-8", "surrogateescape"))
