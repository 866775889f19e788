"""The tools that `benchmarks.peers` asks: how each is run, and what its output answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import fsprobe_of

QUESTIONS = (
    "How many stats?",
    "Which import?",
    "Which filesystem?",
    "How many in vain, and why?",
    "What reaches the server?",
    "What shall I do?",
)
NO = "no"
Answers = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A tool, how it is run on a script, and what its output answers."""

    name: str
    words: Callable[[str, Path, Path], list[str]]
    """(python, script, file for the output) -> command line"""
    answers: Callable[[str], Answers]
    """The text of its output -> an answer to each question."""
    excerpt: str = ""
    """A pattern for the lines that are shown; without one the first lines are."""
    n_lines: int = 10
    needs_root: bool = False


def _rows(text: str) -> dict[str, tuple[int, int]]:
    """name -> (calls, errors) of strace's summary."""
    found = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\d+)?\s*(\w+)$", text, re.MULTILINE)
    return {name: (int(calls), int(errors or 0)) for calls, errors, name in found}


def _strace_summary(text: str) -> Answers:
    rows = _rows(text)
    calls, errors = rows.get("newfstatat", (0, 0))
    n_errors = sum(
        n for name, (_, n) in rows.items() if name in ("newfstatat", "openat", "access", "readlink", "execve")
    )
    stats = f"{calls:,} newfstatat, fstat of open files among them ({errors:,} failed)"
    return stats, NO, NO, f"{n_errors:,} failed, not on what or why", NO, NO


def _strace_log(text: str) -> Answers:
    stats = [
        line
        for line in text.splitlines()
        if re.search(r"\b(?:newfstatat|l?stat|access)\(", line) and ', "", ' not in line
    ]
    missing = sum(" = -1 ENO" in line for line in text.splitlines())
    return (
        f"{len(stats):,}, to be counted by the user",
        "paths only: the user has to guess",
        "paths only",
        f"{missing:,}, to be counted by the user; no reasons",
        NO,
        NO,
    )


def _perf_trace(text: str) -> Answers:
    found = re.search(r"newfstatat\s+(\d+)\s+(\d+)", text)
    calls, errors = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    return (
        f"{calls:,} newfstatat, fstat among them ({errors:,} failed)",
        NO,
        NO,
        f"{errors:,} stats, not on what or why",
        NO,
        NO,
    )


def _fatrace(text: str) -> Answers:
    n = sum(bool(re.match(r"python\S*\(\d+\): \S*O", line)) for line in text.splitlines())
    return (
        f"none: it sees opens only ({n:,} that succeeded)",
        NO,
        "paths only, the whole machine's",
        "no: failed opens make no event",
        NO,
        NO,
    )


def _importtime(text: str) -> Answers:
    found = re.findall(r"^import time:\s+(\d+) \|\s+(\d+) \|( *)(\S+)$", text, re.MULTILINE)
    slowest = max(found, key=lambda row: int(row[1]), default=("0", "0", "", "none"))
    return NO, f"by time only: {slowest[3]} {int(slowest[1]) / 1e3:.0f} ms", NO, NO, NO, NO


def _tuna(text: str) -> Answers:
    return (NO, "the same, as a picture in a browser" if "pandas" in text else "not shown", NO, NO, NO, NO)


def _snaketrace(text: str) -> Answers:
    opens = len(re.findall(r"^open\(", text, re.MULTILINE))
    imports = len(re.findall(r"^import\(", text, re.MULTILINE))
    return (
        f"none: audit events have no stat ({opens:,} opens begun, of which nobody knows the result)",
        f"{imports:,} import events, one after another: begins only, no nesting, nothing counted",
        "paths only",
        "no: audit events come before the call",
        NO,
        NO,
    )


def _sampler(text: str) -> Answers:
    found = re.search(r"([\d.]+) <module>\s+pandas/__init__\.py", text)
    return NO, f"by time only: pandas {found.group(1)} s" if found else "by time only", NO, NO, NO, NO


def _py_spy(text: str) -> Answers:
    rows = re.findall(r"^(.*) (\d+)$", text, re.MULTILINE)
    total = sum(int(n) for _, n in rows) or 1
    within = sum(int(n) for stack, n in rows if "pandas" in stack)
    return NO, f"by samples only: {within / total:.0%} of them below pandas", NO, NO, NO, NO


def _cprofile(text: str) -> Answers:
    found = re.search(r"^\s*(\d+)(?:/\d+)?\s+\S+\s+\S+\s+\S+\s+\S+ \{built-in method posix\.stat\}", text, re.MULTILINE)
    stats = (
        f"{int(found.group(1)):,} calls of posix.stat from Python code; the import system's own are among them"
        if found
        else NO
    )
    return stats, "by time only, as function calls", NO, NO, NO, NO


def _stracetools(text: str) -> Answers:
    found = re.search(r"newfstatat: (\d+) calls, (\d+) errors", text)
    calls, errors = found.groups() if found else ("0", "0")
    stats = f"{int(calls):,} newfstatat, fstat among them ({int(errors):,} failed)"
    return stats, NO, "paths only", f"{int(errors):,} stats, not why", NO, NO


