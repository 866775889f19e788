"""Slots to events, in the order in which the calls began."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

from fsprobe.events.ring import kinship
from fsprobe.events.ring.facts import Loss, ObjectSites, Reads, RingFacts, Usage
from fsprobe.events.ring.slots import (
    BEGUN,
    HAS_CUT,
    HAS_LONG,
    HAS_NO_USAGE,
    HAS_SAME,
    MARK,
    NEWTID,
    OBJECT,
    START,
    TEXT_BYTES,
    Ring,
    Slot,
    slot_at,
    span_of,
    texts_of,
)
from fsprobe.events.ring.spelling import NAMES, OPS, PLAIN, SPELLING, Texts, annotation, error_of, result_of
from fsprobe.model.events import Call, Event, Mark, Op, ParseQuality, Process, plain

EXECS = frozenset({59, 322})
CALLS = frozenset(NAMES) - EXECS
_EXIT, _EXIT_GROUP, _IO_URING = 60, 231, 425
EXITS = frozenset({_EXIT, _EXIT_GROUP})
_NOT_FOUND = 127
_NOT_STARTED = _NOT_FOUND << 8
_NAME_THE_DESCRIPTOR = frozenset({265, 267, 322})
"""With an empty path linkat, readlinkat and execveat look at the file behind their descriptor."""
_FLAGS_AT = {260: 3, 303: 3, 428: 2, 439: 3, 442: 2, 452: 3}
"""Calls that need no path with AT_EMPTY_PATH -> the argument that holds it. A descriptor's status gets no slot at all."""
_AT_EMPTY_PATH = 0x1000
HAS_ODD_TEXT = HAS_LONG | HAS_CUT
_EFAULT = -14
_OPEN = Op.OPEN
MARKS = {b">": "begin", b"<": "end", b"!": "note"}
_PATH_ARGUMENT = {266: 2, 301: 4}
_NOTHING: Texts = (b"", b"", b"", b"")


