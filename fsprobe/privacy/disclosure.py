"""What of a recording may be given to somebody else: its sections, cut to what evidence needs, names replaced on request.

Left out always: values that a tracer shows and no analysis reads (what was read and written, environments, arguments of
other programs beyond program and script), variables outside of the recorder's lists, sections that this version does not know.
"""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from fsprobe import foreign_json
from fsprobe.errors import BadInput
from fsprobe.privacy.identities import Names
from fsprobe.privacy.log_cutting import Cut
from fsprobe.privacy.redaction import Learning, Redaction, Unchanged
from fsprobe.recording import file as recordings
from fsprobe.recording.file import Recording

_HOST_KEYS = frozenset({"host", "node", "nodename", "SLURMD_NODENAME", "SLURM_CLUSTER_NAME"})
_JOB_KEYS = frozenset({"job_name", "SLURM_JOB_NAME"})
_STRUCTURE_KEYS = frozenset(
    "kind backend backend_version markers fstype fs_class cache op phase severity level code kernel machine version "
    "implementation cache_tag fsprobe_version fsprobe_python capabilities".split()
)
"""Fields whose text is from a list of this program's, or of the system's."""
_TABLES = frozenset({"by_mount", "by_package", "by_module", "differences"})
"""Objects whose keys are names of things."""
_ID_KEYS = frozenset({"uid", "gid", "euid"})
_HIDDEN_OPTIONS = frozenset(
    b"addr clientaddr mountaddr username user domain mgsnode ip unc mon_addr source servername".split()
)
_ID_OPTIONS = frozenset(b"user_id group_id uid gid cruid forceuid".split())
_NETWORKS = re.compile(rb"(?:tcp|o2ib|gni|kfi|ptlf|lo)\d*")
_ANYWHERE = b"/export"
_OCTAL = re.compile(rb"\\([0-7]{3})")
_PIECE_LINES = 4096
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
    yield "manifest", json.dumps(json_value(manifest, hide), indent=1, sort_keys=recording.kind == "recording").encode()
    command = [_bytes(str(word)) for word in recording.manifest.get("command") or ()]
    cwd = _bytes(str(recording.manifest.get("cwd") or "")) or None
    for name in recording.names():
        if name == "log":
            yield name, _blocks(Cut(hide, command, cwd).lines(recording.lines(name)))
        elif name == "marks":
            yield name, _marks(recording.whole(name), hide, variables)
        elif name == "mounts":
            yield name, mount_table(recording.whole(name), hide)
        elif name == "lookups":
            yield name, _json(recording, name, lambda value: _lookups(value, hide))
        elif name == "tally":
            yield name, _json(recording, name, lambda value: _tally(value, hide))
        elif recording.kind == "comparison" and name == "layouts":
            yield name, _json(recording, name, lambda value: json_value(value, hide))
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
    look = Learning(names)
    for _, body in disclose(recording, look, variables):
        if not isinstance(body, bytes):
            for _ in body:
                pass


def only_listed(value: Any, variables: Collection[str]) -> Any:
    """A manifest without variables (`environment`, `job`) that are not on the list."""
    if isinstance(value, list):
        return [only_listed(inner, variables) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: inner[name] for name in inner if name in variables}
        if key in ("environment", "job") and isinstance(inner, dict) and all(isinstance(v, str) for v in inner.values())
        else only_listed(inner, variables)
        for key, inner in value.items()
    }


