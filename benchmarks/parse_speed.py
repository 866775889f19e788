"""How fast strace logs are read, in how much memory, and how right: fsprobe's parser beside others.

    python -m benchmarks.parse_speed [--quick] [--huge] [-o DIRECTORY]

The log is a real one (`import pandas` under strace), repeated with other pids until it has 1e5, 1e6 or (--huge) 1e7 lines.
It is written twice: as fsprobe's own command writes it, and as `strace -f -tt -T` does, which is what stracetools reads.
Each reader is a process of its own; time is that of the reading alone, memory the peak of the whole process. Beside the
speed stands what each made of a hostile log, whose calls are known from the program that made them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import prepare
from benchmarks.evidence import PLACE, Json, say
from benchmarks.parse_readers import AWK, READERS, Row
from fsprobe.capture.backends.strace import installed

QUOTED = {
    "gitlab strace-parser (Rust)": "2.2-3.5 M lines/s",
    "a split/partition loop in C, 54 lines": "5-7 M lines/s",
}
"""Figures from this project's requirements; not measured here."""
LONG_S = 20.0
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


def measure(python: str, name: str, log: Path) -> tuple[float, float, int]:
    """(s, peak MiB, items) of one reader on one log."""
    words = [
        python,
        "-c",
        "import sys; from benchmarks.parse_readers import child; child(*sys.argv[1:])",
        name,
        str(log),
    ]
    figures, peak = run(words).splitlines()[-2:]
    seconds, n = json.loads(figures)
    return seconds, int(peak.split()[1]) / 1024, n


def measure_awk(log: Path) -> tuple[float, float, int]:
    """As `measure`, for the awk script; time is that of the whole process."""
    begin = time.perf_counter()
    text = run(["awk", AWK, str(log)])
    return time.perf_counter() - begin, int(text.split()[-2]) / 1024, 0


