"""What one pass over a log remembers, and how it keeps count of what it could not use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fsprobe.events.strace.lineage import Families
from fsprobe.events.strace.values import duration_ns, error_of
from fsprobe.model.events import Event, Op, ParseQuality

N_EXAMPLES = 5
CACHE_SIZE = 65_536
MAX_TEXTS = 16_384
MAX_TEXT_BYTES = 1_000
Known = tuple[str, Op | None, bytes, str, bytes, bytes, bool]
"""What a line says but for its thread and its times: system call, kind, path, error, arguments, result, and whether what stands
before the arguments, the working directory, is left out. Without a kind it is a status of a descriptor, which names no path."""
TEXTS: dict[bytes, Known] = {}
"""Lines that were taken apart, by their text after the times and before the duration; the working directory of a call that names
an absolute path is a line's end in it. Kept from one log to the next: the ranks of a job make the same calls."""


@dataclass(slots=True)
class Log:
    """Everything that one pass over a log remembers."""

    quality: ParseQuality
    families: Families
    out: list[Event]
    line: bytes = b""
    last_unparsed: int = 0
    has_annotations: bool = False
    errors: dict[bytes, str] = field(default_factory=dict)
    durations: dict[bytes, int] = field(default_factory=dict)
    directories: dict[bytes, bytes | None] = field(default_factory=dict)
    """First argument with its comma (`3</x>, `) -> path of the directory, for descriptors that -y annotates."""
    others: set[bytes] = field(default_factory=set)
    """Names of calls without a path that this log has shown."""
    half_line: tuple[bytes, int | None, bytes] | None = None
    in_summary: bool = False
    on_status: Callable[[int, int | None, bytes], None] | None = None
    """Told of each successful status of an open descriptor, which is no event: thread, time, the call's arguments."""
    n_new_texts: int = 0
    """Lines of this log that were not in `TEXTS`."""


def unparsed(log: Log, line: bytes) -> None:
    quality = log.quality
    quality.n_unparsed += 1
    log.last_unparsed = quality.n_lines
    if len(quality.unparsed_examples) < N_EXAMPLES:
        quality.unparsed_examples.append(line.rstrip(b"\r\n"))


def count(log: Log, name: bytes, *, is_error: bool) -> None:
    key = name.decode("ascii")
    log.quality.other_calls[key] = log.quality.other_calls.get(key, 0) + 1
    if is_error:
        log.quality.other_errors[key] = log.quality.other_errors.get(key, 0) + 1


def count_returned(log: Log, name: bytes, error: str) -> None:
    """Count a call without a path, unless it never returned."""
    if error != "?":
        count(log, name, is_error=error != "")


def remember_error(log: Log, result: bytes) -> str | None:
    error = error_of(result)
    if error is not None:
        if len(log.errors) >= CACHE_SIZE:
            log.errors.clear()
        log.errors[result] = error
    return error


def remember_duration(log: Log, raw: bytes) -> int | None:
    ns = duration_ns(raw.rstrip(b"\r\n"))
    if ns is not None:
        log.quality.has_durations = True
        if len(log.durations) >= CACHE_SIZE:
            log.durations.clear()
        log.durations[raw] = ns
    return ns


def remember_text(log: Log, text: bytes, directory: bytes, known: Known) -> dict[bytes, Known] | None:
    """Keep what a line says in `TEXTS`; gives these, or None where that is of no use, since a log repeats nothing.

    Args:
        log: which has the line.
        text: the line without times.
        directory: what is left out of it: `AT_FDCWD</x>, `, b"" for nothing.
        known: what it says.
    """
    log.n_new_texts += 1
    if log.n_new_texts >= MAX_TEXTS and 2 * log.n_new_texts > log.quality.n_lines:
        return None
    if len(text) <= MAX_TEXT_BYTES and b", 0x" not in text:  # an address is another process's never again
        if len(TEXTS) >= MAX_TEXTS:
            TEXTS.clear()
        TEXTS[text.replace(directory, b"\n", 1) if directory else text] = known
    return TEXTS
