"""Logs of strace that were made elsewhere become a recording like any other."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import fsprobe
from fsprobe import capabilities
from fsprobe.capture.machine.host import TARGET_VARIABLES
from fsprobe.events.command import Command
from fsprobe.events.strace import parser, sources, stamps
from fsprobe.foreign_numbers import count
from fsprobe.model.events import Call, ParseQuality, Process
from fsprobe.privacy.log import call_values
from fsprobe.recording.file import write

STEP_NS = 1_000_000
"""A thread's calls follow one another; stamps that go back by more than this are those of a clock that was set."""
_DATA = re.compile(
    rb"^([^\"\n]*\b(?:p?(?:read|write)(?:64|v2?)?|(?:send|recv)(?:to|from|m?msg)?|getrandom|process_vm_(?:read|write)v|vmsplice|bpf|"
    rb"add_key|request_key|keyctl)(?:\(| resumed>))([^\n]*)$",
    re.MULTILINE,
)
_SIGNS = (
    b"read(", b"write(", b"read64(", b"write64(", b"readv", b"writev", b"sendto(", b"recvfrom(", b"sendm", b"recvm", b"getrandom(",
    b"vmsplice(", b"bpf(", b"_key(", b"keyctl(", b'resumed>"', b'resumed>, "', b'resumed> "',
)  # fmt: skip
"""One of these stands where `_DATA` matches: most logs are of calls on files alone."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"(?:\.\.\.)?')
BACKEND = "strace log"
"""What stands in the place of a backend where fsprobe did not record."""


def load_logs(
    paths: Sequence[Path], output: str, *, cwd: str = "", mounts: bytes = b"", label: str = ""
) -> ParseQuality:
    """Make a recording of strace logs that were made elsewhere; nothing is said of a machine that nobody described.

    Returns:
        What could not be used of the logs.

    Raises:
        BadInput: not readable, damaged, or no log of strace.
        FsprobeError: the recording can't be written.
    """
    quality = ParseQuality()
    n_events = 0
    command = Command()
    first_ns = last_ns = exit_code = first_tid = None
    latest: dict[int, int] = {}
    for event in parser.parse(sources.read_logs(paths), quality, cwd=os.fsencode(cwd) if cwd else None):
        n_events += 1
        if event.t_ns is not None:
            first_ns = event.t_ns if first_ns is None else first_ns
            last_ns = event.t_ns
            quality.n_steps_back += event.t_ns + STEP_NS < latest.get(event.tid, event.t_ns)
            latest[event.tid] = event.t_ns
        if isinstance(event, Call):
            command.note(event, TARGET_VARIABLES)
        if isinstance(event, Process):
            first_tid = event.tid if first_tid is None else first_tid
            if event.kind == "exit" and event.tid == first_tid and count(event.detail) is not None:
                exit_code = count(event.detail)
    sources.check_understood(quality, n_events, paths)
    if quality.has_times:
        quality.set_ahead_ns = stamps.set_ahead_ns(sources.read_logs(paths))
    is_timed = quality.has_times and not quality.n_steps_back and not quality.set_ahead_ns
    manifest = {
        "backend": BACKEND,
        "capabilities": log_capabilities(quality),
        "markers": "none",
        "logs": [path.name for path in paths],
        "command": command.words,
        "command_cut": command.is_cut,
        "environment": command.variables or {},
        "environment_observed": command.variables is not None,
        "label": label,
        "cwd": cwd,
        "cache": "unknown",
        "exit_code": exit_code,
        "wall_s": round((last_ns - first_ns) / 1e9, 6)
        if first_ns is not None and last_ns is not None and is_timed
        else None,
        "fsprobe_version": fsprobe.__version__,
    }
    write(
        output,
        "recording",
        [
            ("manifest", json.dumps(manifest, indent=1).encode()),
            ("log", _cut(blocks(sources.read_logs(paths)), [os.fsencode(word) for word in command.words or ()])),
            ("marks", b""),
            ("mounts", mounts),
        ],
    )
    return quality


def _cut(pieces: Iterable[bytes], command: Sequence[bytes]) -> Iterator[bytes]:
    """A log without the values that no analysis reads, as fsprobe's own: arguments of child programs, what was read and written."""
    for piece in pieces:
        piece = call_values.cut_block(piece, command)
        yield _DATA.sub(_without_strings, piece) if any(sign in piece for sign in _SIGNS) else piece


def _without_strings(line: re.Match[bytes]) -> bytes:
    return line.group(1) + _STRING.sub(call_values.NOTHING, line.group(2))


def log_capabilities(quality: ParseQuality) -> list[str]:
    """What a log that was made elsewhere shows: durations and children as far as its options let it."""
    shown = [capabilities.LOADER, capabilities.RESULTS, capabilities.STATS, capabilities.FOREIGN_PROGRAMS]
    if quality.has_durations:
        shown.append(capabilities.DURATIONS)
    if quality.has_tids:
        shown.append(capabilities.CHILDREN)
    return shown


def blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines in larger pieces, each with its line end."""
    piece: list[bytes] = []
    for line in lines:
        piece.append(line if line.endswith(b"\n") else line + b"\n")
        if len(piece) >= 4096:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)
