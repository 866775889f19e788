"""A whole ring at once, as columns: the same results as from its events one by one, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from fsprobe.analysis.attribution.attribute import Attributed, Attributor
from fsprobe.analysis.columns import noted, slots, timed
from fsprobe.analysis.columns.contexts import Contexts
from fsprobe.analysis.columns.counted import Rows, tally_of
from fsprobe.analysis.columns.pieces import Pieces
from fsprobe.analysis.columns.slots import Columns, Ints, Numbering
from fsprobe.analysis.columns.walk import Walk
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.findings.watch import Watch
from fsprobe.analysis.garbage import NEVER, seldom_collected
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.steps import kind_of_number
from fsprobe.analysis.time.observed import Observed
from fsprobe.events.ring import RingFacts, kinship
from fsprobe.events.ring.reader import Run
from fsprobe.events.ring.slots import Buffer
from fsprobe.events.ring.spelling import annotation
from fsprobe.model.events import Op, ParseQuality

Status = tuple[int, Callable[[], None]]


@seldom_collected(NEVER)
def fold_ring(
    data: Iterable[Buffer],
    n_bytes: int,
    quality: ParseQuality,
    attributor: Attributor,
    why_not_found: Callable[[Attributed], str],
    cwd: bytes | None = None,
    model: RequestModel | None = None,
    times: Observed | None = None,
    seen: Watch | None = None,
) -> Tally | None:
    """Parse, attribute and fold a ring.

    Args:
        data: the whole ring, header and slots, in any pieces.
        n_bytes: how much that is.
        quality: filled; a "line" is a slot.
        attributor: attributes calls, and its notes are filled.
        why_not_found: says why a lookup failed.
        cwd: working directory of the first process.
        model: takes in the calls.
        times: filled likewise.
        seen: filled likewise.

    Returns:
        the tally; None, with nothing filled, of a ring whose times no clock has, or that has more slots than can have a place in
        memory: its events have to be taken one by one.

    Raises:
        BadInput: it is no ring.
    """
    columns = read_columns(data, n_bytes)
    if columns is None:
        return None
    return fold_columns(columns, quality, attributor, why_not_found, cwd, model, times, seen).tally


def read_columns(data: Iterable[Buffer], n_bytes: int, numbering: Numbering | None = None) -> Columns | None:
    """The columns of a ring; arguments, None and errors as of `fold_ring`; `numbering`: as of `slots.read`."""
    try:
        pieces = Pieces(data, n_bytes)
    except OSError:
        return None
    return slots.read(pieces, numbering)


@dataclass(frozen=True, slots=True)
class Folded:
    """What came of a ring, and from what."""

    tally: Tally
    rows: Rows
    """All attributed calls."""
    lives: timed.Lives
    calls: Ints
    """Rows of all calls, in the order of the slots."""
    between: Ints
    """Of each of them the time between two marks that it is in."""


@seldom_collected(NEVER)
def fold_columns(
    columns: Columns,
    quality: ParseQuality,
    attributor: Attributor,
    why_not_found: Callable[[Attributed], str],
    cwd: bytes | None = None,
    model: RequestModel | None = None,
    times: Observed | None = None,
    seen: Watch | None = None,
) -> Folded:
    """Attribute and fold the calls of a ring; arguments as of `fold_ring`."""
    ring = columns.ring
    quality.has_times = quality.has_tids = quality.has_durations = True
    facts = RingFacts(n_lost=ring.n_lost)
    run = Run(ring, quality, facts, kinship.find(ring, columns.kin), cwd, None)
    contexts, lives = Contexts(), timed.Lives()
    walked = Walk(columns, run, attributor, contexts, lives).go()
    quality.n_lines += len(columns.kinds)
    run.close()
    calls, between = walked.calls, walked.between
    rows = Rows(columns, contexts, walked.rows, walked.contexts)
    if times is not None:
        timed.fill(times, columns, lives, calls, between)
    if model is not None:
        statuses = [] if model.on_status is None else _statuses(columns, calls, model.on_status)
        noted.fill_steps(model, rows, walked.emitted, statuses)
        sizes = timed.sizes(columns, calls)
        model.sizes.update({path: (kind_of_number(mode), size) for path, (mode, size) in sizes.items()})
    if seen is not None:
        noted.fill_watch(seen, rows)
    return Folded(tally_of(rows, why_not_found), rows, lives, calls, between)


def _statuses(columns: Columns, calls: Ints, tell: Callable[[int, int | None, bytes], None]) -> list[Status]:
    """Statuses of open descriptors: the rows of the opens, and how each is told (as `Run` does)."""
    shapes = columns.shapes
    is_open = np.array([call.op is Op.OPEN and not call.error for call in shapes.calls], dtype=bool)
    opens = calls[is_open[columns.shape[calls]]]
    found: list[Status] = []
    asked = opens[columns.more("n_fstats", opens) != 0]
    for row, result in zip(asked.tolist(), columns.more("result", asked).tolist(), strict=True):
        led_to = shapes.led_to[columns.shape[row]]
        args = b'%d%s, "", {...}, AT_EMPTY_PATH' % (result, annotation(led_to))
        at_ns = int(columns.t_ns[row]) + int(columns.dur_ns[row]) + 1
        found.append((row, partial(tell, int(columns.tid[row]), at_ns, args)))
    return found
