"""The report on robustness: tables, from its JSON alone."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import evidence
from benchmarks.evidence import Json

BACKENDS = ("strace", "ptrace", "audit", "inline")


def markdown(result: Json) -> str:
    """The report's tables."""
    parts = result["parts"]
    sections = [
        "# Robustness\n",
        evidence.about(result),
        "What may go wrong was made to go wrong. A part is measured by `python -m benchmarks.robustness --only PART`, and kept.\n",
    ]
    for name, show in (
        ("faults", _faults),
        ("signals", _signals),
        ("inputs", _inputs),
        ("words", _words),
        ("cpython", _cpython),
    ):
        if name in parts:
            title, *rest = show(parts[name])
            commit = result.get("commits", {}).get(name)
            sections += [title, *([f"Measured at commit {commit}.\n"] if commit else []), *rest]
    return "\n".join(sections)


def _failed(rows: Sequence[Json], columns: Sequence[str]) -> list[str]:
    if not rows:
        return ["Failed: 0.\n"]
    return [
        f"Failed: {len(rows)}.\n",
        evidence.table(columns, [[row.get(column, "") for column in columns] for row in rows[:40]]),
    ]


def _faults(part: Json) -> list[str]:
    rows = [[row["line"], row["n_kinds"], row["n_tried"], row["n_reached"], row["n_failed"]] for row in part["lines"]]
    return [
        "## Each I/O call of fsprobe fails\n",
        "The first and the last call of each kind (what is done to which file) of fsprobe's own process fails, in turn alone and with "
        "all that follow: EIO, ENOSPC and ESTALE in turn. A run passes when the command's output and exit code are kept and the "
        "recording is whole, or a line says what is missing; the others when they end with a documented exit code and a line.\n",
        evidence.table(["command line", "kinds of calls", "tried", "reached", "failed"], rows),
        *_failed(part["failed"], ["line", "call", "how", "problem"]),
    ]


def _signals(part: Json) -> list[str]:
    sent = ", ".join(f"{n} {name}" for name, n in sorted(part["by_signal"].items()))
    return [
        "## Signals at any moment\n",
        f"{part['n_tried']} starts of 17 command lines got a signal within the first 0.9 s, alone or with their process group ({sent}). "
        "Nothing may hang, and nothing may print a traceback.\n",
        *_failed(part["failed"], ["line", "signal", "problem", "cause"]),
    ]


def _inputs(part: Json) -> list[str]:
    return [
        "## Bad input\n",
        "Each gives a result, or one line and a documented exit code, within 40 s.\n",
        evidence.table(["kind", "tried"], sorted(part["n_tried"].items())),
        *_failed(part["failed"], ["kind", "line", "problem"]),
    ]


def _words(part: Json) -> list[str]:
    return [
        "## Planted secrets and names\n",
        f"{part['n_secrets']} secrets in one recording, looked for in every file of a ticket made with and without `--redact`; {part['n_names']} "
        "names of people, hosts and servers, looked for in the redacted one. What may be a name, stayed, and is listed by the "
        "command counts as said.\n",
        *_failed(part["failed"], ["place", "word", "problem"]),
    ]


def _cpython(rows: Sequence[Json]) -> list[str]:
    differences = [{"file": row["file"], **one} for row in rows for one in row["differences"]]
    named = [one for one in differences if one["cause"]]
    table = []
    for row in rows:
        cells = []
        for backend in BACKENDS:
            found = [one for one in row["differences"] if one["backend"] == backend]
            cells.append(str(len(found)) if found else "0")
        table.append([row["file"], row["n_tests"], row["n_unsteady"], row["end"], *cells])
    n_tests = sum(row["n_tests"] for row in rows)
    return [
        "## CPython's own tests, with and without fsprobe\n",
        f"{len(rows)} test files, {n_tests:,} tests, run alone twice and once under each backend. A test counts as unsteady "
        "when its outcome differed between the two runs alone; it is not compared. The other columns count outcomes that "
        f"differ from the run alone: {len(differences)}, {len(named)} of them with a named cause.\n",
        evidence.table(["file", "tests", "unsteady", "alone", *BACKENDS], table),
        *(
            [evidence.table(["file", "backend", "test", "alone", "with fsprobe", "cause"],
                            [[one["file"], one["backend"], one["test"], one["alone"], one["with_fsprobe"], one["cause"] or "not known"]
                             for one in differences])]
            if differences else []
        ),
    ]  # fmt: skip
