"""A ring that is repeated is read as so many runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks.parse_speed.rings import PID_STEP, grow
from fsprobe import pipeline
from fsprobe.events.ring.slots import HEAD, HEADER_BYTES, MAGIC, NEXT_AT, SLOT, SLOT_BYTES, VERSION, Slot
from fsprobe.model.events import Call, ParseQuality
from fsprobe.recording import file
from fsprobe.recording.file import Recording

PATH = b"/data/x"


def ring(n_stats: int) -> bytes:
    """A process that starts and asks for the status of a file."""
    empty = dict.fromkeys(Slot._fields, 0) | {"magic": 0xF5, "state": 2, "text": b""}
    start = {**empty, "kind": 2, "tid": 7, "arg0": 7, "arg1": 1, "t_ns": 1, "n1": 7, "text": PATH}
    slots = [start]
    slots += [
        {**empty, "kind": 0, "tid": 7, "t_ns": 10 + n, "dur_ns": 5, "nr": 4, "n1": 7, "text": PATH}
        for n in range(n_stats)
    ]
    head = bytearray(HEADER_BYTES)
    HEAD.pack_into(head, 0, MAGIC, VERSION, SLOT_BYTES, len(slots), len(slots), 0)
    head[NEXT_AT : NEXT_AT + 8] = len(slots).to_bytes(8, "little")
    return bytes(head) + b"".join(SLOT.pack(*(slot[name] for name in Slot._fields)) for slot in slots)


def test_each_copy_is_a_run_of_its_own(tmp_path: Path) -> None:
    source, target = tmp_path / "one.fsprobe", tmp_path / "many.fsprobe"
    file.write(str(source), "recording", [("manifest", b"{}"), ("marks", b""), ("ring", ring(9))])
    assert grow(source, 35, target) == 40
    recording = Recording(str(target))
    events = list(pipeline.read_events(recording, ParseQuality(), pipeline.read_hooks(recording)))
    calls = [event for event in events if isinstance(event, Call)]
    assert Counter(call.tid for call in calls if call.syscall == "stat") == {7 + n * PID_STEP: 9 for n in range(4)}
    assert len([call for call in calls if call.syscall == "execve"]) == 4
    times = [call.t_ns for call in calls if call.t_ns is not None]
    assert times == sorted(times)
    assert {call.path for call in calls} == {PATH}
