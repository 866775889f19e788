"""What the trace leaves open and only the filesystem can tell, looked up right after the run: capped and counted.

Three things. Which installed distribution owns a top-level name (`sklearn` is scikit-learn's): names are matched to the
`*.dist-info` directories of the site directories that the run touched; only for names without a match are metadata files
read. Which names are symlinks, or missing, where no descriptor's path in the log proves them to be plain directories. And
what the programs that were started make the kernel open besides themselves: interpreters of scripts, loaders.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import re
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MAX_SITE_DIRS = 12
MAX_METADATA_FILES = 40
MAX_PLACES = 160
MAX_PROGRAMS = 12
MAX_FILE_BYTES = 1 << 18
_SKIPPED = (b"/proc/", b"/dev/", b"/sys/")
MAX_LOG_BYTES = 256 << 20
"""Of a longer log only this much is looked at: what a program imports, it imports early."""

_IN_SITE = re.compile(rb'"(/[^"\\\n]*?/(?:site|dist)-packages)/(?:__pycache__/)?([A-Za-z0-9_]+)')


def collect(log: "str") -> "dict[str, Any]":
    """Look up what `log` leaves open.

    Returns:
        {"distributions": {site directory: {top-level name: distribution}}, "links": {path: target, or None for a plain
        directory or file}, "missing": [path], "files": [path: not a directory, nor a link], "programs": {path: what the
        kernel opens after it, or None}, "sizes": {program: bytes}, "n_calls": metadata calls that this took, "n_left": look-ups left out by the caps}.
        Paths are text as `os.fsdecode` makes it.
    """
    try:
        with open(log, "rb") as source:
            data = source.read(MAX_LOG_BYTES)
    except OSError:
        data = b""
    used = {}  # type: dict[bytes, set[bytes]]
    for site, name in _IN_SITE.findall(data):
        used.setdefault(site, set()).add(name)
    budget = Budget()
    distributions = {}
    for site in sorted(used)[:MAX_SITE_DIRS]:
        distributions[os.fsdecode(site)] = owners(os.fsdecode(site), {os.fsdecode(name) for name in used[site]}, budget)
    budget.n_left += max(0, len(used) - MAX_SITE_DIRS)
    found = {"distributions": distributions}  # type: dict[str, Any]
    found.update(find_links(data, budget))
    found.update(n_calls=budget.n_calls, n_left=budget.n_left)
    return found


class Budget:
    """Counts what was asked of the filesystem, and what was not."""

    n_calls = 0
    n_files = 0
    n_left = 0


def normalise(name: "str") -> "str":
    """A distribution's name as PEP 503 compares them, with `_`."""
    return re.sub(r"[-_.]+", "_", name).lower()


def owners(site: "str", names: "set[str]", budget: "Budget") -> "dict[str, str]":
    """Which distribution owns each top-level name of a site directory, as far as it can be told."""
    budget.n_calls += 3  # open, getdents twice
    try:
        entries = os.listdir(site)
    except OSError:
        return {}
    present = set(entries)
    by_key = {}
    for entry in entries:
        stem, dot, kind = entry.rpartition(".")
        if dot and kind in ("dist-info", "egg-info"):
            by_key[normalise(stem.split("-")[0])] = (stem.split("-")[0], entry)
    found = {}
    matched = set()
    for name in names:
        if normalise(name) in by_key:
            found[name] = by_key[normalise(name)][0]
            matched.add(normalise(name))
    open_names = {name for name in names if name not in found and (name in present or name + ".py" in present)}
    for key in sorted(by_key):
        # a distribution whose own name is a top-level name here owns that; it may own others, but seldom
        if not open_names:
            break
        title, entry = by_key[key]
        if key in matched or title in present or title + ".py" in present:
            continue
        if budget.n_files >= MAX_METADATA_FILES:
            budget.n_left += 1
            continue
        for name in top_level_names(os.path.join(site, entry), budget):
            if name in open_names:
                found[name] = title
                open_names.discard(name)
    return found