def _fsprobe(text: str) -> Answers:
    profile = json.loads(text)
    metrics = profile["metrics"]
    top = next(row for row in metrics["by_module"] if row["key"] == "pandas")
    mounts = [row for row in metrics["by_mount"] if row["fs_class"] == "network"]
    reasons = ", ".join(f"{row['reason']} {row['n']:,}" for row in metrics["not_found"][:3])
    asked = sum(row["n_metadata"] for row in profile["requests"]["by_mount"] if row["fs_class"] == "network")
    codes = [finding["title"] for finding in profile["findings"][:3]]
    return (
        f"{metrics['n_stat']:,} by path; fstat of open files is not among them",
        f"pandas {top['n_metadata_cum']:,} calls with what it imports, {top['n_stat_cum']:,} of them stats; each module its own",
        ", ".join(f"{row['fstype']} {row['n_metadata']:,} calls, median {row['p50_ms']:.2f} ms" for row in mounts)
        or "none is a server",
        f"{metrics['n_not_found']:,}: {reasons}",
        f"{asked:,} metadata requests predicted",
        f"{len(profile['findings'])} findings: {'; '.join(codes)}",
    )


_STRACETOOLS = (
    "import logging, sys; logging.disable(); from stracetools import StraceAnalyzer, StraceParser; "
    "a = StraceAnalyzer(StraceParser().parse_file(sys.argv[1])); s = a.get_syscall_stats('newfstatat'); "
    "print(f'newfstatat: {s.count} calls, {s.error_count} errors'); print(a.summary())"
)
_TUNA = (
    "import json, sys; from tuna._import_profile import read_import_profile; "
    "print(json.dumps(read_import_profile(sys.argv[1]))[:100000])"
)


def peers(python: str) -> list[Peer]:
    """All of them; a tool that is not there is said to be not there."""
    tool = {name: str(Path(python).parent / name) for name in ("pyinstrument", "py-spy", "snaketrace", "tuna")}
    fsprobe = fsprobe_of(python)

    def strace(*options: str) -> Callable[[str, Path, Path], list[str]]:
        return lambda python, script, out: ["strace", "-f", *options, "-o", str(out), python, str(script)]

    def then(first: str, second: list[str]) -> list[str]:
        return ["sh", "-c", f'{first} && exec "$@"', "sh", *second]

    return [
        Peer(name="strace -f -c", words=strace("-c"), answers=_strace_summary, excerpt=r"% time|newfstatat|openat|readlink|getdents|total"),
        Peer(
            name="strace -f -e trace=%file",
            words=strace("-e", "trace=%file"),
            answers=_strace_log,
            excerpt=r"pandas/__init__|pandas/core/__init__",
            n_lines=6,
        ),
        Peer(
            name="stracetools",
            words=lambda python, script, out: then(
                f"strace -f -tt -T -o {out}.log {python} {script}",
                [python, "-c", _STRACETOOLS, f"{out}.log"],
            ),
            answers=_stracetools,
            n_lines=12,
        ),
        Peer(
            name="perf trace -s",
            words=lambda python, script, out: ["perf", "trace", "-s", "-o", str(out), "--", python, str(script)],
            answers=_perf_trace,
            excerpt=r"syscall|newfstatat|openat|getdents|events",
            needs_root=True,
        ),
        Peer(
            name="fatrace",
            words=lambda python, script, out: ["sh", "-c", f"fatrace -f O -s 6 -o {out} & sleep 1; {python} {script}; wait"],
            answers=_fatrace,
            excerpt=r"fsprobe-bench/\S*pandas",
            n_lines=6,
            needs_root=True,
        ),
        Peer(
            name="python -X importtime",
            words=lambda python, script, out: ["sh", "-c", f"{python} -X importtime {script} 2> {out}"],
            answers=_importtime,
            excerpt=r"imported package|\bpandas(?:\.core\.(?:api|frame))?$|\bnumpy$",
        ),
        Peer(
            name="tuna",
            words=lambda python, script, out: then(
                f"{python} -X importtime {script} 2> {out}.log", [python, "-c", _TUNA, f"{out}.log"]
            ),
            answers=_tuna,
            n_lines=1,
        ),
        Peer(
            name="snaketrace",
            words=lambda python, script, out: [tool["snaketrace"], "-o", str(out), str(script)],
            answers=_snaketrace,
            excerpt=r"^open\(.*pandas|^import\('pandas",
            n_lines=6,
        ),
        Peer(
            name="pyinstrument",
            words=lambda python, script, out: [tool["pyinstrument"], "--show-all", "-o", str(out), str(script)],
            answers=_sampler,
            n_lines=14,
        ),
        Peer(
            name="py-spy record",
            words=lambda python, script, out: [tool["py-spy"], "record", "-f", "raw", "-o", str(out), "--", python, str(script)],
            answers=_py_spy,
            n_lines=2,
        ),
        Peer(
            name="cProfile",
            words=lambda python, script, out: ["sh", "-c", f"{python} -m cProfile -s tottime {script} > {out}"],
            answers=_cprofile,
            n_lines=14,
        ),
        Peer(
            name="fsprobe run",
            words=lambda python, script, out: then(
                " ".join([*fsprobe, "run", "--record-only", "-q", "--force", "-o", f"{out}.fsprobe", "--", python, str(script)]),
                [*fsprobe, "report", f"{out}.fsprobe", "--format", "json", "-o", str(out)],
            ),
            answers=_fsprobe,
            n_lines=80,
        ),
    ]  # fmt: skip