class Run:
    """What one pass remembers: slots in, events out."""

    def __init__(
        self,
        ring: Ring,
        quality: ParseQuality,
        facts: RingFacts,
        families: kinship.Families,
        cwd: bytes | None,
        on_status: Callable[[int, int | None, bytes], None] | None,
    ) -> None:
        self.on_status = on_status
        self.ring, self.quality, self.facts, self.families, self.cwd = ring, quality, facts, families, cwd
        self.pid_of: dict[int, int] = {}
        self.programs: dict[int, bytes] = {}
        """Process -> the program that it has started last."""
        self.left: dict[int, Loss] = {}
        """Processes that have left our sight by an exec."""
        self.threads: dict[int, dict[int, None]] = {}
        """Process -> its threads that live, in the order in which they were born."""

    def seldom(self, index: int, kind: int, slot: Slot | None) -> Iterator[Event]:
        """All but the calls that look a path up."""
        if slot is not None:
            number = slot.nr
            if number in EXECS:
                yield from self.exec(index, slot)
            elif number in EXITS:
                yield from self.exit(slot)
            elif index in self.families.births:
                yield from self.birth(index, slot)
            elif number in kinship.WAITS:
                yield from self.ended(slot)
            elif number == _IO_URING:
                self.quality.io_uring = True
            elif number not in kinship.CLONES:
                self.damaged()
        elif kind == START:
            yield from self.start(index, slot_at(self.ring, index))
        elif kind == NEWTID:
            yield from self.newtid(index, slot_at(self.ring, index))
        elif kind == MARK:
            mark = self.mark(slot_at(self.ring, index))
            if mark is not None:
                yield mark
        elif kind == OBJECT:
            self.object(slot_at(self.ring, index))
        elif kind > MARK and kind != 0xFF:
            self.damaged()

    def close(self) -> None:
        """Say what was lost and who was not seen."""
        quality, facts = self.quality, self.facts
        quality.n_lost += facts.n_lost
        for programs, losses in (
            (quality.unseen, facts.unseen),
            (quality.not_started, facts.not_started),
            (quality.by_preload, facts.by_preload),
        ):
            for loss in losses:
                name = os.fsdecode(loss.path)
                programs[name] = programs.get(name, 0) + 1

    def damaged(self) -> None:
        self.facts.n_damaged += 1
        self.quality.n_unparsed += 1

    def slot(self, index: int) -> Slot:
        """A slot that came before."""
        return slot_at(self.ring, index)

    def ring_of(self, slot: Slot) -> Ring:
        """Where a slot's texts lie."""
        return self.ring

    def texts(self, slot: Slot) -> Texts:
        n_path = slot.n1
        if not slot.has & HAS_ODD_TEXT and not (slot.n2 or slot.n3 or slot.n4) and n_path <= TEXT_BYTES:
            return slot.text[:n_path], b"", b"", b""  # most have one text, beside them
        texts = texts_of(self.ring_of(slot), slot)
        if texts is None:
            self.damaged()
            return _NOTHING
        if slot.has & HAS_CUT:
            self.facts.n_cut += 1
        return texts

    # -- calls ------------------------------------------------------------------------------------------------------

    def call(self, index: int, slot: Slot) -> Call | None:
        texts = self.texts(slot)
        call = spelled(slot, texts)
        if call is None:
            return None
        if slot.state == BEGUN:
            self.quality.n_unfinished += 1
        elif call.op is _OPEN and slot.result >= 0:
            self._reads(slot, texts, call.path)
        return call

    def opened(self, slot: Slot, path: bytes) -> None:
        """Note what was read through a descriptor, of an open that is known otherwise."""
        self._reads(slot, self.texts(slot), path)

    def _reads(self, slot: Slot, texts: Texts, path: bytes) -> None:
        led_to = place_of(slot, texts, path)
        if slot.n_reads or slot.n_maps:
            self._add_reads(slot, led_to, span_of(slot.t_ns, slot.arg3))
        if slot.n_fstats:
            mode, size = self.facts.fstats.get(led_to, (0, 0))
            self.facts.fstats[led_to] = (slot.mode, max(size, slot.size))
            if self.on_status is not None:
                args = b'%d%s, "", {...}, AT_EMPTY_PATH' % (slot.result, annotation(led_to))
                self.on_status(slot.tid, slot.t_ns + slot.dur_ns + 1, args)

    def _add_reads(self, slot: Slot, path: bytes, span: tuple[int, int] = (0, 0)) -> None:
        self.facts.reads.append(
            Reads(
                slot.tid,
                slot.t_ns,
                path,
                slot.n_reads,
                slot.read_bytes,
                slot.read_ns,
                slot.n_maps,
                slot.map_bytes,
                slot.map_ns,
                *span,
            )
        )

    def exec(self, index: int, slot: Slot) -> Iterator[Event]:
        if slot.state != BEGUN:
            texts = self.texts(slot)
            error, text = error_of(slot.result)
            path = _path_of(slot, texts) or b""
            args = SPELLING[slot.nr](slot, texts)
            yield Call(slot.tid, slot.t_ns, NAMES[slot.nr], Op.EXEC, path, error, slot.dur_ns, args, text)
        elif index not in self.families.entered:
            path = _path_of(slot, self.texts(slot)) or b""
            loss = Loss(slot.tid, slot.t_ns, path)
            self.facts.unseen.append(loss)
            self.left[self.pid_of.get(slot.tid, slot.tid)] = loss
            yield from self._executed(slot, slot.tid, None)

    def _executed(self, slot: Slot, tid: int, dur_ns: int | None) -> Iterator[Event]:
        texts = self.texts(slot)
        path = _path_of(slot, texts) or b""
        args = SPELLING[slot.nr](slot, texts)
        child = self.pid_of.get(tid, tid)
        yield Call(tid, slot.t_ns, NAMES[slot.nr], Op.EXEC, path, "", dur_ns, args, b"0")
        yield Process("exec", tid, slot.t_ns, child, path)
        self.threads[child] = {child: None}  # the others have ended with it
        self.pid_of[child] = child

    # -- who runs ---------------------------------------------------------------------------------------------------

    def start(self, index: int, slot: Slot) -> Iterator[Event]:
        tid, parent = slot.tid, slot.arg1
        texts = self.texts(slot)
        if slot.n_reads or slot.n_maps:
            self._add_reads(slot, b"")
        if slot.arg2:
            self.facts.by_preload.append(Loss(tid, slot.t_ns, texts[0]))
        called = self.families.called.pop(index, None)
        self.programs[tid] = texts[0]
        if called is not None:
            exec_slot = self.slot(called)
            yield from self._executed(exec_slot, exec_slot.tid, max(0, slot.t_ns - exec_slot.t_ns))
            return
        if tid not in self.pid_of and parent in self.pid_of:
            yield Process("fork", parent, slot.t_ns, tid, b"")
        # nobody was seen to start it: the first program of a run, or the child of one that is not seen
        program = slot._replace(nr=59, arg0=0, arg1=0)
        base, self.cwd = texts[2] or self.cwd or b"", None
        path = plain(_joined(base, texts[0]) if texts[0][:1] != b"/" else texts[0])
        yield Call(tid, slot.t_ns, "execve", Op.EXEC, path, "", None, SPELLING[59](program, texts), b"0")
        yield Process("exec", tid, slot.t_ns, tid, path)
        self.pid_of[tid] = tid
        self.threads[tid] = {tid: None}

    def birth(self, index: int, slot: Slot) -> Iterator[Event]:
        """A clone that made somebody who was seen."""
        child, pid = self.families.births.pop(index)
        yield Process("thread" if child != pid else "fork", slot.tid, slot.t_ns, child, b"")
        self._born(child, pid)

    def newtid(self, index: int, slot: Slot) -> Iterator[Event]:
        tid, pid, parent = slot.tid, slot.arg0, slot.arg1
        if slot.n_reads or slot.n_maps:
            self._add_reads(slot, b"")
        if self.pid_of.get(tid) == pid:
            return
        if tid != pid:
            yield Process("thread", pid, slot.t_ns, tid, b"")
        elif parent in self.pid_of:
            yield Process("fork", parent, slot.t_ns, tid, b"")
        self._born(tid, pid)

    def _born(self, tid: int, pid: int) -> None:
        self.pid_of[tid] = pid
        self.threads.setdefault(pid, {})[tid] = None

    def exit(self, slot: Slot) -> Iterator[Event]:
        tid = slot.tid
        pid = self.pid_of.get(tid, tid)
        threads = self.threads.get(pid, {})
        ended = [tid]
        status = b"0"
        if slot.nr == _EXIT_GROUP:
            if slot.arg0 & 0xFF == _NOT_FOUND and slot.arg1 == 1:
                self.facts.not_started.append(Loss(tid, slot.t_ns, self.programs.get(pid, b"")))
            status = b"%d" % (slot.arg0 & 0xFF)
            ended = [other for other in threads if other != pid] + [pid]
        for one in ended:
            yield Process("exit", one, slot.t_ns, 0, status)
            threads.pop(one, None)
            self.pid_of.pop(one, None)

    def ended(self, slot: Slot) -> Iterator[Event]:
        """What a parent heard of a child; most have told their own end before."""
        pid, status = slot.arg0, slot.arg1
        threads = self.threads.pop(pid, {})
        left = self.left.pop(pid, None)
        if status == _NOT_STARTED and left is not None:
            self.facts.not_started.append(left)
        how, detail = (
            ("killed", _signal_name(status & 0x7F)) if status & 0x7F else ("exit", b"%d" % (status >> 8 & 0xFF))
        )
        for one in [other for other in threads if other != pid] + [pid] * (pid in threads):
            yield Process(how, one, slot.t_ns, 0, detail)
            self.pid_of.pop(one, None)

    # -- the rest ---------------------------------------------------------------------------------------------------

    def mark(self, slot: Slot) -> Mark | None:
        text = self.texts(slot)[0]
        kind = MARKS.get(text[7:8]) if text[:7] == b"fsprobe" else None
        if kind is None:
            self.damaged()
            return None
        if not slot.has & HAS_NO_USAGE:
            self.facts.usages.append(Usage(slot.tid, slot.t_ns, slot.arg0, slot.arg1, slot.arg3, slot.arg2))
        return Mark(slot.tid, slot.t_ns, kind, text[8:])

    def object(self, slot: Slot) -> None:
        numbers = self.texts(slot)[0]
        pairs = frozenset(numbers[at] | numbers[at + 1] << 8 for at in range(0, len(numbers) - 1, 2))
        self.facts.objects.append(ObjectSites(slot.tid, bool(slot.arg2), slot.arg0, slot.arg1, pairs))


