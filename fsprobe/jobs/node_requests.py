"""What the ranks of a node, and all nodes of a job, ask file servers for: what they share is asked for once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from fsprobe.analysis.requests.rows import NOT_KNOWN, RequestCounts, Requests, Served, reaches_server
from fsprobe.model.events import Mount
from fsprobe.model.formats import text

Key = TypeVar("Key")
MountKey = tuple[str, str | None, str | None]
"""Mount point, class, type: nodes may have different filesystems at one place."""


@dataclass(slots=True)
class SharedPath:
    """What the ranks of a node ask about one path of an NFS or a Lustre mount.

    The first rank asks for everything, the second for what a second process asks, each further one for what a third does. An
    NFS client keeps rights by user (Linux: fs/nfs/dir.c, nfs_access_get_cached), so whoever comes as another user asks for
    them once more. The parts add in any grouping.
    """

    two: list[RequestCounts] = field(default_factory=list)
    """Of the first rank and the second one."""
    rest: RequestCounts = field(default_factory=RequestCounts)
    """What the ranks after those ask."""
    users: dict[int | None, int] = field(default_factory=dict)
    """User, in the order in which they came -> rights that the client needs for one."""

    def join(self, row: RequestCounts, user: int | None) -> None:
        """Let another rank in."""
        self.users.setdefault(user, n_rights(row))
        self._take(row)

    def add(self, other: SharedPath) -> None:
        """Let other ranks in, which are joined already."""
        for row in other.two:
            self._take(row)
        self.rest.add(other.rest)
        for user, n in other.users.items():
            self.users.setdefault(user, n)

    def _take(self, row: RequestCounts) -> None:
        if len(self.two) < 2:
            self.two.append(row)
        elif row.steady is not None:
            self.rest.add(row.steady)

    def total(self) -> RequestCounts:
        """What all ranks ask together, with the further ones' share (`again`, `settling`) as the first rank's has it."""
        total = self.two[0].times(1)
        for second in self.two[1:]:
            if second.further is not None:
                total.add(second.further)
        total.add(self.rest)
        n_further = sum(list(self.users.values())[1:])
        if n_further:
            total.add(RequestCounts(other=n_further, operations={RIGHTS: n_further}))
        return total


RIGHTS = "ACCESS"


def n_rights(row: RequestCounts) -> int:
    """How often rights on a path are asked for when the first process of a user comes to a node.

    NFS 4 has them with its first OPEN (fs/nfs/nfs4proc.c, nfs4_opendata_access); another user opens a file that is lent
    without asking for more than them (nfs_may_open).
    """
    n = row.operations.get(RIGHTS, 0)
    return n or (1 if "OPEN" in row.operations and row.open and "CLOSE" in row.operations else 0)


@dataclass(slots=True)
class NodeRequests:
    """What one node asks the file servers for, all its ranks together: by real path.

    Two ranks that need the same name ask for it once, so by FUSE's rules a path's shared requests are the most that any rank
    alone would make; its opens are the sum. That is what one client asks while it keeps what it has once asked for; where ranks
    change each other's files it is a lower bound.
    """

    per_path: dict[bytes, RequestCounts] = field(default_factory=dict)
    """By FUSE's rules."""
    shared: dict[bytes, SharedPath] = field(default_factory=dict)
    """By those of NFS and Lustre."""
    mount_of: dict[bytes, Mount | None] = field(default_factory=dict)
    n_unplaced: int = 0
    served: dict[str, Served] = field(default_factory=dict)
    """Mount point -> by whose rules it was counted; see `Requests.served`."""
    _again: dict[int, tuple[Requests, int]] = field(default_factory=dict)
    """By identity: what a rank asks for that is joined, and how many further ones ask for just the same, who are not joined yet."""

    def join(self, requests: Requests, user: int | None = None) -> None:
        """Let another rank of this node in.

        Args:
            requests: what it would ask alone.
            user: its number; None where nobody knows.
        """
        self.n_unplaced += requests.n_unplaced
        known = self._again.get(id(requests))
        if known is not None:
            self._again[id(requests)] = requests, known[1] + 1
            return
        has_clients = False
        join_served(self.served, requests.served)
        for path, row in requests.per_path.items():
            self.mount_of.setdefault(path, requests.mount_of[path])
            if row.further is not None or row.operations:
                self.shared.setdefault(path, SharedPath()).join(row, user)
                has_clients = True  # then it counts whose rank it is
            else:
                self._join(path, row)
        if not has_clients:
            self._again[id(requests)] = requests, 0

    def settle(self) -> None:
        """Join those who ask for just what another one does: what they share is asked for, what each opens it opens again."""
        for requests, n in self._again.values():
            for path, row in requests.per_path.items() if n else ():
                joined = self.per_path[path]
                joined.open += n * row.open
                joined.opendir += n * row.opendir
                joined.change += n * row.change
        self._again = {}

    def add(self, other: NodeRequests) -> None:
        """Let other ranks of this node in, which are joined already."""
        self.settle()
        other.settle()
        join_served(self.served, other.served)
        self.n_unplaced += other.n_unplaced
        for path, mount in other.mount_of.items():
            self.mount_of.setdefault(path, mount)
        for path, row in other.per_path.items():
            self._join(path, row)
        for path, shared in other.shared.items():
            self.shared.setdefault(path, SharedPath()).add(shared)

    def _join(self, path: bytes, row: RequestCounts) -> None:
        joined = self.per_path.get(path)
        if joined is None:
            joined = self.per_path[path] = RequestCounts()
        joined.lookup = max(joined.lookup, row.lookup)
        joined.negative = max(joined.negative, row.negative)
        joined.readdir = max(joined.readdir, row.readdir)
        joined.readlink = max(joined.readlink, row.readlink)
        joined.read = max(joined.read, row.read)
        joined.unread = max(joined.unread, row.unread)
        joined.again = max(joined.again, row.again)
        joined.open += row.open
        joined.opendir += row.opendir
        joined.change += row.change

    def rows(self) -> Iterator[tuple[bytes, RequestCounts]]:
        """Path and what is asked about it, by whosever rules."""
        self.settle()
        yield from self.per_path.items()
        for path, shared in self.shared.items():
            yield path, shared.total()