def run(words: list[str]) -> str:
    """What a process prints.

    Raises:
        RuntimeError: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(evidence.REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ... {words[-2]} ended with {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


# -- logs ----------------------------------------------------------------------------------------------------------------


def write_log(base: list[bytes], n_lines: int, path: Path) -> None:
    """Repeat a log of one process with other pids."""
    pid = base[0].split()[0]
    with path.open("wb", 1 << 20) as target:
        n = copy = 0
        while n < n_lines:
            head = b"%d" % (int(pid) % 1000 + 1000 + copy)
            lines = base[: n_lines - n]
            target.writelines(head + line[len(pid) :] for line in lines)
            n += len(lines)
            copy += 1


def trace(python: str, words: list[str], scratch: Path, kind: str) -> Path:
    """Trace a command in one of the formats: own, tt (`-f -tt -T`), plain (`-f -ttt`)."""
    program = shutil.which("strace")
    assert program is not None, "needs strace"
    log = scratch / f"trace.{kind}"
    if kind == "own":
        line = installed.command_line(program, installed.version(program), str(log), words)
    else:
        options = ["-tt", "-T"] if kind == "tt" else ["-ttt"]
        line = [
            program,
            "-f",
            "-q",
            *options,
            "-s",
            "256",
            "-e",
            "trace=%file,getdents64",
            "-o",
            str(log),
            "--",
            *words,
        ]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(line, check=True, env=environment, stdout=subprocess.DEVNULL)
    return log


def check_speed(python: str, scratch: Path, sizes: list[int], n_runs: int) -> list[Json]:
    """Every reader on logs of every size, in turn."""
    bases = {
        kind: trace(python, [python, "-c", "import pandas"], scratch, kind).read_bytes().splitlines(keepends=True)
        for kind in ("own", "tt", "plain")
    }
    rows = []
    for n_lines in sizes:
        logs = {}
        for kind, base in bases.items():
            logs[kind] = scratch / f"log.{kind}"
            write_log(base, n_lines, logs[kind])
        readers = {
            name: spec for name, spec in READERS.items() if spec[2] >= n_lines or spec[2] < 10_000 == n_lines // 10
        }
        samples: dict[str, list[tuple[float, float, int]]] = {name: [] for name in [*readers, "awk"]}
        n_given = dict.fromkeys(samples, n_lines)
        for number in range(n_runs):
            for name in samples:
                if samples[name] and samples[name][0][0] > LONG_S:
                    continue  # once is enough
                say(f"speed: {n_lines:,} lines, run {number + 1}/{n_runs}, {name}")
                if name == "awk":
                    samples[name].append(measure_awk(logs["own"]))
                    continue
                kind, _, most = readers[name]
                log = logs[kind]
                if most < n_lines:
                    n_given[name] = most
                    log = scratch / "short"
                    write_log(bases[kind], most, log)
                samples[name].append(measure(python, name, log))
        for name, found in samples.items():
            times = evidence.spread([seconds for seconds, _, _ in found])
            rows.append(
                {
                    "reader": name,
                    "n_lines": n_given[name],
                    "n_bytes": logs[READERS[name][0] if name in READERS else "own"].stat().st_size
                    * n_given[name]
                    // n_lines,
                    "s": times,
                    "lines_per_s": round(n_given[name] / times["median"]),
                    "peak_mib": round(max(peak for _, peak, _ in found), 1),
                    "n_items": found[0][2] or None,
                    "n_runs": len(found),
                }
            )
        for log in logs.values():
            log.unlink()
    return rows


# -- a hostile log -------------------------------------------------------------------------------------------------------


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
    for name, kind in (("fsprobe", "own"), ("fsprobe", "tt"), ("stracetools", "tt"), ("awk", "own")):
        log = trace(python, [python, str(program), str(place)], scratch, kind)
        data = log.read_bytes()
        words = [python, "-c", "import sys; from benchmarks.parse_readers import child_rows; child_rows(*sys.argv[1:])"]
        text = run([*words, name, str(log), str(place)])
        found: Counter[Row] = Counter((a, b.encode("latin-1"), c) for a, b, c in json.loads(text))
        rows.append(
            {
                "reader": name,
                "log": "fsprobe's own command" if kind == "own" else "strace -f -tt -T",
                "n_lines": data.count(b"\n"),
                "n_in_two_halves": data.count(b"<unfinished ...>\n"),
                "n_expected": truth.total(),
                "n_right": (found & truth).total(),
                "n_lost": (truth - found).total(),
                "n_wrong": (found - truth).total(),
            }
        )
    return rows


# -- where fsprobe's own time goes ---------------------------------------------------------------------------------------


def check_stages(python: str, scratch: Path, n_runs: int) -> Json:
    """CPU of each stage between a recording and the report on the terminal, for sklearn + scipy + pyplot."""
    path = scratch / "stages.fsprobe"
    statement = "import sklearn.ensemble, scipy.stats, matplotlib.pyplot"
    words = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "--record-only",
        "-q",
        "-o",
        str(path),
        "--",
        python,
        "-c",
        statement,
    ]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(evidence.REPOSITORY)}, cwd="/")
    samples: dict[str, list[float]] = {}
    n_lines = n_calls = 0
    for _ in range(n_runs):
        words = [
            python,
            "-c",
            "from benchmarks.parse_readers import child_stages; import sys; child_stages(sys.argv[1])",
            str(path),
        ]
        found = json.loads(run(words))
        n_lines, n_calls = found.pop("n_lines"), found.pop("n_calls")
        for name, seconds in found.items():
            samples.setdefault(name, []).append(seconds)
    return {
        "workload": statement,
        "n_lines": n_lines,
        "n_calls": n_calls,
        "cpu_s": {name: evidence.spread(values) for name, values in samples.items()},
    }


# -- the report ----------------------------------------------------------------------------------------------------------


def markdown(result: Json) -> str:
    """The report's tables."""
    hostile = {
        row["reader"]: row for row in result["hostile"] if row["log"].startswith("strace") or row["reader"] == "awk"
    }
    rows = []
    for row in result["speed"]:
        base = "fsprobe" if row["reader"].startswith("fsprobe") else row["reader"]
        right = hostile.get(base)
        rows.append(
            [
                row["reader"], f"{row['n_lines']:,}", row.get("n_runs", result["n_runs"]), f"{row['n_bytes'] / 1e6:.1f}",
                f"{row['s']['median']:.2f} ({row['s']['min']:.2f}-{row['s']['max']:.2f})", f"{row['lines_per_s']:,}",
                f"{row['peak_mib']:.0f}", f"{right['n_right']:,} of {right['n_expected']:,}" if right else "-",
            ]
        )  # fmt: skip
    stages = result["stages"]
    total = sum(stage["median"] for stage in stages["cpu_s"].values())
    parse = stages["cpu_s"]["parse"]["median"]
    return "\n".join(
        [
            "# Reading logs\n",
            evidence.about(result),
            f"awk is {result['versions'].get('awk')}. Time is of the reading alone (awk: of the whole process), memory the peak of "
            "the process. The last column is what the reader made of a hostile log (below).\n",
            evidence.table(["reader", "lines", "runs", "MB", "s, median (min-max)", "lines/s", "peak MiB", "hostile calls right"], rows),
            "Published or noted elsewhere, not measured here: "
            + "; ".join(f"{name} {figure}" for name, figure in QUOTED.items())
            + ".\n",
            "## A hostile log\n",
            f"Eight threads stat and open {len(HOSTILE_NAMES)} names that are there and as many that are not: names with quotes, line "
            "ends, ` = `, `) = 0`, `<unfinished ...>`, bytes that are no UTF-8. What must come out is known from the program. Right "
            "means kind of call, path and success, all three. stracetools and awk leave escapes to their users, and are not "
            "charged for that: they are undone for them.\n",
            evidence.table(
                ["reader", "log", "lines", "calls in two halves", "expected", "right", "lost", "wrong"],
                [
                    [row["reader"], row["log"], f"{row['n_lines']:,}", row["n_in_two_halves"], row["n_expected"], row["n_right"],
                     row["n_lost"], row["n_wrong"]]
                    for row in result["hostile"]
                ],
            ),
            "## Where fsprobe's time goes after a run, and what a compiled core would bring\n",
            f"`{stages['workload']}`: {stages['n_lines']:,} lines, {stages['n_calls']:,} metadata calls of the target.\n",
            evidence.table(
                ["stage", "CPU s, median (min-max)", "share"],
                [
                    [name, f"{stage['median']:.3f} ({stage['min']:.3f}-{stage['max']:.3f})", f"{stage['median'] / total:.0%}"]
                    for name, stage in stages["cpu_s"].items()
                ],
            ),
            f"A compiled parser at 5 M lines/s would read this log in {stages['n_lines'] / 5e6 * 1e3:.0f} ms instead of "
            f"{parse * 1e3:.0f} ms: {max(0.0, parse - stages['n_lines'] / 5e6) / total:.0%} of the time after a run. The rest makes and "
            "looks at Python values call by call, so a core that pays has to hold parsing, attribution, tally and request model "
            "together. Its price: wheels for each platform and libc, or a compiler on the login node, instead of one file of "
            "pure Python that runs in any container; and a second implementation to keep equal to the first. For logs of "
            "1e7 lines and more it would be worth it; `run --stream` folds while the "
            "program runs: no waiting where a core is free, but no CPU saved.\n",
        ]
    )  # fmt: skip