def spelled(slot: Slot, texts: Texts) -> Call | None:
    """The call of a slot; None where it looks up no path."""
    number, result = slot.nr, slot.result
    path = _path_of(slot, texts)
    if path is None:
        return None
    op = OPS[number]
    args = SPELLING[number](slot, texts)
    if slot.state == BEGUN:
        return Call(slot.tid, slot.t_ns, NAMES[number], op, path, "?", None, args, b"")
    if result < 0:
        error, text = error_of(result)
    else:
        error = ""
        text = result_of(slot, texts) if op is _OPEN else b"%d" % result if result else b"0"
    return tuple.__new__(Call, (slot.tid, slot.t_ns, NAMES[number], op, path, error, slot.dur_ns, args, text))


def place_of(slot: Slot, texts: Texts, path: bytes) -> bytes:
    """Where an open of a path led to."""
    return (texts[0] if slot.has & HAS_SAME else texts[1]) or path


def _path_of(slot: Slot, texts: Texts) -> bytes | None:
    """The path that a call looks up, b"" where it is not known, None where it looks up none."""
    number, written, base = slot.nr, texts[0], texts[2]
    if base[:1] != b"/":
        base = b""
    if number in (78, 217):
        return base
    if written[:1] == b"/":
        return plain(written)
    if not written:
        if number in _NAME_THE_DESCRIPTOR and slot.result != _EFAULT:
            return base
        if number not in PLAIN and number not in _PATH_ARGUMENT and not slot.arg1:
            return None  # a null path: the descriptor itself is meant
        flags_at = _FLAGS_AT.get(number)
        if flags_at is not None and slot.state != BEGUN and not slot.has & HAS_CUT:
            return None if (slot.arg2, slot.arg3)[flags_at - 2] & _AT_EMPTY_PATH else b""
        return b""
    return plain(_joined(base, written))


def _signal_name(number: int) -> bytes:
    try:
        return signal.Signals(number).name.encode()
    except ValueError:
        return b"SIGRT_%d" % (number - 32) if number >= 32 else b"%d" % number


def _joined(base: bytes, name: bytes) -> bytes:
    if not base:
        return name
    return base + name if base[-1:] == b"/" else base + b"/" + name