def top_level_names(metadata: "str", budget: "Budget") -> "set[str]":
    """The names that a distribution says it installs, from top_level.txt or RECORD."""
    for file in ("top_level.txt", "RECORD"):
        budget.n_files += 1
        budget.n_calls += 1
        try:
            with open(os.path.join(metadata, file), "rb", buffering=0) as source:
                text = source.read(MAX_FILE_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        if file == "top_level.txt":
            return set(text.split())
        return {re.split(r"[/.]", line.split(",")[0])[0] for line in text.splitlines()} - {"", "__pycache__"}
    return set()


def find_links(data: "bytes", budget: "Budget") -> "dict[str, Any]":
    """Look at the names that the log leaves open; see `collect`."""
    names = Names(data)
    links = {}  # type: dict[str, str | None]
    missing = []
    files = []
    programs = {}  # type: dict[str, str | None]
    sizes = {}  # type: dict[str, int]
    queue = list(names.programs)[:MAX_PROGRAMS]
    for path in queue:
        following, size = names_in_program(path, budget)
        programs[os.fsdecode(path)] = None if following is None else os.fsdecode(following)
        if size is not None:
            sizes[os.fsdecode(path)] = size
        if following is not None and following not in queue and len(queue) < MAX_PROGRAMS:
            queue.append(following)
    budget.n_left += max(0, len(names.programs) - MAX_PROGRAMS)
    gone = set()  # type: set[bytes]
    n_places = 0
    for place in names.doubtful(queue):
        text = os.fsdecode(place)
        if text in links or place in gone:
            continue
        if os.path.dirname(place) in gone:
            gone.add(place)
            continue
        if n_places >= MAX_PLACES:
            budget.n_left += 1
            continue
        n_places += 1
        budget.n_calls += 1
        try:
            mode = os.lstat(place).st_mode
        except OSError:
            gone.add(place)
            missing.append(text)
            continue
        links[text] = None
        if stat.S_ISLNK(mode):
            budget.n_calls += 1
            try:
                links[text] = os.readlink(text)
            except OSError:
                pass
        elif not stat.S_ISDIR(mode):
            files.append(text)
            gone.add(place)  # and nothing below it
    return {"links": links, "missing": missing, "files": files, "programs": programs, "sizes": sizes}


class Names:
    """The names in a log, by what it proves of them."""

    def __init__(self, data: "bytes") -> "None":
        self.plain = set()  # type: set[bytes]
        self.led = {}  # type: dict[bytes, bytes]
        self.found = {}  # type: dict[bytes, None]
        self.missed = {}  # type: dict[bytes, None]
        self.programs = {}  # type: dict[bytes, None]
        directories = set()  # type: set[bytes]
        seen = set()  # type: set[tuple[bytes, bool]]
        for line in data.split(b"\n"):
            head, _, rest = line.partition(b'"')
            path, quote, tail = rest.partition(b'"')
            if not quote or not path or path[-1:] == b"\\" or b" = " not in tail:
                continue
            directory = b""
            if head[-3:] == b">, ":
                directory = head[head.rfind(b"<") + 1 : -3]
                if directory not in directories:
                    directories.add(directory)
                    self._prove(directory)
            if path[:1] != b"/":
                if not directory and head[-7:] == b"execve(" and not directories:
                    directory = _cwd()  # the command itself
                if directory[:1] != b"/":
                    continue
                path = directory + b"/" + path
            is_missed = b" = -1 E" in tail
            if b"open" in head and not is_missed and path not in self.led:
                at = tail.find(b"= ")
                resolved = tail[tail.find(b"<", at) + 1 : tail.find(b">", at)]
                if resolved[:1] == b"/":
                    self.led[path] = resolved
                    self._prove(os.path.dirname(resolved))
            if (path, is_missed) in seen:
                continue
            seen.add((path, is_missed))
            if not is_missed:
                self.found[path] = None
                if head[-7:] == b"execve(":
                    self.programs[path] = None
            elif b" = -1 ENOENT" in tail or b" = -1 ENOTDIR" in tail:
                self.missed[path] = None
        self.files = set(self.led.values())

    def _prove(self, place: "bytes") -> "None":
        while len(place) > 1 and place not in self.plain:
            self.plain.add(place)
            place = os.path.dirname(place)

    def doubtful(self, programs: "list[bytes]") -> "Iterator[bytes]":
        """Names to look at, the most telling first, and each after those above it."""
        for path, resolved in self.led.items():
            if path != resolved and not resolved.startswith(_SKIPPED):
                for place in self._unproven(path, True):
                    yield place
        for path in programs:
            for place in self._unproven(path, True):
                yield place
        for paths in (self.missed, self.found):
            for path in paths:
                for place in self._unproven(path, False):
                    yield place
        for path in self.found:
            # sources beside the .pyc that was opened are too many to look at, and are what their neighbours are
            if path not in self.led and path[-3:] != b".py":
                for place in self._unproven(path, True):
                    yield place

    def _unproven(self, path: "bytes", itself: "bool") -> "Iterator[bytes]":
        if path.startswith(_SKIPPED):
            return
        has_dots = b"/." in path
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


def names_in_program(path: "bytes", budget: "Budget") -> "tuple[bytes | None, int | None]":
    """What the kernel opens after a program (the interpreter of a script, the loader of an ELF file), and its own size."""
    budget.n_calls += 1
    try:
        with open(path, "rb", buffering=0) as source:
            size = os.fstat(source.fileno()).st_size
            head = source.read(4096)
    except OSError:
        return None, None
    if head[:2] == b"#!":
        words = head[2:256].split(b"\n", 1)[0].split()
        return words[0] if words and words[0][:1] == b"/" else None, size
    return _loader(head) if head[:4] == b"\x7fELF" else None, size


def _loader(head: "bytes") -> "bytes | None":
    # ELF header and program headers; PT_INTERP is 3 (elf(5))
    order = "<" if head[5:6] == b"\x01" else ">"
    is_64 = head[4:5] == b"\x02"
    try:
        if is_64:
            (table,) = struct.unpack_from(order + "Q", head, 32)
            size, n_headers = struct.unpack_from(order + "HH", head, 54)
        else:
            (table,) = struct.unpack_from(order + "I", head, 28)
            size, n_headers = struct.unpack_from(order + "HH", head, 42)
        for number in range(n_headers):
            at = table + number * size
            if struct.unpack_from(order + "I", head, at)[0] == 3:
                (offset,) = struct.unpack_from(order + ("Q" if is_64 else "I"), head, at + (8 if is_64 else 4))
                end = head.find(b"\0", offset)
                return head[offset:end] if 0 <= offset < end else None
    except struct.error:
        pass
    return None
