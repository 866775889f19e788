"""What every report in reports/ shares: how it was made, on what, when; neutral paths; JSON first, tables and pictures from it.

A report is a JSON file with a head (`head`), a Markdown file and at most one picture, both drawn from that JSON alone, so
that either can be made again without measuring. No host name, no user name and no path of the machine gets in: programs run
from `PLACE`, known prefixes are replaced by words, and `save` refuses what is left.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
REPORTS = REPOSITORY / "reports"
PLACE = Path("/tmp/fsprobe-bench")
"""Where benchmarks put environments, trees and logs: a path that says nothing about the machine."""
# a path that the report in a terminal has shortened in its middle tells nothing any more
_FOREIGN = re.compile(r"(?<![\w.-])/(?:(?:root|home|Users|work)(?![\w.-])|tmp/(?!fsprobe|…))[/\w.-]*")

Json = dict[str, Any]


def machine() -> Json:
    """Kernel, processors, memory; no name of any kind."""
    model = ""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found.group(1) if found else ""
    except OSError:
        pass
    return {
        "kernel": re.match(r"[\d.]*\d", platform.release()).group(0),  # type: ignore[union-attr]
        "machine": platform.machine(),
        "n_cpus": len(os.sched_getaffinity(0)),
        "cpu": model,
        "ram_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_1_min": round(os.getloadavg()[0], 1),
    }


def version_of(words: Sequence[str], pattern: str = r"(\d+(?:\.\d+)+)") -> str | None:
    """The first version in what a command prints; None where it does not run."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else None


def package_versions(python: str, names: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that an interpreter has."""
    code = (
        "import importlib.metadata as m, json, sys\nfound = {}\nfor name in sys.argv[1:]:\n try: found[name] = m.version(name)\n"
        " except m.PackageNotFoundError: pass\nprint(json.dumps(found))"
    )
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def head(benchmark: str, options: Sequence[str] = (), *, n_runs: int = 1, versions: Json | None = None) -> Json:
    """The head of a report: what made it, where, when, how often.

    Args:
        benchmark: name of the module in this package.
        options: what was given on the command line.
        n_runs: runs that each figure comes from.
        versions: of the programs that were measured, beside Python's and strace's.
    """
    words = neutral(" ".join(["python -m benchmarks." + benchmark, *options]))
    return {
        "benchmark": benchmark,
        "command": words,
        "commit": commit(),
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            "strace": version_of(["strace", "-V"]),
            **(versions or {}),
        },
        "n_runs": n_runs,
    }


def commit() -> str | None:
    """The commit that this tree is at, short."""
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return done.stdout.strip() or None


def neutral(text: str, **places: str | Path) -> str:
    """Text with the machine's places named by words: `places` (WORD=path), this repository, interpreters, the home."""
    known = {str(path): word for word, path in places.items()}
    known |= {str(REPOSITORY): "REPOSITORY", sys.prefix: "ENV", sys.base_prefix: "PYTHON", str(Path.home()): "HOME"}
    for path in sorted(known, key=len, reverse=True):
        if len(path) > 4 and path != "/usr":  # a home may be `/`
            text = text.replace(path, known[path])
    return text


def foreign_paths(text: str) -> list[str]:
    """Paths of this machine that are still in a text, and its name."""
    name = platform.node()
    found = set(_FOREIGN.findall(text))
    if name and len(name) > 3 and re.search(rf"\b{re.escape(name)}\b", text):
        found.add(name)
    return sorted(found)


def spread(values: Sequence[float], digits: int = 4) -> Json:
    """Median, least, most and every value."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "runs": [round(value, digits) for value in values],
    }


def about(result: Json) -> str:
    """The lines of a Markdown report that say how it was made."""
    where, versions = result["machine"], result["versions"]
    shown = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return (
        f"Made by `{result['command']}` on {result['date']} at commit {result['commit']}: {where['n_cpus']} CPUs "
        f"({where['cpu'] or where['machine']}), {where['ram_gib']} GiB, kernel {where['kernel']}, load {where['load_1_min']} "
        f"when it began; {shown}. Runs per figure: {result['n_runs']}.\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; None is shown as `not observed`."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        cells = ("not observed" if cell is None else str(cell).replace("|", "\\|") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def save(
    result: Json, markdown: Callable[[Json], str], picture: Callable[[Json, Path], None] | None, directory: Path | None
) -> str:
    """Write NAME.json, NAME.md and NAME.png (drawn from what the JSON file holds) and return the Markdown.

    Raises:
        ValueError: a path or the name of this machine is in it.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    again = json.loads(text)
    shown = markdown(again)
    left = foreign_paths(text + shown)
    if left:
        # what took an hour to measure is not lost for a path
        kept = PLACE / f"{result.get('benchmark', 'report')}.not-neutral.json"
        kept.write_text(text)
        raise ValueError(f"not neutral: {', '.join(left[:5])}; it is kept in {kept}")
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        name = str(result["benchmark"])
        (directory / f"{name}.json").write_text(text)
        (directory / f"{name}.md").write_text(shown)
        if picture is not None:
            picture(again, directory / f"{name}.png")
    return shown


def say(text: str) -> None:
    """Progress: to stderr, at once."""
    print(text, file=sys.stderr, flush=True)