def picture(result: Json, path: Path) -> None:
    """Lines per second, and memory against lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    most = max(row["n_lines"] for row in result["speed"])
    rows = {row["reader"]: row for row in result["speed"]}
    names = list(rows)[::-1]
    colours = ["#0d6468" if name.startswith("fsprobe") else "#a09a8e" for name in names]
    left.barh(names, [rows[name]["lines_per_s"] for name in names], color=colours)
    left.set(xscale="log", xlabel=f"lines per second (up to {most:,} lines)")
    for name in rows:
        points = sorted((row["n_lines"], row["peak_mib"]) for row in result["speed"] if row["reader"] == name)
        if len(points) > 1:
            right.plot(*zip(*points, strict=True), marker="o", label=name)
    right.set(xscale="log", yscale="log", xlabel="lines", ylabel="peak MiB")
    if right.lines:
        right.legend(frameon=False, fontsize=8)
    else:
        right.set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1e5 lines, once")
    parser.add_argument("--huge", action="store_true", help="1e7 lines as well: 2 GB of logs and some minutes")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--python", help="an interpreter with pandas and stracetools [default: made]")
    parser.add_argument("-o", "--output", type=Path, help="directory for parse_speed.json, .md and .png")
    words = parser.parse_args()
    python = words.python or str(prepare())
    sizes = [100_000] if words.quick else [100_000, 1_000_000, *([10_000_000] if words.huge else [])]
    n_runs = words.runs or (1 if words.quick else 3)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    versions = evidence.package_versions(python, ["pandas", "stracetools", "strace-parser", "lark-parser"])
    versions["awk"] = awk_version()
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        scratch = Path(directory)
        flags = [*(["--quick"] if words.quick else []), *(["--huge"] if words.huge else []), "-o reports"]
        result = {
            **evidence.head("parse_speed", flags, n_runs=n_runs, versions=versions),
            "hostile": check_hostile(python, scratch),
            "stages": check_stages(python, scratch, 1 if words.quick else 7),
            "speed": check_speed(python, scratch, sizes, n_runs),
        }
    print(evidence.save(result, markdown, picture, words.output))
    return 0


def awk_version() -> str:
    """Which awk this is."""
    done = subprocess.run(["awk", "-W", "version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.search(r"(mawk|GNU Awk|busybox)\D*(\d+[\d.]*)", done.stdout + done.stderr, re.IGNORECASE)
    return " ".join(found.groups()) if found else "unknown"


if __name__ == "__main__":
    sys.exit(main())