def json_value(value: Any, hide: Unchanged, key: str = "") -> Any:
    """A JSON value with the names in it replaced: in texts, in keys, and in fields that are a name as a whole."""
    if isinstance(value, str):
        if key in _STRUCTURE_KEYS:
            return value
        if key in _HOST_KEYS or key in _JOB_KEYS:
            return _str(hide.named("host" if key in _HOST_KEYS else "job", _bytes(value)))
        if key == "user_site":
            hide.home(_bytes(value).partition(b"/.local/")[0] if "/.local/" in value else b"")
        return _str(hide.text(_bytes(value)))
    if isinstance(value, dict):
        is_table = key in _TABLES or key.startswith("/")
        return {
            _str(hide.text(_bytes(name))) if is_table or name.startswith("/") else name: json_value(inner, hide, name)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        if key == "nodes":
            return [
                {**json_value(inner, hide), "key": json_value(inner.get("key"), hide, "host")}
                if isinstance(inner, dict)
                else json_value(inner, hide)
                for inner in value
            ]
        return [json_value(inner, hide, key if key in _STRUCTURE_KEYS else "") for inner in value]
    if key in _ID_KEYS and hide.is_redacting:
        return None
    return value


def mount_table(data: bytes, hide: Unchanged) -> bytes:
    """A mountinfo with the names replaced in roots, mount points, sources and options."""
    lines = []
    for line in data.split(b"\n"):
        left, separator, right = line.partition(b" - ")
        before, after = left.split(b" "), right.split(b" ")
        if separator and len(before) >= 6 and len(after) >= 2:
            # what of its filesystem is mounted is a path on the server, where anybody may stand at the top
            before[3] = _escaped(hide.path(_ANYWHERE + _unescaped(before[3])).removeprefix(_ANYWHERE))
            before[4] = _escaped(hide.mount_point(_unescaped(before[4])))
            after[1] = _escaped(_source(_unescaped(after[1]), after[0], hide))
            after[2:] = [b",".join(_option(option, hide) for option in field.split(b",")) for field in after[2:]]
            line = b" ".join(before) + separator + b" ".join(after)
        elif line:
            line = b"?"
        lines.append(line)
    return b"\n".join(lines)


def _source(source: bytes, fstype: bytes, hide: Unchanged) -> bytes:
    if source.startswith(b"//"):  # //server/share
        server, slash, share = source[2:].partition(b"/")
        return b"//" + hide.named("server", server) + slash + hide.words(share)
    servers, found, path = source.rpartition(b":/")
    if source.startswith(b"/") or not found:
        return hide.text(source)
    pieces = re.split(rb"([:,@\[\]])", servers)
    hidden = [
        piece if not piece or piece in b":,@[]" or _NETWORKS.fullmatch(piece) else hide.named("server", piece)
        for piece in pieces
    ]
    return b"".join(hidden) + b":" + hide.path(b"/" + path)


def _option(option: bytes, hide: Unchanged) -> bytes:
    name, found, value = option.partition(b"=")
    if not found:
        return hide.text(option)
    if name in _HIDDEN_OPTIONS:
        return name + found + hide.named("server", value)
    if name in _ID_OPTIONS:
        return name + found + (b"0" if hide.is_redacting else value)
    return name + found + _escaped(hide.text(_unescaped(value)))


def _unescaped(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes((int(match.group(1), 8) & 0xFF,)), field)


def _escaped(field: bytes) -> bytes:
    return re.sub(rb"[ \t\n\\]", lambda match: b"\\%03o" % match.group()[0], field)


def _marks(data: bytes, hide: Unchanged, variables: Collection[str]) -> bytes:
    """The files of the hooks, each with its new size."""
    files, at = [], 0
    while at < len(data):
        end = data.find(b"\n", at)
        words = data[at:end].split()
        if end < 0 or not data[at:end].startswith(b"@") or len(words) != 2 or not words[1].isdigit():
            files.append(b"?\n")
            break
        name, size = words[0][1:], int(words[1])
        body = data[end + 1 : end + 1 + size]
        at = end + 1 + size
        if name.startswith(b"mounts."):
            body = mount_table(body, hide)
        elif name.startswith(b"marks."):
            body = b"\n".join(_mark_line(line, hide, variables) for line in body.split(b"\n"))
        else:
            continue
        files += [b"@%s %d\n" % (name, len(body)), body]
    return b"".join(files)


def _mark_line(line: bytes, hide: Unchanged, variables: Collection[str]) -> bytes:
    if not line:
        return line
    if line.startswith(b"="):
        facts = _facts(line)
        return b"=?" if facts is None else b"=" + ascii(json_value(only_listed(facts, variables), hide)).encode("ascii")
    words = line.split(b" ", 2)
    if len(words) != 3 or not words[0].isdigit() or not words[1].isdigit() or words[2][:1] not in (b">", b"<"):
        return b"?"
    return b"%s %s %s" % (words[0], words[1], words[2][:1] + hide.module(words[2][1:]))


def _facts(line: bytes) -> dict[str, Any] | None:
    try:
        facts = ast.literal_eval(line[1:].decode("ascii"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _homes(recording: Recording) -> Iterator[bytes]:
    """Where the interpreters' users have their homes, as their user site directories say."""
    for line in recording.lines("marks"):
        facts = _facts(line) if line.startswith(b"=") else None
        site = facts.get("user_site") if facts is not None else None
        if isinstance(site, str) and "/.local/" in site:
            yield _bytes(site.partition("/.local/")[0])


def _lookups(value: dict[str, Any], hide: Unchanged) -> dict[str, Any]:
    new: dict[str, Any] = json_value(value, hide)
    if isinstance(value.get("links"), dict):
        new["links"] = {
            _str(hide.path(_bytes(link))): _target(link, target, hide) for link, target in value["links"].items()
        }
    return new


def _target(link: str, target: str | None, hide: Unchanged) -> str | None:
    """What a link says: a relative one starts where the link lies."""
    return None if target is None else _str(hide.path(_bytes(target), _bytes(link.rpartition("/")[0] or "/")))


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
    return _str(hide.words(_bytes(value)))


def _module(value: str, hide: Unchanged) -> str:
    return _str(hide.module(_bytes(value)))


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


def _bytes(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def _str(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


__all__ = ["Learning", "Names", "Redaction", "Unchanged", "disclose", "json_value", "learn", "mount_table", "write"]
