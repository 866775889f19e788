"""Reads logs of strace and of our tracer into what must be equal between two runs of one deterministic program."""

from __future__ import annotations

import re

_LINE = re.compile(rb"(\d+) +\d+\.\d{6} \(\+ *\d+\.\d{9}\) (.*)")
_DURATION = re.compile(rb" <\d+\.\d{6}>$")
_CHANCE = (
    (re.compile(rb"\b0x[0-9a-f]{3,}\b"), b"PTR"),
    (re.compile(rb"(?<=parent_tid=\[)\d+|(?<=execve in pid )\d+|(?<=/proc/)\d+"), b"TID"),
    (re.compile(rb"^((?:clone3?|v?fork)\(.*\) = )\d+$"), rb"\1TID"),
    (re.compile(rb"(?<=pipe:\[)\d+|(?<=/#)\d+"), b"INODE"),
    (re.compile(rb" /\* \d{4}-\d\d-\d\dT[^*]*\*/"), b""),  # strace repeats a time in words
)
_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>")
_FALSE_ERROR = re.compile(rb"\) = -1 \(errno 18446744073709551\d+\)$")


def calls_by_tid(log: bytes, n_lost: int = 0) -> dict[int, list[bytes]]:
    """Whole lines per thread id, durations cut off, halves joined; signals left out (when they come is chance).

    The first call after each of the first `n_lost` execve by threads is left out: strace does not see it.
    """
    replaced: set[int] = set()
    threads: dict[int, list[bytes]] = {}
    begun: dict[int, bytes] = {}
    for raw in log.splitlines():
        match = _LINE.fullmatch(raw)
        assert match is not None, raw
        tid, text = int(match.group(1)), _DURATION.sub(b"", match.group(2))
        changed = re.search(rb" <pid changed to (\d+) \.\.\.>$", text)
        if text.endswith(b" <unfinished ...>"):
            begun[tid] = begun.pop(tid, b"") + text[: -len(b" <unfinished ...>")]
            continue
        if changed:
            begun[int(changed.group(1))] = text[: changed.start()]
            continue
        superseded = re.fullmatch(rb"\+\+\+ superseded by execve in pid (\d+) \+\+\+", text)
        if superseded and n_lost:
            n_lost -= 1
            replaced.add(tid)
        if superseded and int(superseded.group(1)) in begun:
            begun[tid] = begun.pop(int(superseded.group(1)))
        resumed = _RESUMED.match(text)
        if resumed:
            text = begun.pop(tid) + text[resumed.end() :]
        if not text.startswith(b"---"):
            if tid in replaced and threads[tid][-1].startswith(b"execve("):
                replaced.remove(tid)
                continue
            threads.setdefault(tid, []).append(text)
    return threads


def per_thread(log: bytes, n_lost: int = 0) -> list[list[str]]:
    """The calls of each thread in their order, ids and addresses blanked; the threads sorted by what they do."""
    threads = calls_by_tid(log, n_lost)
    result = []
    for calls in threads.values():
        shown = []
        for call in calls:
            call = _FALSE_ERROR.sub(b") = 0", call)
            for pattern, instead in _CHANCE:
                call = pattern.sub(instead, call)
            shown.append(call.decode("ascii"))
        result.append(shown)
    return sorted(result)


def monotonic_ns(log: bytes) -> list[int]:
    """The sum of the relative stamps at each line, in ns."""
    total, sums = 0, []
    for match in re.finditer(rb"(?m)^\d+ +\d+\.\d{6} \(\+ *(\d+)\.(\d{9})\)", log):
        total += int(match.group(1)) * 10**9 + int(match.group(2))
        sums.append(total)
    return sums
