"""Requests: what a client that knows nothing yet asks a file server for when a program runs as it did.

A call is not a request: attributes come with a lookup, what is known is not asked for again, and one path can take
several lookups. The model walks the run's paths through a client's cache of names. What existed and what it was it takes
from the results of the run's own calls and from what the recorder looked up right after the run, never from the filesystem
at the time of analysis.

    model = RequestModel(mounts, lookups)
    for row in rows: model.fold(row)
    requests = model.count()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fsprobe.analysis.attribution.attribute import NO_IMPORT, Attributed
from fsprobe.analysis.requests import changes, looked_up
from fsprobe.analysis.requests import dentries as place_of
from fsprobe.analysis.requests.clients.protocol import Protocol, of_mount
from fsprobe.analysis.requests.clients.served_tree import ServedTree, make_clients
from fsprobe.analysis.requests.dentries import DIRECTORY, FILE, LINK, MISSING, SOME, UNKNOWN, Place
from fsprobe.analysis.requests.name_tree import Tree
from fsprobe.analysis.requests.observed import COUNT, LEARN, LINKS
from fsprobe.analysis.requests.rows import CAVEAT, FIELDS, RequestCounts, Requests, reaches_server
from fsprobe.analysis.requests.steps import (
    CREATE,
    DESCRIBE,
    EXCLUSIVE,
    EXECUTE,
    HARD_LINK,
    IS_DIRECTORY,
    LIST_IT,
    LOOK,
    MAKE,
    NO_FOLLOW,
    OPEN_IT,
    PATH_ONLY,
    READ_LINK,
    REMOVE,
    WRITE_ONLY,
    Step,
    Steps,
    keep_status,
    tells_of_links,
)
from fsprobe.model.events import Call, Mount, plain
from fsprobe.model.formats import text

__all__ = ["CAVEAT", "RequestCounts", "RequestModel", "Requests"]

READ_BYTES = 131_072
"""What a client reads ahead at once (the kernel's default read_ahead_kb, 128)."""
SINCE_EPOCH_NS = 10**17
"""Times after this one are of the day (it is in 1973), those before it since the run began."""
MAX_LINK_PASSES = 6
MAX_PROGRAMS = 7
"""Scripts whose interpreter is a script: the kernel opens six interpreters and gives up (ELOOP)."""


class RequestModel:
    """Takes a run's calls in their order, then counts; counting may be repeated with calls left out.

    All processes are taken to run on one node, behind one cache: names, listings and links are asked for once per node,
    opens once per successful call.

    Args:
        mounts: the target's mount table.
        lookups: what the recorder looked up right after the run (`capture.lookups.collect`).
        cwd: where the run began: known to the client before it.
        kernel: the node's release, as `uname -r` says it.
        keeps_order: whether `serve` may come: where a mount is counted by its own client's rules, it matters when each call was.
    """

    def __init__(
        self,
        mounts: Iterable[Mount],
        lookups: Mapping[str, Any] | None = None,
        cwd: bytes | None = None,
        kernel: str = "",
        *,
        keeps_order: bool = True,
    ) -> None:
        self._lookups = lookups or {}
        mounts = list(mounts)
        self._network = {mount.path: mount.fstype for mount in mounts if mount.fs_class == "network"}
        self._protocols = {mount.path: of_mount(mount, kernel) for mount in mounts}
        self.taken = Steps(keeps_order=keeps_order or self.needs_order)
        # clients are in the way where no mount is, or may be, counted by its own client's rules
        self._served = ServedTree(mounts, self._ask) if self.taken.keeps_order else None
        self._tree = Tree(mounts, self._ask) if self._served is None else self._served
        if cwd is not None and cwd[:1] == b"/":
            self._tree.pin(cwd)
        self._programs = {
            plain(os.fsencode(path)): os.fsencode(found)
            for path, found in self._lookups.get("programs", {}).items()
            if found
        }
        self.sizes: dict[bytes, tuple[int, int]] = {}
        """Kind and bytes of opened files, as their fstat told."""
        self._is_learned = self._guesses = False
        self._in_order: ServedTree | None = None  # the tree, while calls are played in their order
        self._requests = Requests()
        self._caller = NO_IMPORT
        self._opened: dict[Place, None] = {}

    # -- taking in --------------------------------------------------------------------------------------------------

    def fold(self, row: Attributed) -> None:
        """Take in one attributed call; fsprobe's own ask for nothing."""
        if not row.own:
            self.taken.add(row.call, row.module)

    def add(self, call: Call, module: str = NO_IMPORT) -> None:
        """Take in one call."""
        self.taken.add(call, module)

    def add_status(self, tid: int, t_ns: int | None, args: bytes) -> None:
        """Take in the status of an open descriptor, which is no call of the log's events."""
        keep_status(self.sizes, args)
        self.taken.describe(tid, t_ns, args)

    @property
    def on_status(self) -> Callable[[int, int | None, bytes], None] | None:
        """Who is to be told of statuses of open descriptors that tell no size; None where they ask for nothing."""
        return self.add_status if self.taken.keeps_order else None

    def serve(self, protocols: Mapping[bytes, Protocol]) -> None:
        """Count these mounts (mount point -> protocol) by another protocol's rules than their own from now on.

        The model was made with `keeps_order`, before it took in any call.
        """
        assert self.taken.keeps_order
        self._protocols.update(protocols)

    @property
    def needs_order(self) -> bool:
        """Whether a mount is counted by its own client's rules: then each call counts, repeated ones too, and when it was."""
        return bool(make_clients(self._protocols, self._ask_by_name))

    # -- counting ---------------------------------------------------------------------------------------------------

    def count(self, leave_out: Callable[[bytes], bool] | None = None) -> Requests:
        """Count what a cold client asks.

        Args:
            leave_out: tells of a path, as the program named it, whether calls for it shall count as not made: what a
                run without them would ask. What existed stays as the whole run showed it.
        """
        if not self._is_learned:
            self._learn()
            self._is_learned = True
        self._requests = Requests(n_unplaced=self.taken.n_unplaced)
        self._opened = {}
        self._requests.name_standing_in(self._protocols, self._network)
        tree, served = self._tree, self._served
        if served is not None:
            served.clients = make_clients(self._protocols, self._ask_by_name)
        tree.begin(COUNT)
        if served is not None and served.clients:
            return self._count_in_order(served, leave_out)
        for number, step in enumerate(self.taken.steps, 1):
            if step.action == DESCRIBE or (leave_out is not None and leave_out(step.path)):
                continue
            tree.step_number = number
            self._caller = next(iter(step.callers))
            self._play(step)
        return self._requests

    def _count_in_order(self, tree: ServedTree, leave_out: Callable[[bytes], bool] | None) -> Requests:
        """Count by each mount's own client: the run on fresh mounts, and what it asks once more at once."""
        cold = self._requests
        end_s = self._play_in_order(tree, leave_out, 0.0)
        uncertain = {path: dict(client.not_predictable) for path, client in tree.clients.items()}
        warm, steady = Requests(), Requests()
        for further in (warm, steady):
            self._requests, self._opened = further, {}
            tree.begin_again()
            end_s = self._play_in_order(tree, leave_out, end_s + 1)
            for path, client in tree.clients.items():
                uncertain[path].update(client.not_predictable)
        self._requests = cold
        cold.add_further(warm, steady, {text(path): self._protocols[path] for path in tree.clients}, uncertain)
        return cold

    def _play_in_order(self, tree: ServedTree, leave_out: Callable[[bytes], bool] | None, later_s: float) -> float:
        """Play each call, repeated ones too: what is known may have to be asked for again. Returns when it ended, in s."""
        steps = self.taken.steps
        self._in_order = tree
        # a log may tell the time of day; the same run once more begins when the last one has ended all the same
        first_ns = min((t_ns for t_ns in self.taken.times_ns if t_ns >= 0), default=0)
        begin_ns = first_ns if first_ns > SINCE_EPOCH_NS else 0
        for t_ns, number, tid, module in self.taken.in_order():
            step = steps[number]
            if leave_out is not None and leave_out(step.path):
                continue
            tree.step_number = number + 1
            self._caller = module
            tree.begin_call(step, later_s + max(0, t_ns - begin_ns) / 1e9, tid)
            self._play(step)
        self._in_order = None
        return tree.visit.now_s

    def forget(self) -> None:
        """Let go of what was learned, once all was counted; there is no counting after this."""
        self._tree.forget()
        self._opened = {}
        del self._tree, self._served  # they call back, so each holds the other

    def _learn(self) -> None:
        tree, self._guesses = self._tree, False
        telling = [(number, step) for number, step in enumerate(self.taken.steps, 1) if tells_of_links(step)]
        for _ in range(MAX_LINK_PASSES):
            before = tree.n_links_learned
            tree.begin(LINKS)
            for number, step in telling:
                tree.step_number = number
                self._play(step)
            looked_up.apply(tree, self._lookups)
            if tree.n_links_learned == before:
                if self._guesses:
                    break
                self._guesses = True  # only what nobody has said
        tree.begin(LEARN)
        for number, step in enumerate(self.taken.steps, 1):
            tree.step_number = number
            self._play(step)
        looked_up.apply(tree, self._lookups)

    # -- one step ---------------------------------------------------------------------------------------------------

    def _play(self, step: Step) -> None:
        action = step.action
        if action == DESCRIBE:
            if self._in_order is not None:
                self._in_order.ask_of(step, self._in_order.learn_plain(step.path))
            return
        if action == LOOK:
            self._look(step)
        elif action == OPEN_IT:
            self._open(step)
        elif action == READ_LINK:
            self._read_link(step)
        elif action == LIST_IT:
            if step.listing is not None:
                place = self._tree.learn_plain(step.path)
                self._tree.learn_kind(place, DIRECTORY)
                self._tree.list(place, step.listing)
        elif action == EXECUTE:
            self._execute(step)
        elif action == MAKE:
            changes.make(self._tree, step)
        elif action == HARD_LINK:
            changes.hard_link(self._tree, step)
        elif action == REMOVE:
            changes.remove(self._tree, step)
        else:
            changes.rename(self._tree, step)

    def _look(self, step: Step) -> None:
        place = self._tree.walk(step.path, step.error, follow=not step.flags & NO_FOLLOW)
        if self._in_order is not None and place is not None:
            self._in_order.ask_of(step, place)
        if place is None or step.error or step.kind == UNKNOWN:
            return
        if step.kind == LINK:
            self._tree.learn_link(place, None)
        else:
            self._tree.learn_kind(place, step.kind)
            if step.size is not None:
                place.size = max(step.size, place.size or 0)

    def _read_link(self, step: Step) -> None:
        place = self._tree.walk(step.path, step.error, follow=False)
        if place is not None and not step.error:
            self._tree.learn_link(place, step.second)
            self._tree.read_link(place)

    def _open(self, step: Step) -> None:
        tree, flags, error = self._tree, step.flags, step.error
        creates = bool(flags & CREATE) and not flags & PATH_ONLY
        afresh = creates and bool(flags & EXCLUSIVE)
        if creates and step.path.endswith(b"/"):
            tree.directory(step.path.rstrip(b"/").rpartition(b"/")[0], error)
            return
        follow = not (flags & NO_FOLLOW or afresh)
        place = tree.walk(step.path, error, follow=follow, is_open=True, creates=creates, afresh=afresh)
        if error:
            return
        resolved = step.second
        if resolved is not None and (place is None or place.path != resolved) and resolved[:1] == b"/":
            place = self._resolve(place, step.path, resolved)
        if place is None or flags & PATH_ONLY:
            return
        if creates and tree.mode != LINKS and (place.kind == MISSING or afresh):
            made = tree.bind(place, FILE)
            tree.change(place.parent, made)
            return
        if flags & IS_DIRECTORY:
            tree.learn_kind(place, DIRECTORY)
        elif place.kind in (UNKNOWN, SOME):
            found = self.sizes.get(place.path)
            tree.learn_kind(place, found[0] if found is not None else SOME)
        if tree.mode == COUNT:
            self._count_opens(step, place)

    def _resolve(self, place: Place | None, asked: bytes, resolved: bytes) -> Place | None:
        """An open led elsewhere than the walk: there is a link that no call showed."""
        tree = self._tree
        if resolved.startswith((b"/proc/", b"/dev/")) or resolved.endswith(b" (deleted)"):
            return place
        real = tree.learn_plain(resolved)
        if self._guesses and tree.mode == LINKS and place is None:
            link = tree.walk(asked, "", follow=False)
            if link is not None and link.kind == LINK and link.target is None:
                tree.learn_link(link, resolved)
        if self._guesses and tree.mode == LINKS and place is not None and b"/.." not in asked:
            left, right = place, real
            while left.name == right.name and left.parent is not None and right.parent is not None:
                left, right = left.parent, right.parent
            if left.kind != DIRECTORY and right.path != left.path:
                tree.learn_link(left, right.path)
        return real

    def _count_opens(self, step: Step, place: Place) -> None:
        if self._in_order is not None:
            self._tree.open(place, 1)
        else:
            first = self._caller
            for module, n in step.callers.items():
                self._caller = module
                self._tree.open(place, n)
            self._caller = first
        if place.kind in (FILE, SOME, UNKNOWN) and not step.flags & WRITE_ONLY and place not in self._opened:
            self._opened[place] = None
            size = max(place.size or 0, self.sizes.get(place.path, (0, 0))[1])
            if place.size is None and place.path not in self.sizes:
                self._ask(place_of.UNREAD, place, 1)
            else:
                self._ask(place_of.READ, place, max(1, -(-size // READ_BYTES)))

    def _execute(self, step: Step) -> None:
        # the kernel opens the program, then what the program names: a script's interpreter, an ELF file's ld.so
        path, error = step.path, step.error
        walks_twice = any(protocol.walks_programs_twice for protocol in self._protocols.values())
        for number in range(MAX_PROGRAMS):
            place = self._tree.walk(path, error, follow=True, is_exec=True)
            if self._in_order is not None and not number and not error and walks_twice:
                self._in_order.walk_again(path)
            if place is None or place.kind not in (FILE, SOME, UNKNOWN):
                return
            following = self._programs.get(path) or self._programs.get(place.path)
            if error and not (
                place.kind != UNKNOWN and (error == "ENOENT" or (error in ("EACCES", "ELOOP") and following))
            ):
                return  # else it was opened, and what is missing or denied is the interpreter that it names
            self._tree.learn_kind(place, FILE)
            if self._tree.mode == COUNT:
                self._count_opens(step, place)
            if following is None:
                return
            path = following

    # -- the result -------------------------------------------------------------------------------------------------

    def _ask(self, what: int, place: Place, n: int) -> None:
        """A request by FUSE's rules: each process opens for itself, all else is asked for once a node."""
        again = n if what in (place_of.OPEN, place_of.OPENDIR) else 0
        for row in self._rows_of(place):
            name = FIELDS[what]
            setattr(row, name, getattr(row, name) + n)
            row.again += again

    def _ask_by_name(self, operation: str, column: int, place: Place, n: int) -> None:
        """A request of a client that counts it by its own name."""
        name = FIELDS[column]
        for row in self._rows_of(place):
            setattr(row, name, getattr(row, name) + n)
            if operation:
                row.operations[operation] = row.operations.get(operation, 0) + n

    def _rows_of(self, place: Place) -> tuple[RequestCounts, ...]:
        """The rows that a request about a place belongs to: its path's, and its module's where it leaves the node."""
        requests = self._requests
        row = requests.per_path.get(place.path)
        if row is None:
            row = requests.per_path[place.path] = RequestCounts()
            requests.mount_of[place.path] = place.mount
        if not reaches_server(place.mount):
            return (row,)
        module = requests.per_module.get(self._caller)
        if module is None:
            module = requests.per_module[self._caller] = RequestCounts()
        return row, module
