"""Whether a tally that was read back is what its types say: a damaged or foreign one may not reach the analysis.

Tallies are tables of mutable counts, so they are no values of `model/`; the dataclasses' own type hints are their shape.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, get_args, get_origin

from fsprobe.analysis.attribution.attribute import PHASES, Notes
from fsprobe.analysis.counting.latency import MAX_BIN
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.findings.evidence import Watch
from fsprobe.model.events import Op, ParseQuality
from fsprobe.model.rows import Rates
from fsprobe.model.serial import MAX_INT, Misfit, fields_of


def check(tally: Tally, notes: Notes, quality: ParseQuality, watch: Watch) -> None:
    """Look at each value, and at what the tables must have to each other.

    Raises:
        Misfit: says where something differs first.
    """
    for value in (tally, notes, quality, watch):
        _fit(value, type(value), type(value).__name__.lower())
    for phase in [*tally.by_phase, *(phase for slot in tally.timeline.values() for phase in slot)]:
        if phase not in PHASES:
            raise Misfit(f"{phase!r} is no phase")
    for op in tally.own:
        if op not in _OPS:
            raise Misfit(f"{op!r} is no kind of call")
    for name, row in tally.by_syscall.items():
        if len(row) != 2:
            raise Misfit(f"by_syscall.{name} is no pair")
    known = fields_of(Rates)
    for name in tally.settled_rates:
        if name not in known:
            raise Misfit(f"{name!r} is no rate")
    tables = [tally.floor, *(path.latency for path in tally.by_path.values())]
    if any(number > MAX_BIN for table in tables for number in table):
        raise Misfit("a bin of durations is none")
    if tally.timeline_step < 1:
        raise Misfit("timeline_step is not positive")


_OPS = frozenset(op.value for op in Op)
_SIGNED = frozenset(("first_ns", "last_ns", "startup_end_ns", "wall_start_ns", "timeline", "ended_ns", "spans"))
"""Fields whose numbers may be negative: times on an axis with any zero."""


def _fit(value: Any, kind: Any, where: str) -> None:
    if dataclasses.is_dataclass(kind):
        if type(value) is not kind:
            raise Misfit(f"{where} is something else")
        for name, inner in fields_of(type(value)).items():
            _fit(getattr(value, name), inner, name)
        return
    origin, words = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is not None:
            _fit(value, next(word for word in words if word is not type(None)), where)
        elif type(None) not in words:
            raise Misfit(f"{where} is missing")
    elif origin is not None:
        _fit_table(value, origin, words, where)
    elif kind is float:
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) >= MAX_INT:
            raise Misfit(f"{where} is no number")
    elif type(value) is not kind:
        raise Misfit(f"{where} is no {kind.__name__}")
    elif kind is int and (abs(value) >= MAX_INT or (value < 0 and where not in _SIGNED)):
        raise Misfit(f"{where} is no count")
    elif kind is str:
        _fit_text(value, where)


def _fit_table(value: Any, origin: Any, words: tuple[Any, ...], where: str) -> None:
    if type(value) is not origin:
        raise Misfit(f"{where} is no {origin.__name__}")
    if origin is dict:
        for key, inner in value.items():
            _fit(key, words[0], where)
            _fit(inner, words[1], where)
    elif origin is tuple and words[-1:] != (Ellipsis,):
        if len(value) != len(words):
            raise Misfit(f"{where} has another length")
        for inner, word in zip(value, words, strict=True):
            _fit(inner, word, where)
    else:
        for inner in value:
            _fit(inner, words[0], where)


def _fit_text(text: str, where: str) -> None:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Misfit(f"{where} is no text") from None
