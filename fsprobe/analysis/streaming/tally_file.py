"""A tally as JSON, for recordings that keep no log: written piece by piece, read back to the very same tables.

One JSON object; foreign bytes stand in it as Latin-1 text. `version` grows by one on a breaking change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from fsprobe import foreign_json
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.tally import ModuleTally, PathTally, ProcessTally, Tally
from fsprobe.analysis.findings.evidence import Watch
from fsprobe.analysis.streaming.shapes import check
from fsprobe.errors import BadInput
from fsprobe.model.events import ParseQuality
from fsprobe.model.formats import JsonObject
from fsprobe.model.rows import Counts
from fsprobe.model.serial import Misfit
from fsprobe.recording import format1

VERSION = 3
_COUNTS = tuple(Counts.__slots__)
_PLAIN = (
    "own own_by_syscall by_syscall n_timed first_ns last_ns startup_end_ns n_further_rows settled_rates timeline_step"
).split()
_PER_BLOCK = 512


def write(tally: Tally, notes: Notes, quality: ParseQuality, watch: Watch) -> Iterator[bytes]:
    """Give the JSON text in blocks, so that it is never in memory as a whole."""
    head = {
        "version": VERSION,
        "counts": _COUNTS,
        **{name: getattr(tally, name) for name in _PLAIN},
        "total": _counts(tally.total),
        "by_phase": {phase: _counts(counts) for phase, counts in tally.by_phase.items()},
        "floor": _pairs(tally.floor),
        "timeline": [[number, phases] for number, phases in tally.timeline.items()],
        "notes": _values(notes),
        "quality": _values(quality),
        "watch": _values(watch),
    }
    yield json.dumps(head)[:-1].encode("ascii")
    yield from _table(
        "by_module",
        (
            [name, _counts(m.own), _counts(m.cumulative), m.parents, m.n_imports, m.first_ns]
            for name, m in tally.by_module.items()
        ),
    )
    yield from _table(
        "by_process",
        (
            [key, p.pid, p.parent, p.label, p.kind, _counts(p.counts)]
            + [_pairs(p.n_open_by_bin), _pairs(p.n_metadata_by_bin)]
            for key, p in tally.by_process.items()
        ),
    )
    yield from _table(
        "by_path",
        (
            [_text(path), _counts(p.counts), _plain(p.resolved), _pairs(p.latency), p.max_ns]
            for path, p in tally.by_path.items()
        ),
    )
    yield from _table("not_found", ([reason, _text(path), n] for (reason, path), n in tally.not_found.items()))
    yield b"}\n"


def _table(name: str, rows: Iterable[list[Any]]) -> Iterator[bytes]:
    yield f',\n"{name}": ['.encode("ascii")
    separator, piece = "", []
    for row in rows:
        piece.append(separator + json.dumps(row))
        separator = ",\n"
        if len(piece) >= _PER_BLOCK:
            yield "".join(piece).encode("ascii")
            piece = []
    yield ("".join(piece) + "]").encode("ascii")


def read(data: bytes, name: str) -> tuple[Tally, Notes, ParseQuality, Watch]:
    """Read what `write` gave.

    Args:
        data: the JSON text.
        name: of the recording, for messages.

    Raises:
        BadInput: it is no tally, or of a newer version.
    """
    try:
        saved = foreign_json.loads(data)
        if type(saved["version"]) is not int:
            raise Misfit("the version is no number")
        if saved["version"] > VERSION:
            raise BadInput(f"{name} holds a tally of version {saved['version']}", "upgrade fsprobe")
        if saved["version"] < 2:
            saved = format1.tally(saved)
        notes = _dataclass(Notes, saved)
        if "is_marked" not in saved["notes"]:  # written before it was noted
            notes.is_marked = notes.hooked
        found = _read(saved), notes, _dataclass(ParseQuality, saved), _dataclass(Watch, saved)
        check(*found)
        return found
    except Misfit as error:
        raise BadInput(f"{name} is damaged: in its tally {error}", "record again") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise BadInput(f"{name} is damaged: its tally can't be read", "record again") from None


def _read(saved: JsonObject) -> Tally:
    names = saved["counts"]

    def counts(values: list[int]) -> Counts:
        return Counts(**dict(zip(names, values, strict=True)))

    tally = Tally(total=counts(saved["total"]), **{name: saved[name] for name in _PLAIN})
    tally.by_phase = {phase: counts(values) for phase, values in saved["by_phase"].items()}
    tally.floor = dict(map(tuple, saved["floor"]))
    tally.timeline = dict(saved["timeline"])
    tally.by_module = {
        name: ModuleTally(counts(own), counts(cumulative), parents, n_imports, *first)
        for name, own, cumulative, parents, n_imports, *first in saved["by_module"]  # version 2 had no times of modules
    }
    tally.by_process = {
        key: ProcessTally(pid, parent, label, kind, counts(values), dict(map(tuple, opens)), dict(map(tuple, calls)))
        for key, pid, parent, label, kind, values, opens, calls in saved["by_process"]
    }
    tally.by_path = {
        _bytes(path): PathTally(
            counts(values), None if resolved is None else _bytes(resolved), dict(map(tuple, latency)), max_ns
        )
        for path, values, resolved, latency, max_ns in saved["by_path"]
    }
    tally.not_found = {(reason, _bytes(path)): n for reason, path, n in saved["not_found"]}
    return tally


def _counts(counts: Counts) -> list[int]:
    return [getattr(counts, name) for name in _COUNTS]


def _pairs(table: dict[int, int]) -> list[tuple[int, int]]:
    return list(table.items())


def _text(path: bytes) -> str:
    return path.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _values(value: Notes | ParseQuality | Watch) -> JsonObject:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    """A value of the small classes as JSON has it: bytes and what they are keys of are marked as such."""
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, dict):
        if any(isinstance(key, bytes) for key in value):
            return {"bytes": [[_text(key), _plain(item)] for key, item in value.items()]}
        return {"table": [[key, _plain(item)] for key, item in value.items()]}
    if isinstance(value, set | frozenset):
        return {"set": sorted(value)}
    if isinstance(value, list | tuple):
        return {"lines" if any(isinstance(item, bytes) for item in value) else "list": [_plain(item) for item in value]}
    return value


def _native(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, items),) = value.items()
    if kind == "bytes":
        return {_bytes(key): _native(item) for key, item in items}
    if kind == "table":
        return {key: _native(item) for key, item in items}
    if kind == "set":
        return set(items)
    return [_bytes(item) if kind == "lines" else _native(item) for item in items]


def _dataclass(kind: Any, saved: JsonObject) -> Any:
    values = saved[kind.__name__.lower().replace("parsequality", "quality")]
    known = {field.name for field in fields(kind)}
    return kind(**{name: _native(value) for name, value in values.items() if name in known})
