"""Same-run equality: strace and inline observe one run of a program, and what they saw is compared call for call."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import evidence
from benchmarks.inline.programs import FILES, MAX_S, PROGRAMS, Program
from fsprobe.errors import FsprobeError
from fsprobe.events import ring
from fsprobe.events.ring import mapped
from fsprobe.experiment import selftest
from fsprobe.model.events import ParseQuality
from fsprobe.recording.file import Recording

MAX_LOG = "4G"


def measure(pythons: Sequence[str], only: Sequence[str] = ()) -> list[evidence.Json]:
    """A row for each program: how far the two agree.

    Args:
        pythons: interpreters; a program takes the first that has what it needs.
        only: beginnings of names; empty for all.
    """
    rows = []
    for program in PROGRAMS:
        if only and not any(program.name.startswith(name) for name in only):
            continue
        python = next((one for one in pythons if has_modules(one, program.modules)), None)
        if python is None or not program.is_there():
            rows.append({"program": program.name, "why_not": "not installed here"})
        else:
            rows.append(compare(program, python))
        evidence.say(" ".join(f"{key} {value}" for key, value in rows[-1].items() if key != "examples"))
    return rows


def has_modules(python: str, modules: Sequence[str]) -> bool:
    """Whether an interpreter finds modules."""
    code = "import importlib.util as u, sys; sys.exit(any(u.find_spec(name) is None for name in sys.argv[1:]))"
    return subprocess.run([python, "-c", code, *modules], capture_output=True).returncode == 0


def compare(program: Program, python: str) -> evidence.Json:
    """One run under both."""
    with tempfile.TemporaryDirectory(prefix="fsprobe-equality-") as name:
        place = Path(name)
        for file, text in FILES.items():
            (place / file).write_text(text)
        output = place / "run.fsprobe"
        # imports are not marked: what is compared is the program's calls
        words = [
            sys.executable,
            "-m",
            "fsprobe",
            "run",
            "--record-only",
            "--no-markers",
            "--backend",
            selftest.BACKENDS,
        ]
        words += ["--max-log", MAX_LOG, "--wait-descendants", "20", "-o", str(output), "--"]
        words += ["timeout", str(MAX_S), *program.words(python, place)]
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=evidence.REPOSITORY, env=dict(os.environ, HOME=name)
        )
        row: evidence.Json = {"program": program.name, "exit_code": done.returncode}
        try:
            recording = Recording(str(output))
            agreement = selftest.compare(program.name, recording)
            quality = ParseQuality()
            for _ in ring.read(mapped.in_one_piece(recording, selftest.RING), quality, ring.RingFacts()):
                pass
        except FsprobeError as error:
            return {**row, "why_not": evidence.neutral(str(error)), "stderr": evidence.neutral(done.stderr[-400:])}
        row |= {key: value for key, value in asdict(agreement).items() if key not in ("program", "examples")}
        row["unseen"], row["by_preload"] = (
            sorted({Path(path).name for path in found}) for found in (quality.unseen, quality.by_preload)
        )
        row |= {"is_complete": agreement.is_complete, "is_explained": agreement.is_explained}
        row["examples"] = [
            evidence.neutral(text, PLACE=place, ENV=str(Path(python).parent.parent)) for text in agreement.examples
        ]
        return row


HEADER = (
    "program",
    "ends with",
    "calls (strace)",
    "equal",
    "ended in it",
    "the loader's",
    "not seen",
    "inline alone",
    "threads in order",
    "opened paths",
    "lost",
    "programs not seen",
    "by LD_PRELOAD",
)


def table(rows: Sequence[evidence.Json]) -> str:
    """The rows as Markdown."""
    return evidence.table(HEADER, [_cells(row) for row in rows])


def _cells(row: evidence.Json) -> list[object]:
    if "why_not" in row:
        return [row["program"], row.get("exit_code", ""), row["why_not"], *[""] * (len(HEADER) - 3)]
    return [
        row["program"],
        row["exit_code"],
        f"{row['n_calls']:,}",
        f"{row['n_equal']:,}",
        row.get("n_cut_off", 0),
        row.get("n_loaders", 0),
        row["n_unseen"],
        row["n_extra"],
        f"{row['n_threads_in_order']}/{row['n_threads']}",
        f"{row['n_opened_equal']:,}/{row['n_opened'] - row['n_opened_unseen']:,}",
        row["n_lost"],
        ", ".join(row["unseen"]),
        ", ".join(row["by_preload"]),
    ]
