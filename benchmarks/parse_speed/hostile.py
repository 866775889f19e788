"""A log of names that look like parts of a log, whose calls are known from the program that made them."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from benchmarks.evidence import Json
from benchmarks.parse_speed.logs import run, trace
from benchmarks.parse_speed.readers import Row

HOSTILE_NAMES = [
    b"plain", b"sp ace", b"x = y", b") = 0", b'q"uote', b"new\nline", b"tab\t", b"back\\slash", b"<unfinished ...>", b"a<b>c", b"a,b",
    b"\xff\xfe", b"caf\xc3\xa9", b"(deleted)", b"resumed>) = 3", b"= -1 ENOENT (No such file or directory)", b"\x01", b"'",
    b"{st_mode=S_IFREG}", b"+++ exited with 0 +++",
]  # fmt: skip
HOSTILE = r"""
import os, sys, threading
place, names = sys.argv[1].encode(), {names!r}
def work(number):
    for name in names:
        for what in (b"", b"-missing"):
            path = place + b"/%d-" % number + name + what
            try: os.stat(path)
            except OSError: pass
            try: os.close(os.open(path, os.O_RDONLY))
            except OSError: pass
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def expected_rows(place: Path, n_threads: int = 8) -> Counter[Row]:
    """What the hostile program does, by its text."""
    head = os.fsencode(place)
    return Counter(
        (kind, head + b"/%d-" % number + name + what, not what)
        for number in range(n_threads)
        for name in HOSTILE_NAMES
        for what in (b"", b"-missing")
        for kind in ("stat", "open")
    )


def check_hostile(python: str, scratch: Path) -> list[Json]:
    """Each reader on the log of the hostile program, in the format that it reads best."""
    place = scratch / "hostile"
    place.mkdir()
    for number in range(8):
        for name in HOSTILE_NAMES:
            (place / os.fsdecode(b"%d-" % number + name)).touch()
    truth = expected_rows(place)
    program = scratch / "hostile.py"
    program.write_text(HOSTILE.format(names=HOSTILE_NAMES))
    rows = []
    for reader, log_kind in (("fsprobe", "own"), ("fsprobe", "tt"), ("stracetools", "tt"), ("awk", "own")):
        log = trace(python, [python, str(program), str(place)], scratch, log_kind)
        data = log.read_bytes()
        words = [
            python,
            "-c",
            "import sys; from benchmarks.parse_speed.readers import child_rows; child_rows(*sys.argv[1:])",
        ]
        text = run([*words, reader, str(log), str(place)])
        found: Counter[Row] = Counter((kind, path.encode("latin-1"), ok) for kind, path, ok in json.loads(text))
        rows.append(
            {
                "reader": reader,
                "log": "fsprobe's own command" if log_kind == "own" else "strace -f -tt -T",
                "n_lines": data.count(b"\n"),
                "n_in_two_halves": data.count(b"<unfinished ...>\n"),
                "n_expected": truth.total(),
                "n_right": (found & truth).total(),
                "n_lost": (truth - found).total(),
                "n_wrong": (found - truth).total(),
            }
        )
    return rows
