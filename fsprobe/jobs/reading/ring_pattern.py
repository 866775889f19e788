"""What a ring says of others whose processes made the same calls: as `pattern` for logs, from the columns of both.

Slots stand in the order in which calls were made, whatever the clock says, so of two rings with the same calls each row of the
one is that of the other. Nearly all rows have a number that says all but thread and times; what has none, and what differs, is
compared by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.columns import timed
from fsprobe.analysis.columns.analysis import Folded
from fsprobe.analysis.columns.pieces import NO_SLOT
from fsprobe.analysis.columns.retimed import Retimed
from fsprobe.analysis.columns.slots import MOST_NS, Columns, Ints, Numbering
from fsprobe.analysis.requests.rows import Requests
from fsprobe.analysis.time.observed import Observed
from fsprobe.events.marks import HookFiles
from fsprobe.events.ring import kinship
from fsprobe.events.ring.reader import CALLS, EXITS, place_of, spelled
from fsprobe.events.ring.slots import BEGUN, CALL, MARK, NEWTID, START, TEXT, slot_at, texts_of
from fsprobe.jobs.reading.pattern import ARGUMENT_ADDRESS, Same, Unlike, plainly
from fsprobe.model.events import Call, Op, ParseQuality

_SAME = ("has", "result", "n_reads", "n_maps", "n_fstats", "map_bytes")
"""What has to be the same of what was read through an open; bytes read and times are taken anew."""
_ADDRESSES = 1 << 32
"""From here on a number is an address."""
Said = tuple[object, ...]


@dataclass(slots=True)
class RingSource:
    """A ring as it is compared."""

    hooks: HookFiles
    columns: Columns
    numbering: Numbering
    surroundings: tuple[object, ...]
    own: tuple[bytes, ...]
    """As `pattern.Source` has these."""
    wall_start_ns: int | None
    pids: list[bytes]
    """Its threads, in the order of their first slots."""
    thread: Ints
    """Of each row which of these it is; -1: there is no slot."""
    shape: NDArray[np.int32]
    """As the columns had it before they were folded."""
    t_ns: Ints
    dur_ns: Ints
    """Likewise."""
    spelled: dict[int, int] = field(default_factory=dict)
    """Rows that no number stood for -> that of their calls, as far as they were compared."""
    _texts: list[bytes] = field(default_factory=list)
    """What else these say."""

    @classmethod
    def of(
        cls,
        columns: Columns,
        numbering: Numbering,
        hooks: HookFiles,
        surroundings: tuple[object, ...],
        own: tuple[bytes, ...],
        wall_start_ns: int | None,
    ) -> RingSource:
        """One of columns that nobody has folded yet."""
        is_slot = (columns.kinds != NO_SLOT) & (columns.kinds != TEXT)
        rows = np.flatnonzero(is_slot)
        tids, first, number = np.unique(columns.tid[rows], return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        thread = np.full(len(is_slot), -1, dtype=np.int64)
        thread[rows] = rank[number]
        return cls(
            hooks=hooks,
            columns=columns,
            numbering=numbering,
            surroundings=(*surroundings, columns.ring.n_lost, columns.first),
            own=own,
            wall_start_ns=wall_start_ns,
            pids=[b"%d" % tid for tid in tids[order].tolist()],
            thread=thread,
            shape=columns.shape.copy(),
            t_ns=columns.t_ns.copy(),
            dur_ns=columns.dur_ns.copy(),
        )

    def begin(self) -> None:
        """It is compared anew."""
        self.spelled.clear()
        self._texts.clear()

    def odd(self) -> Ints:
        """Rows that no number says anything of."""
        kinds = self.columns.kinds
        return np.flatnonzero((self.shape < 0) & (self.columns.word < 0) & (kinds != NO_SLOT) & (kinds != TEXT))

    def said(self, row: int, is_fixed: bool) -> Said:
        """What a row says, without what is the run's own, or if it is `is_fixed`, without addresses alone.

        Raises:
            Unlike: that is not certain.
        """
        columns = self.columns
        number, word = int(self.shape[row]), int(columns.word[row])
        if word >= 0:
            kind, raw, _ = columns.words[word]
            return ("mark", kind, self._plain(raw, is_note=True) if kind == "note" else raw)
        if number >= 0:
            shapes = columns.shapes
            return self._said_by(shapes.calls[number], shapes.led_to[number], shapes.statuses[number], is_fixed)
        slot = slot_at(columns.ring, columns.first + row)
        texts = texts_of(columns.ring, slot)
        if texts is None:
            raise Unlike
        call = spelled(slot, texts) if slot.kind == CALL and slot.nr in CALLS else None
        if call is not None:
            is_open = call.op is Op.OPEN and slot.result >= 0 and slot.state != BEGUN
            led_to, status = (place_of(slot, texts, call.path), (slot.mode, slot.size)) if is_open else (b"", (0, 0))
            said = self._said_by(call, led_to, status, is_fixed)
            self.spelled[row] = columns.shapes.number(slot, texts, call)
            return slot.kind, slot.state, slot.has, *said
        arguments = [slot.arg0, slot.arg1, slot.arg2, slot.arg3]
        if slot.kind == CALL and slot.nr in EXITS:
            arguments = arguments[:2]  # the others are whatever lay there
        elif slot.kind == MARK:
            arguments = []  # what its thread had used
        elif slot.kind in (START, NEWTID) and b"%d" % slot.arg1 not in self.pids:
            arguments[1] = 0  # who started it is not seen
        numbers = [self._number(one) for one in (slot.result, *arguments)]
        self._texts += texts
        return slot.kind, slot.state, slot.has, slot.nr, slot.size, slot.mode, *numbers, *texts

    def addresses(self, row: int) -> list[int]:
        """The addresses by which a clone and its child find each other."""
        slot = slot_at(self.columns.ring, self.columns.first + row)
        if slot.kind not in (START, NEWTID) and slot.nr not in kinship.CLONES:
            return []
        return [one for one in (slot.arg0, slot.arg1, slot.arg2, slot.arg3) if one >= _ADDRESSES]

    def texts(self, first_call: int = 0, first_word: int = 0) -> bytes:
        """What its calls and marks say, in one piece: of those with numbers, from these on."""
        shapes, words = self.columns.shapes, self.columns.words
        numbers = {*np.unique(self.shape).tolist(), *self.spelled.values()}
        parts = list(self._texts)
        for number in numbers:
            if number >= first_call:
                call = shapes.calls[number]
                parts += (call.path, call.args, call.result, shapes.led_to[number])
        parts += [words[word][1] for word in np.unique(self.columns.word).tolist() if word >= first_word]
        return b"\n".join(parts)

    def _said_by(self, call: Call, led_to: bytes, status: tuple[int, int], is_fixed: bool) -> Said:
        head, quote, tail = call.args.rpartition(b'"')
        parts = [call.path, head + quote + ARGUMENT_ADDRESS.sub(b", 0x", tail), call.result, led_to]
        if not is_fixed:
            parts = [self._plain(part, is_note=False) for part in parts]
        return (call.syscall, call.op, call.error, status, *parts)

    def _plain(self, text: bytes, *, is_note: bool) -> bytes:
        return plainly(text, self.own, self.pids, is_note)

    def _number(self, value: int) -> object:
        if b"%d" % value in self.pids:
            return "thread", self.pids.index(b"%d" % value)
        return "address" if value >= _ADDRESSES else value


class RingPattern:
    """A ring as columns that only want other times.

    Args:
        source: as it was before it was folded.
        folded: what came of it.
        notes: likewise.
        quality: likewise.

    Raises:
        Unlike: something of it has no place in columns.
    """

    def __init__(self, source: RingSource, folded: Folded, notes: Notes, quality: ParseQuality) -> None:
        self.source = source
        self.requests: Requests | None = None
        # nobody asks of a sum when in each of them that was
        self._notes = replace(notes, first_site_done_ns=None, ended_ns={})
        self._quality = quality
        self._lives, self._calls, self._between = folded.lives, folded.calls, folded.between
        columns, rows = source.columns, folded.rows
        is_fixed = np.zeros(len(columns.kinds), dtype=bool)
        is_fixed[rows.row[~rows.own]] = True
        self._is_fixed = is_fixed
        """Rows that may differ in nothing but addresses: of calls that count."""
        known = {int(pid) for pid in source.pids} | {0}
        if not folded.tally.n_timed or any(not {one.pid, one.parent} <= known for one in rows.contexts.processes):
            raise Unlike
        self._times_of_odd()
        is_list = rows.of_shapes(lambda call: call.op is Op.LIST)
        self._lists = self._calls[is_list[columns.shape[self._calls]]]
        self._said: dict[int, Said] = {}
        """What rows say, as far as others were compared."""
        self._odd = frozenset(source.odd().tolist())
        for row in self._odd:
            self._said[row] = source.said(row, bool(is_fixed[row]))
        self._n_shapes, self._n_words = len(columns.shapes.calls), len(columns.words)
        self._texts = source.texts()
        self._named: dict[bytes, NDArray[np.bool_]] = {}
        """Name that is its own -> which of the distinct calls tell of it."""
        self._retimed = Retimed(folded.tally, rows)

    def _times_of_odd(self) -> None:
        """Where times stand that are not those of their own rows: a program's exec is told where the program has started."""
        source, columns = self.source, self.source.columns
        n = len(columns.kinds)
        self._from, self._until = np.arange(n), np.full(n, -1)
        self._has_end = columns.dur_ns >= 0
        for row in np.flatnonzero((columns.t_ns != source.t_ns) | (columns.dur_ns != source.dur_ns)).tolist():
            t_ns, dur_ns = int(columns.t_ns[row]), int(columns.dur_ns[row])
            if t_ns != source.t_ns[row]:
                found = np.flatnonzero((source.t_ns == t_ns) & (source.thread >= 0))
                if len(found) != 1:
                    raise Unlike
                self._from[row] = found[0]
                if dur_ns != source.t_ns[row] - t_ns:
                    raise Unlike
                self._until[row] = row
            elif dur_ns >= 0:
                raise Unlike

    # -- a further one ----------------------------------------------------------------------------------------------

    def match(self, source: RingSource) -> bool:
        """Whether the slots of another ring say the same."""
        mine, theirs = self.source.columns, source.columns
        if (
            len(mine.kinds) != len(theirs.kinds)
            or len(self.source.own) != len(source.own)
            or len(self.source.pids) != len(source.pids)
            or self.source.surroundings != source.surroundings
            or not np.array_equal(mine.kinds, theirs.kinds)
            or not np.array_equal(self.source.thread, source.thread)
            or not np.array_equal(mine.place, theirs.place)
            or not all(np.array_equal(mine.noted[name], theirs.noted[name]) for name in _SAME)
            or not np.array_equal(self.source.dur_ns < 0, source.dur_ns < 0)
        ):
            return False
        source.begin()
        differ = (self.source.shape != source.shape) & (self.source.shape >= 0) | (mine.word != theirs.word)
        try:
            is_same = all(self._is_same(source, row) for row in [*np.flatnonzero(differ).tolist(), *sorted(self._odd)])
        except Unlike:
            return False
        return is_same and self._are_kin(source) and self._is_nobodys(source)

    def _is_same(self, source: RingSource, row: int) -> bool:
        is_fixed = bool(self._is_fixed[row])
        mine = self._said.get(row)
        if mine is None:
            mine = self._said[row] = self.source.said(row, is_fixed)
        if (source.shape[row] < 0 and source.columns.word[row] < 0) != (row in self._odd):
            return False
        return mine == source.said(row, is_fixed)

    def _are_kin(self, source: RingSource) -> bool:
        """Whether clones and children find each other by the same addresses."""
        pairs: set[tuple[int, int]] = set()
        for row in self._odd:
            pairs.update(zip(self.source.addresses(row), source.addresses(row), strict=False))
        return len({one for one, _ in pairs}) == len(pairs) == len({other for _, other in pairs})

    def _is_nobodys(self, source: RingSource) -> bool:
        """Whether what is one run's own is nobody's in the other."""
        mine, theirs = set(self.source.own), set(source.own)
        known = source.shape[(source.shape >= 0) & (source.shape < self._n_shapes)]
        texts = source.texts(self._n_shapes, self._n_words)
        return not any(name in self._texts for name in theirs - mine) and not any(
            name in texts or self._telling_of(name)[known].any() for name in mine - theirs
        )

    def _telling_of(self, name: bytes) -> NDArray[np.bool_]:
        found = self._named.get(name)
        if found is None:
            calls = self.source.columns.shapes.calls[: self._n_shapes]
            found = self._named[name] = np.array([name in call.path or name in call.args for call in calls], dtype=bool)
        return found

    def read(self, source: RingSource) -> Same | None:
        """The tables of a ring whose slots say the same; None where its times could lead to others."""
        columns = source.columns
        t_ns = source.t_ns[self._from]
        dur_ns = np.where(self._until >= 0, source.t_ns[self._until] - t_ns, source.dur_ns)
        dur_ns[~self._has_end] = -1
        if (self._has_end & (dur_ns < 0)).any() or int(t_ns.max()) >= MOST_NS:
            return None
        ends_ns = t_ns + np.maximum(dur_ns, 0)
        if (t_ns[self._lists][1:] < ends_ns[self._lists][:-1]).any():
            return None  # several read directories at once
        shape = np.where(source.shape >= 0, source.shape, self.source.columns.shape)
        for row, number in source.spelled.items():
            shape[row] = number
        of = replace(columns, shape=shape, tid=columns.tid[self._from], t_ns=t_ns, dur_ns=dur_ns)
        times = Observed()
        timed.fill(times, of, self._lives, self._calls, self._between)
        pids = {int(pid): int(other) for pid, other in zip(self.source.pids, source.pids, strict=True)}
        return Same(
            tally=self._retimed.tally(t_ns, dur_ns, pids),
            columns=self._retimed.columns(t_ns, dur_ns),
            notes=self._notes,
            quality=replace(self._quality, wall_start_ns=source.wall_start_ns),
            times=times,
            requests=self.requests,
        )
