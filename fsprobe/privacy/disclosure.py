"""What of a recording may be given to somebody else: its sections, cut to what evidence needs, names replaced on request.

Left out always: values that a tracer shows and no analysis reads (what was read and written, environments, arguments of
other programs beyond program and script), variables outside of the recorder's lists, sections that this version does not know.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from fsprobe import foreign_json
from fsprobe.errors import BadInput
from fsprobe.events.marks import MAX_FACTS_BYTES, MAX_FILES, MAX_MARKS
from fsprobe.events.ring import mapped
from fsprobe.foreign_numbers import count
from fsprobe.privacy import path_owners, ring_cutting
from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.identities import Names
from fsprobe.privacy.json_values import KNOWN_KEYS, as_bytes, as_str, json_value, name_texts, only_listed
from fsprobe.privacy.learning import Learning
from fsprobe.privacy.log.cutting import Cut
from fsprobe.privacy.mount_table import mount_table, shared_roots
from fsprobe.recording import distributions
from fsprobe.recording import file as recordings
from fsprobe.recording.file import Recording

FIRST_UID_OF_PEOPLE = 1000
"""login.defs(5), UID_MIN."""
_PIECE_LINES = 4096
MAX_NESTED_BYTES = 16 << 30
"""Of a recording within a comparison, which is written to a temporary file."""
_TALLY_VALUES = ("notes", "quality", "watch")


def disclose(
    recording: Recording, hide: Unchanged, variables: Collection[str]
) -> Iterator[tuple[str, bytes | Iterable[bytes]]]:
    """Give the sections of a recording, comparison or job as they may be given away, for `recording.write`.

    Args:
        recording: the file.
        hide: what becomes of names.
        variables: names of environment variables (of the job, of the command) whose values may stay.

    Raises:
        BadInput: the file is damaged.
    """
    manifest = only_listed(recording.manifest, variables)
    shown = json_value(manifest, hide)
    if recording.kind == "recording":
        for key in shown.keys() - KNOWN_KEYS:
            name_texts(f"field {key}", shown[key], hide)
        shown["disclosed"] = True
    yield "manifest", json.dumps(shown, indent=1, sort_keys=recording.kind == "recording").encode()
    words = recording.manifest.get("command")
    command = [as_bytes(str(word)) for word in words] if isinstance(words, list) else []
    cwd = as_bytes(str(recording.manifest.get("cwd") or "")) or None
    for name in recording.names():
        if name == "log":
            yield name, _blocks(Cut(hide, command, cwd).lines(recording.lines(name)))
        elif name == "ring":
            yield name, ring_cutting.cut(mapped.in_one_piece(recording, name), hide, command, cwd)
        elif name == "marks":
            yield name, _marks(recording.whole(name), hide, variables)
        elif name == "mounts":
            yield name, mount_table(recording.whole(name, recordings.MAX_MOUNTS_BYTES), hide)
        elif name == "lookups":
            yield name, _json(recording, name, lambda value: _lookups(distributions.completed(recording, value), hide))
        elif name == "cpu":
            yield name, recording.whole(name)
        elif name == "tally":
            yield name, _json(recording, name, lambda value: _tally(value, hide))
        elif recording.kind == "comparison" and name == "layouts":
            yield name, _json(recording, name, lambda value: json_value(value, hide, "layout"))
        elif recording.kind == "comparison" and name.startswith("recording."):
            yield name, _nested(recording, name, hide, variables)


def write(recording: Recording, output: str, hide: Unchanged, variables: Collection[str]) -> None:
    """Write a recording as it may be given away; see `disclose`.

    Raises:
        BadInput: the file is damaged.
        FsprobeError: the new file can't be written.
    """
    recordings.write(output, recording.kind, disclose(recording, hide, variables), recording.format)


def learn(recording: Recording, names: Names, variables: Collection[str]) -> None:
    """Find the names in a recording: hosts, homes, projects, and the words that only look like such.

    Raises:
        BadInput: the file is damaged.
    """
    for home in _homes(recording):
        names.add_home(home)
    for root in _shared_roots(recording):
        if not path_owners.is_home(root):
            names.roots.setdefault(root, "shared")
    uid = recording.manifest.get("uid")
    if isinstance(uid, int) and uid >= FIRST_UID_OF_PEOPLE:
        names.uids.add(b"%d" % uid)
    look = Learning(names)
    for _, body in disclose(recording, look, variables):
        if not isinstance(body, bytes):
            for _ in body:
                pass


def _shared_roots(recording: Recording) -> Iterator[tuple[bytes, ...]]:
    """Where people's directories may lie, as the mount tables in a recording say."""
    for name in recording.names():
        if name == "mounts":
            yield from shared_roots(recording.whole(name, recordings.MAX_MOUNTS_BYTES))
        elif name == "marks":
            for file, body in _mark_files(recording.whole(name)):
                if file.startswith(b"mounts."):
                    yield from shared_roots(body)
        elif name.startswith("recording.") and recording.kind == "comparison":
            with tempfile.TemporaryDirectory(prefix="fsprobe-ticket-") as scratch:
                inner = os.path.join(scratch, "inner")
                extract(recording, name, inner)
                yield from _shared_roots(Recording(inner))