def join_served(into: dict[Key, Served], other: Mapping[Key, Served]) -> None:
    """What is not predictable for one is not for all."""
    for key, one in other.items():
        known = into.get(key)
        reasons = {**one.not_predictable, **(known.not_predictable if known is not None else {})}
        into[key] = Served(protocol=one.protocol if known is None else known.protocol, not_predictable=reasons)


@dataclass(slots=True)
class JobRequests:
    """What all nodes ask for, of those of which nothing more will come."""

    nodes: dict[str, RequestCounts] = field(default_factory=dict)
    """Of each node what leaves it."""
    by_clients: dict[str, RequestCounts] = field(default_factory=dict)
    """The part of that by the rules of NFS and Lustre."""
    by_mount: dict[MountKey, RequestCounts] = field(default_factory=dict)
    served: dict[MountKey, Served] = field(default_factory=dict)
    """Of such a mount, by whose rules it was counted."""
    requests: Requests = field(default_factory=Requests)
    """Of all of them, by path."""

    def close(self, node: str, asked: NodeRequests) -> None:
        """Add what a node asks for, all its ranks joined."""
        at_servers = self.nodes[node] = RequestCounts()
        by_clients = self.by_clients[node] = RequestCounts()
        self.requests.n_unplaced += asked.n_unplaced
        seen: set[MountKey] = set()
        for path, row in asked.rows():
            mount = asked.mount_of[path]
            if reaches_server(mount):
                at_servers.add(row)
                if path in asked.shared:
                    by_clients.add(row)
            key: MountKey = (
                (text(mount.path), mount.fs_class, mount.fstype) if mount is not None else (NOT_KNOWN, None, None)
            )
            self.by_mount.setdefault(key, RequestCounts()).add(row)
            if key not in seen and key[0] in asked.served:
                join_served(self.served, {key: asked.served[key[0]]})
            seen.add(key)
            self.requests.per_path.setdefault(path, RequestCounts()).add(row)
            self.requests.mount_of.setdefault(path, mount)

    def add(self, other: JobRequests) -> None:
        """Add what other nodes ask for."""
        self.nodes.update(other.nodes)
        self.by_clients.update(other.by_clients)
        self.requests.n_unplaced += other.requests.n_unplaced
        join_served(self.served, other.served)
        for key, row in other.by_mount.items():
            self.by_mount.setdefault(key, RequestCounts()).add(row)
        for path, row in other.requests.per_path.items():
            self.requests.per_path.setdefault(path, RequestCounts()).add(row)
            self.requests.mount_of.setdefault(path, other.requests.mount_of[path])
