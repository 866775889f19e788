"""Names in a log that it leaves open: is this a link, is that directory missing, what does the kernel open for a program?

A descriptor's path in the log (`3</usr/lib/x>`) proves every directory in it to be a plain one. What is not proven so is
looked at, once, right after the run: the links under whose names files were opened, the directories of names that were
missing, what failed for another reason than that it is missing. That is what `analysis.requests` needs to walk a path as the
kernel did. Source files are not looked at (there are too many; they are what their .pyc is), nor are missing modules and
libraries (probes, hardly ever dangling links).

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import re

from fsprobe import files
from fsprobe.capture.lookups import starts
from fsprobe.capture.lookups.starts import Budget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

MAX_PLACES = 160
MAX_PROVEN = 200
_LIBRARIES = (b"/lib/", b"/lib64/")
_MARKERS = (b"fsprobe!", b"fsprobe>")
_SKIPPED = (b"/proc/", b"/dev/", b"/sys/")
_PROBE = re.compile(rb"\.(?:so|py|pyc|pyd|pth|_pth|zip|cfg)(?:\.[0-9.]*)?$")


def look(data: "bytes", budget: "Budget", known: "dict[str, str | None] | None" = None) -> "dict[str, Any]":
    """Look at the names that a log leaves open; see `lookups.collect` for the result and for `known`."""
    log = Names(data)
    links = dict(known or {})  # type: dict[str, str | None]
    found = Found(links)
    programs = {}  # type: dict[str, str | None]
    sizes = {}  # type: dict[str, int]
    queue = list(log.programs)[: starts.MAX_PROGRAMS]
    budget.n_left += max(0, len(log.programs) - starts.MAX_PROGRAMS)
    starts.look_at_programs(queue, programs, sizes, budget)
    for place in log.proven_directories():
        links[os.fsdecode(place)] = None
    for path in sizes:
        found.regular.add(path)
        log.note_found(os.fsencode(path))
    for path in list(sizes):
        found.regular.update(map(os.fsdecode, log.behind(os.fsencode(path))))
    found.look_at(log.doubtful(queue), log, budget)
    # a script that could not be started for want of its interpreter was opened all the same
    queue = [path for path in log.failed_programs if os.fsdecode(path) in links][: starts.MAX_PROGRAMS - len(programs)]
    starts.look_at_programs(queue, programs, sizes, budget)
    found.look_at(log.in_doubt((path, True) for path in queue), log, budget)
    return {"links": links, "missing": found.missing, "files": found.files, "programs": programs, "sizes": sizes}


class Found:
    """What was found at the names that were looked at."""

    def __init__(self, links: "dict[str, str | None]", regular: "Iterable[str]" = ()) -> "None":
        self.links = links
        self.own = tuple(os.fsencode(path) + b"/" for path, target in links.items() if target is None)
        """Directories that fsprobe made itself: in them nobody else puts a link."""
        self.regular = set(regular)
        """Names of which it is known that they lead to files."""
        self.missing = []  # type: list[str]
        self.files = []  # type: list[str]
        self.ends = set()  # type: set[bytes]
        """Names with nothing below them."""
        self.n_places = 0
        self._targets = {}  # type: dict[bytes, bytes]
        """Of links: by their names without links above them."""
        self._real = {}  # type: dict[bytes, bytes]
        """Directories -> the same without links in their names, as far as these were looked at."""
        for path in sorted(links, key=len):
            target = links[path]
            if target is not None:
                self._note_target(self._located(os.fsencode(path)), os.fsencode(target))

    def look_at(self, places: "Iterator[bytes]", log: "Names", budget: "Budget") -> "None":
        """Look at places, each after those above it; at most `MAX_PLACES` in all."""
        for name in places:
            # below a link lies what lies where it leads: an environment behind one is proven by where its files were opened
            place = self._located(name)
            if place != name and (place in log.plain or place in log.files):
                continue
            text = os.fsdecode(place)
            if text in self.links or place in self.ends or place in self._targets:
                continue
            if os.path.dirname(place) in self.ends:
                self.ends.add(place)
                continue
            names = (name,) if place == name else (name, place)
            if place != name and os.fsdecode(name) in self.regular:
                self.regular.add(text)
            is_above = any(map(log.is_above, names))
            read = [log.read[each] for each in names if each in log.read]
            if read:
                target = read[0]
            elif name.startswith(self.own) and (is_above or any(each in log.found for each in names)):
                target = None
            elif self.n_places >= MAX_PLACES:
                budget.n_left += 1
                continue
            else:
                self.n_places += 1
                budget.n_calls += 1
                try:
                    target = os.readlink(place)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        self.ends.add(place)
                        self.missing.append(text)
                        continue
                    target = None
            if target is not None:
                self.links[text] = os.fsdecode(target)
                self._note_target(place, target)
                following = log.follow(place, target, is_above)
                if text in self.regular:
                    self.regular.add(os.fsdecode(following))
                continue
            self.links[text] = None
            if not is_above and not self._is_directory(place, budget):
                self.files.append(text)
                self.ends.add(place)

    def _note_target(self, place: "bytes", target: "bytes") -> "None":
        self._targets[place] = target
        self._real.clear()

    def _located(self, name: "bytes") -> "bytes":
        """A name in the directory that what stands above it leads to, as far as links were looked at; with dots as it is."""
        directory, _, last = name.rpartition(b"/")
        if not directory or not self._targets or b"/." in name:
            return name
        real = self._real.get(directory)
        if real is None:
            real = self._real[directory] = self._resolved(directory)
        return real + b"/" + last

    def _resolved(self, path: "bytes") -> "bytes":
        """A path with the known links in it followed, as the kernel does; one with too many of them as it is."""
        here, left, n_links = b"", path.split(b"/")[::-1], 0
        while left:
            name = left.pop()
            if name == b"..":
                here = here.rpartition(b"/")[0]
            elif name not in (b"", b"."):
                target = self._targets.get(here + b"/" + name)
                if target is None:
                    here += b"/" + name
                    continue
                n_links += 1
                if n_links > files.MAX_LINKS:
                    return path
                here = b"" if target[:1] == b"/" else here
                left.extend(target.split(b"/")[::-1])
        return here

    def _is_directory(self, place: "bytes", budget: "Budget") -> "bool":
        if os.fsdecode(place) in self.regular or place.startswith(self.own):
            return False
        budget.n_calls += 1
        return is_directory(place)


def is_directory(place: "bytes") -> "bool":
    """Whether a name that is no link names a directory.

    Neither this nor reading a link asks a file server for attributes: a client of NFS has the name and its kind, but
    believes their attributes for 3 s, so that an lstat of each name would be a request each (Linux: fs/nfs/inode.c,
    nfs_getattr). A name with a slash after it is looked up as a directory, and only one is (path_resolution(7)).
    """
    try:
        os.readlink(place + b"/")
    except OSError as error:
        return error.errno != errno.ENOTDIR
    return True


class Names:
    """The names in a log, by what it proves of them."""

    def __init__(self, data: "bytes") -> "None":
        self.plain = set()  # type: set[bytes]
        self.led = {}  # type: dict[bytes, bytes]
        self.found = {}  # type: dict[bytes, None]
        self.missed = {}  # type: dict[bytes, bool]
        self.opened = {}  # type: dict[bytes, None]
        self.described = set()  # type: set[bytes]
        self.read = {}  # type: dict[bytes, bytes | None]
        """Names that the run read as links itself: with their targets, None for one that is no link."""
        self.shown = set()  # type: set[bytes]
        """Names of which a call of the run says that they are no links."""
        self.failed_programs = {}  # type: dict[bytes, None]
        self.targets = []  # type: list[bytes]
        self.programs = {}  # type: dict[bytes, None]
        self.directories = directories = set()  # type: set[bytes]
        self._above = set()  # type: set[bytes]
        first = _cwd()
        working = {}  # type: dict[bytes, bytes]
        seen = set()  # type: set[bytes]
        for line in data.split(b"\n"):
            head, _, rest = line.partition(b'"')
            path, quote, tail = rest.partition(b'"')
            if not quote or path[-1:] == b"\\":
                if b" fchdir(" in line and line.find(b"</") > 0:
                    working[line[: line.find(b" ")]] = line[line.find(b"</") + 1 : line.find(b">")]
                continue
            if b" resumed>" in head:
                continue  # what the kernel has given back, such as an xattr's value: paths stand where the call begins
            if not path:
                self.described.add(head[head.rfind(b"<") + 1 : -3])
                continue
            is_missed = b" = -1 E" in tail or tail[-4:] == b"...>"  # unfinished: nobody knows
            is_link = b"link" in head and b"readlink" not in head and b"unlink" not in head
            if is_link or b" rename" in head or b" unlink" in head or b" rmdir(" in head:
                self.read.clear()  # what was read may be something else by now
            if is_link or b" rename" in head:
                second = tail.split(b'"', 2)[1:2]
                if b" symlink" in head:
                    path = second[0] if second else path
                elif second and second[0][:1] == b"/":
                    if is_missed:
                        self.missed.setdefault(second[0], is_link)
                    else:
                        self.found[second[0]] = None
            directory = b""
            if head[-3:] == b">, ":
                directory = head[head.rfind(b"<") + 1 : -3]
                if directory not in directories:
                    directories.add(directory)
                    self._prove(directory)
                if head[-len(directory) - 12 : -len(directory) - 3] == b"AT_FDCWD<":
                    working[head[: head.find(b" ")]] = directory
            if path[:1] != b"/":
                if path.startswith(_MARKERS):
                    continue
                directory = directory or working.get(head[: head.find(b" ")], b"") or first
                if directory[:1] != b"/":
                    continue
                path = directory + b"/" + path
            if head[-6:] == b"chdir(" and not is_missed:
                working[head[: head.find(b" ")]] = path
            if b"open" in head and not is_missed and path not in self.led:
                at = tail.find(b"= ")
                resolved = tail[tail.find(b"<", at) + 1 : tail.find(b">", at)]
                if resolved[:1] == b"/":
                    self.led[path] = resolved
                    self._prove(os.path.dirname(resolved))
            if b"readlink" in head:
                self._note_link(path, tail)
            is_exec = head[-7:] == b"execve("
            if is_missed:
                # what failed for another reason than that it is missing is there, and may be a link
                is_there = b" = -1 " in tail and b" = -1 ENOENT" not in tail
                self.missed[path] = self.missed.get(path, False) or is_link or is_there
                if is_exec:
                    self.failed_programs[path] = None
                continue
            if b"_mode=S_IF" in tail and (b"NOFOLLOW" in tail or head[-6:] == b"lstat(") and b"S_IFLNK" not in tail:
                self.shown.add(path)
            if path in seen and not is_exec:
                continue
            seen.add(path)
            self.found[path] = None
            if b"readlink" in head:
                self.follow(path, tail.split(b'"', 2)[1] if tail.count(b'"') == 2 else b"/")
            if is_exec:
                self.programs[path] = None
            if b"open" in head and b"O_DIRECTORY" not in tail and b"." not in os.path.basename(path):
                self.opened[path] = None
        self.files = self.shown.union(self.led.values())
        for path in self.found:
            self.note_found(path)

    def note_found(self, path: "bytes") -> "None":
        """Something is there: what stands above it in its name leads to directories."""
        while len(path) > 1:
            path = os.path.dirname(path)
            if path in self._above:
                break
            self._above.add(path)

    def behind(self, path: "bytes") -> "Iterator[bytes]":
        """What a name leads to, as far as the run read the links itself."""
        for _ in range(files.MAX_LINKS):
            target = self.read.get(path)
            if target is None:
                break
            path = os.path.join(os.path.dirname(path), target)
            yield path

    def is_above(self, place: "bytes") -> "bool":
        """Whether something was found below a name: then it leads to a directory."""
        return place in self._above

    def _prove(self, place: "bytes") -> "None":
        while len(place) > 1 and place not in self.plain:
            self.plain.add(place)
            place = os.path.dirname(place)

    def proven_directories(self) -> "list[bytes]":
        """What other paths started from: directories, whether or not a call says so."""
        found = {self.led[path] for path in self.opened if self.led.get(path) in self.plain} | self.directories
        return sorted(path for path in found if path[:1] == b"/")[:MAX_PROVEN]

    def _note_link(self, path: "bytes", tail: "bytes") -> "None":
        words = tail.rpartition(b"= ")[2].split()
        target = tail.split(b'"', 2)[1] if tail.count(b'"') == 2 else b""
        if words[:2] == [b"-1", b"EINVAL"]:
            self.read[path] = None
        elif target and b"\\" not in target and words[:1] == [b"%d" % len(target)]:  # else a log may have cut it
            self.read[path] = target

    def follow(self, link: "bytes", target: "bytes", is_above: "bool" = False) -> "bytes":
        """A link was found: the names in its text are in doubt as well. Gives the path that it leads to."""
        path = os.path.join(os.path.dirname(link), target)
        self.targets.append(path)
        if is_above or self.is_above(link):
            self._above.add(path)
        return path

    def doubtful(self, programs: "list[bytes]") -> "Iterator[bytes]":
        """Names to look at, the most telling first."""
        return self.in_doubt(self._paths(programs))

    def in_doubt(self, paths: "Iterator[tuple[bytes, bool]]") -> "Iterator[bytes]":
        """The names of paths that are not proven, each after those above it, and after it those of the link that it was found to be."""
        for path, itself in paths:
            waiting = [self._unproven(path, itself)]
            while waiting:
                place = next(waiting[-1], None)
                if place is None:
                    waiting.pop()
                    continue
                yield place
                # where a link leads is looked at before what lies below it
                while self.targets:
                    waiting.append(self._unproven(self.targets.pop(), True))

    def _paths(self, programs: "list[bytes]") -> "Iterator[tuple[bytes, bool]]":
        """Paths with places in doubt; whether their last name is one of them."""
        for path, resolved in self.led.items():
            if path != resolved and not resolved.startswith(_SKIPPED):
                # a library's version links lie beside it: where they lead is in the log, and they are many
                yield path, not path.startswith(_LIBRARIES)
        for path in programs:
            yield path, True
        for path in self.missed:
            yield path, self.missed[path]
        for path in self.found:
            yield path, False
        for path in self.opened:
            # a file or a directory? only an fstat tells, and not every C library's fstat is a traced call
            resolved = self.led.get(path, b"")
            if resolved and resolved not in self.described and resolved not in self.plain:
                self.files.discard(resolved)
                yield resolved, True
        for path in self.found:
            if path not in self.led and path[-3:] != b".py":
                yield path, True
        for path in self.missed:
            if not _PROBE.search(path):
                yield path, True

    def _unproven(self, path: "bytes", itself: "bool") -> "Iterator[bytes]":
        if path.startswith(_SKIPPED):
            return
        has_dots = b"/." in path
        directory, _, name = path.rpartition(b"/")
        if directory in self.plain and not has_dots and b"//" not in path:
            # the usual case: what is proven is proven with all that is above it
            if itself and name and path not in self.plain and path not in self.files:
                yield path
            return
        parts = path.split(b"/")
        is_certain = True  # that `..` leads where the spelling says
        for depth in range(2, len(parts) + (1 if itself else 0)):
            if parts[depth - 1] in (b"", b".", b".."):
                continue
            place = spelling = b"/".join(parts[:depth])
            if has_dots and is_certain:
                spelling = os.path.normpath(place)
            if spelling not in self.plain and spelling not in self.files:
                is_certain = False
                yield place


def _cwd() -> "bytes":
    try:
        return os.getcwdb()
    except OSError:
        return b""