def _marks(data: bytes, hide: Unchanged, variables: Collection[str]) -> bytes:
    """The files of the hooks, each with its new size."""
    if data.count(b"\n") > MAX_MARKS + MAX_FILES:
        raise BadInput("the section marks has more lines than anybody writes", "record again")
    files = []
    for name, body in _mark_files(data):
        if not name:
            files.append(b"?\n")
        elif name.startswith(b"mounts."):
            body = mount_table(body, hide)
        elif name.startswith(b"marks."):
            body = b"\n".join(_mark_line(line, hide, variables) for line in body.split(b"\n"))
        else:
            continue
        if name:
            files += [b"@%s %d\n" % (name, len(body)), body]
    return b"".join(files)


def _mark_files(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each file of the hooks; no name for what is none, at the end."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        words = data[at:end].split()
        size = count(words[1]) if len(words) == 2 else None
        if end < 0 or not data[at:end].startswith(b"@") or size is None:
            yield b"", data[at:]
            return
        yield words[0][1:], data[end + 1 : end + 1 + size]
        at = end + 1 + size


def _mark_line(line: bytes, hide: Unchanged, variables: Collection[str]) -> bytes:
    if not line:
        return line
    if line.startswith(b"="):
        facts = _facts(line)
        return b"=?" if facts is None else b"=" + ascii(json_value(only_listed(facts, variables), hide)).encode("ascii")
    if line[:1] in (b"+", b"-") and all(word.isdigit() for word in line[1:].split()):
        return line
    words = line.split(b" ", 2)
    if len(words) != 3 or not words[0].isdigit() or not words[1].isdigit() or words[2][:1] not in (b">", b"<", b"!"):
        return b"?"
    if words[2][:1] == b"!":
        return b"%s %s %s" % (words[0], words[1], _memo(words[2], hide))
    return b"%s %s %s" % (words[0], words[1], words[2][:1] + hide.module(words[2][1:]))


def _memo(text: bytes, hide: Unchanged) -> bytes:
    """`!lazy LINE USER MODULE`."""
    words = text.split(b" ", 3)
    if len(words) != 4 or not words[1].isdigit():
        return b"!?"
    return b" ".join([*words[:2], hide.module(words[2]), hide.module(words[3])])


def _facts(line: bytes) -> dict[str, Any] | None:
    if len(line) > MAX_FACTS_BYTES:
        return None
    try:
        facts = ast.literal_eval(line[1:].decode("ascii"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _homes(recording: Recording) -> Iterator[bytes]:
    """Where the interpreters' users have their homes, as their user site directories say."""
    for line in itertools.islice(recording.lines("marks"), MAX_MARKS):
        facts = _facts(line) if line.startswith(b"=") else None
        site = facts.get("user_site") if facts is not None else None
        if isinstance(site, str) and "/.local/" in site:
            yield as_bytes(site.partition("/.local/")[0])


def _lookups(value: dict[str, Any], hide: Unchanged) -> dict[str, Any]:
    new: dict[str, Any] = json_value(value, hide)
    if isinstance(value.get("links"), dict):
        new["links"] = {
            as_str(hide.path(as_bytes(link))): _target(link, target, hide) for link, target in value["links"].items()
        }
    return new


def _target(link: str, target: str | None, hide: Unchanged) -> str | None:
    """What a link says: a relative one starts where the link lies."""
    return None if target is None else as_str(hide.link_text(as_bytes(link), as_bytes(target)))


def _tally(value: dict[str, Any], hide: Unchanged) -> dict[str, Any]:
    """A saved tally: paths stand in it as Latin-1, and its structure's own words are not to be touched."""
    new = dict(value)
    new["by_path"] = [
        [_latin(path, hide), counts, None if resolved is None else _latin(resolved, hide), *rest]
        for path, counts, resolved, *rest in value["by_path"]
    ]
    failed = "not_found" if "not_found" in value else "missing"  # as version 1 called it
    new[failed] = [[reason, _latin(path, hide), *rest] for reason, path, *rest in value[failed]]
    new["by_module"] = [
        [_module(name, hide), own, cumulative, {_module(parent, hide): n for parent, n in parents.items()}, *rest]
        for name, own, cumulative, parents, *rest in value["by_module"]
    ]
    new["by_process"] = [
        [_label(key, hide), pid, parent, _label(label, hide), *rest]
        for key, pid, parent, label, *rest in value["by_process"]
    ]
    for name in _TALLY_VALUES:
        new[name] = {field: _plain(inner, hide) for field, inner in value[name].items()}
    examples = new["quality"].get("unparsed_examples")
    if isinstance(examples, dict):
        new["quality"]["unparsed_examples"] = {"lines": ["?" for _ in next(iter(examples.values()), ())]}
    return new


def _plain(value: Any, hide: Unchanged) -> Any:
    if isinstance(value, str):
        return _latin(value, hide) if value.startswith("/") else _label(value, hide)
    if isinstance(value, list):
        return [_plain(inner, hide) for inner in value]
    if isinstance(value, dict):  # {"table": ...}: the key is structure
        return {name: _plain(inner, hide) for name, inner in value.items()}
    return value


def _latin(value: str, hide: Unchanged) -> str:
    try:
        return hide.path(value.encode("latin-1")).decode("latin-1")
    except UnicodeEncodeError:
        return _label(value, hide)


def _label(value: str, hide: Unchanged) -> str:
    return as_str(hide.words(as_bytes(value)))


def _module(value: str, hide: Unchanged) -> str:
    return as_str(hide.module(as_bytes(value)))


def _json(recording: Recording, section: str, change: Callable[[Any], Any]) -> bytes:
    data = recording.whole(section)
    if not data:
        return data
    try:
        return json.dumps(change(foreign_json.loads(data))).encode("ascii") + b"\n"
    except (ValueError, LookupError, TypeError, AttributeError):
        raise BadInput(f"{recording.path} is damaged: its section {section} can't be read", "record again") from None


def extract(recording: Recording, section: str, output: str) -> None:
    """Write a recording that a comparison holds into a file of its own; which layout's it is stands in section `layouts`.

    Raises:
        BadInput: the section is damaged.
    """
    recording.check_size(section, MAX_NESTED_BYTES)
    with open(output, "wb") as target:
        for block in recording.section(section):
            target.write(block)


def _nested(recording: Recording, section: str, hide: Unchanged, variables: Collection[str]) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(prefix="fsprobe-ticket-") as scratch:
        given, new = os.path.join(scratch, "given"), os.path.join(scratch, "new")
        extract(recording, section, given)
        inner = Recording(given)
        for home in _homes(inner):
            hide.home(home)
        write(inner, new, hide, variables)
        yield from recordings.read_file(new)


def _blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    piece: list[bytes] = []
    for line in lines:
        piece.append(line)
        if len(piece) >= _PIECE_LINES:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)
