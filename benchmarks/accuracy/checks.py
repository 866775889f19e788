"""The comparisons that `benchmarks.accuracy` reports: fsprobe's numbers and those of somebody else, side by side."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.accuracy import pynamic
from benchmarks.accuracy.pynamic import Shape
from benchmarks.evidence import Json, say
from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, Notes, attribute
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.capture import options, record
from fsprobe.capture.backends.strace import installed
from fsprobe.events import marks
from fsprobe.model.events import Event, Mark, Op, ParseQuality
from fsprobe.recording.file import Recording

STATEMENTS = {
    "pass": "pass",
    "standard library": "import json, email.mime.text, xml.dom.minidom, asyncio",
    "pandas": "import pandas",
    "sklearn, scipy, pyplot": "import sklearn.ensemble, scipy.stats, matplotlib.pyplot",
}
POOL = """
import multiprocessing as mp
def work(n):
    import numpy
    return n
if __name__ == "__main__":
    with mp.get_context("spawn").Pool(4) as pool:
        assert pool.map(work, range(8)) == list(range(8))
"""
THREADS = """
import importlib, threading
names = ["json", "email.mime.text", "xml.dom.minidom", "asyncio", "http.client", "logging.config", "unittest", "decimal"]
threads = [threading.Thread(target=importlib.import_module, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
SHAPES = {
    "wide": Shape(n_modules=400, n_libraries=0, n_levels=1, n_path_entries=1),
    "deep": Shape(n_modules=60, n_libraries=0, n_levels=20, n_path_entries=2),
    "many sys.path entries": Shape(n_modules=100, n_libraries=0, n_levels=2, n_path_entries=50),
    "shared libraries": Shape(n_modules=20, n_libraries=200, n_levels=2, n_path_entries=4),
    "all of it": Shape(n_modules=1000, n_libraries=100, n_levels=4, n_path_entries=20),
}
NOT_CALLS = {"getcwd", "clone", "clone3", "fork", "vfork", "exit_group", "fchdir", "io_uring_setup"}
"""What the tracer's line also traces, and what is no metadata call."""


# -- calls, against strace's own summary ---------------------------------------------------------------------------------


@contextmanager
def summary_appended() -> Iterator[None]:
    """Let fsprobe's strace append its own summary to the log of the run."""
    plain = installed.command_line
    installed.command_line = lambda *words: [plain(*words)[0], "-C", *plain(*words)[1:]]
    try:
        yield
    finally:
        installed.command_line = plain


def make_recording(command: Sequence[str], path: Path, *words: str) -> Recording:
    """Record a command as `fsprobe run` does."""
    record.record(options.parse([*words, "-q", "--force", "-o", str(path), "--", *command]))
    return Recording(str(path))


def read_summary(text: str) -> dict[str, tuple[int, int]]:
    """name -> (calls, errors) of strace's table."""
    rows = {}
    for line in text[text.index("% time") :].splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\d+)?\s*(\w+)$", line)
        if found and found.group(3) != "total":
            rows[found.group(3)] = (int(found.group(1)), int(found.group(2) or 0))
    return rows


def events_of(recording: Recording, hooks: marks.HookFiles) -> Iterator[Event]:
    """The events of a recording."""
    return pipeline.read_events(recording, ParseQuality(), hooks)


def attributed(recording: Recording, events: Iterator[Event]) -> list[Attributed]:
    """Every call with its place, fsprobe's own included."""
    return list(pipeline.attributed(recording, events, Notes()))


def against_summary(command: Sequence[str], scratch: Path, mode: str) -> Json:
    """One run: what fsprobe counts of it, and strace's summary of it.

    Calls that never returned are in no summary of strace; under seccomp-bpf a thread's execve is printed as an error that
    it is not. Both are counted apart and belong to the comparison.
    """
    words = ["--backend", "strace", *(["--no-markers"] if mode == "none" else [f"--markers={mode}"])]
    with summary_appended():
        recording = make_recording(command, scratch / "x.fsprobe", *words)
    log = b"".join(recording.section("log")).decode("utf-8", "replace")
    expected = read_summary(log)
    if recording.manifest.get("shield"):  # whose line is left out of the log
        expected["execve"] = (expected["execve"][0] - 1, expected["execve"][1])
    tally, notes, quality, hooks = pipeline.tally_recording(recording)
    calls = Counter({name: n for name, (n, _) in tally.by_syscall.items()})
    errors = Counter({name: n for name, (_, n) in tally.by_syscall.items()})
    rows = attributed(recording, events_of(recording, hooks))
    own = Counter(row.call.syscall for row in rows if row.own)
    own_errors = Counter(row.call.syscall for row in rows if row.own and row.call.error not in ("", "?"))
    unfinished = sum(row.call.error == "?" for row in rows)
    pathless = Counter({name: n for name, n in quality.other_calls.items() if name not in NOT_CALLS})
    pathless_errors = Counter({name: n for name, n in quality.other_errors.items() if name in pathless})
    n_marks = notes.n_own_marks + (2 * sum(notes.n_imports.values()) if mode == "access" else 0)
    n_false = sum(line.count("= -1 (errno 18446744073709") for line in log.splitlines())
    marker = "faccessat2" if "faccessat2" in expected else "faccessat"
    wanted = {name: pair for name, pair in expected.items() if name not in NOT_CALLS}
    return {
        "n_syscalls": len(wanted),
        "n_calls": sum(calls.values()),
        "n_own": sum(own.values()),
        "n_pathless": sum(pathless.values()),
        "n_marks": n_marks if mode != "none" else 0,
        "n_unfinished": unfinished,
        "summary": {
            "calls": sum(n for n, _ in wanted.values()),
            "errors": sum(n for name, (_, n) in wanted.items() if name != marker),
        },
        "ours": {
            "calls": sum((calls + own + pathless).values()) + (n_marks if mode != "none" else 0) - unfinished,
            "errors": sum(
                n for name, n in (errors + own_errors + pathless_errors).items() if name != marker
            ) + n_false,
        },
        "n_unparsed": quality.n_unparsed,
        "groupings_that_do_not_sum": check_sums(tally),
    }  # fmt: skip


def other_backend(command: Sequence[str], scratch: Path, backend: str) -> Json:
    """Two runs: the target's own calls under another backend and under strace, call for call (name, path, result)."""
    kinds = {}
    for name in (backend, "strace"):
        recording = make_recording(command, scratch / f"{name}.fsprobe", "--backend", name)
        hooks = pipeline.read_hooks(recording)
        kinds[name] = Counter(
            (row.call.syscall, row.call.path, row.call.error)
            for row in attributed(recording, events_of(recording, hooks))
            if not row.own
        )
    ours, truth = kinds[backend], kinds["strace"]
    only_ours, only_strace = _as_names_of_any_run(ours - truth), _as_names_of_any_run(truth - ours)
    return {
        "n_calls": ours.total(),
        "n_calls_strace": truth.total(),
        "n_other_name": (only_ours & only_strace).total(),
        "n_only_here": (only_ours - only_strace).total(),
        "n_only_strace": (only_strace - only_ours).total(),
    }


def _as_names_of_any_run(rows: Counter[tuple[str, bytes, str]]) -> Counter[tuple[str, bytes, str]]:
    """Names that hold a pid or are random: semaphores (`/dev/shm/sem.vsS5Uv`), `/proc/7773/io`."""
    found: Counter[tuple[str, bytes, str]] = Counter()
    for (name, path, error), n in rows.items():
        found[name, re.sub(rb"^(/proc/|/dev/shm/sem\.(?:joblib-)?)[^/]+", rb"\1*", path), error] += n
    return found


def check_calls(python: str, scratch: Path, quick: bool) -> Json:
    """Every workload and way of marking against strace's summary; ptrace against strace."""
    pool, threads = scratch / "pool.py", scratch / "threads.py"
    pool.write_text(POOL)
    threads.write_text(THREADS)
    commands = {name: [python, "-c", code] for name, code in STATEMENTS.items()}
    commands |= {"8 threads import": [python, str(threads)], "spawn pool of 4": [python, str(pool)]}
    if quick:
        commands = {name: commands[name] for name in ("pass", "standard library", "8 threads import")}
    summaries = []
    for name, command in commands.items():
        for mode in ("time", "access", "none"):
            say(f"calls: {name}, markers: {mode}")
            summaries.append({"workload": name, "markers": mode, **against_summary(command, scratch, mode)})
    others = []
    for name, command in commands.items():
        if name in ("8 threads import", "spawn pool of 4"):
            continue  # two runs of these differ by themselves
        say(f"calls: {name}, ptrace against strace")
        others.append({"workload": name, "backend": "ptrace", **other_backend(command, scratch, "ptrace")})
    return {"summary": summaries, "backends": others}


# -- imports -------------------------------------------------------------------------------------------------------------


def importtime_edges(python: str, statement: str) -> list[tuple[str, str | None]]:
    """(module, parent) in the order of -X importtime, which prints a module after those that it imports."""
    words = [python, "-X", "importtime", "-c", statement]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    edges: list[tuple[str, str | None]] = []
    waiting: list[tuple[int, int]] = []
    for line in done.stderr.splitlines():
        found = re.match(r"import time:\s+\d+ \|\s+\d+ \|( *)(\S+)$", line)
        if not found:
            continue
        depth = (len(found.group(1)) - 1) // 2
        edges.append((found.group(2), None))
        while waiting and waiting[-1][0] > depth:
            _, index = waiting.pop()
            edges[index] = (edges[index][0], found.group(2))
        waiting.append((depth, len(edges) - 1))
    return edges


def check_imports(python: str, scratch: Path, quick: bool) -> list[Json]:
    """Who imported whom, against -X importtime; and the estimate without markers against the markers of the same run."""
    found = []
    for name, statement in STATEMENTS.items():
        if name == "pass" or (quick and name != "standard library"):
            continue
        say(f"imports: {name}")
        listed = importtime_edges(python, statement)
        site = next(number for number, (module, _) in enumerate(listed) if module == "site")
        recording = make_recording([python, "-c", statement], scratch / "i.fsprobe", "--backend", "strace")
        hooks = pipeline.read_hooks(recording)
        events = list(events_of(recording, hooks))
        notes = Notes()
        marked = [row for row in pipeline.attributed(recording, iter(events), notes) if not row.own]
        found.append(
            {"workload": name, **_edges(listed[site + 1 :], site + 1, notes), "estimate": _estimate(events, marked)}
        )
    return found


def _edges(listed: list[tuple[str, str | None]], n_before: int, notes: Notes) -> Json:
    ours = notes.imports
    names = {name for name, _ in listed}

    def parents(name: str) -> set[str]:
        # `from package import module` imports by importlib's own Python code, which -X importtime does not see: what
        # such a module imports stands there under the next one up
        shown: set[str] = set()
        for parent in ours[name]:
            shown |= {parent} if not parent or parent in names else parents(parent)
        return shown

    known = [(name, parent or "") for name, parent in listed if name in ours]
    direct = sum(parent in ours[name] for name, parent in known)
    explained = sum(parent not in ours[name] and parent in parents(name) for name, parent in known)
    return {
        "n_before_site": n_before,
        "n_importtime": len(listed),
        "n_not_ours": len(listed) - len(known),
        "n_same_parent": direct,
        "n_parent_not_in_importtime": explained,
        "n_other_parent": len(known) - direct - explained,
        "n_only_ours": len(set(ours) - names),
    }


def _estimate(events: Sequence[Event], marked: Sequence[Attributed]) -> Json:
    truth = {id(row.call): row for row in marked}
    wrong: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in attribute((event for event in events if not isinstance(event, Mark)), Notes()):
        exact = truth.get(id(row.call))
        if exact is not None and exact.phase == "import" and row.call.op in (Op.OPEN, Op.STAT):
            total[row.call.op.value] += 1
            wrong[row.call.op.value] += row.module != exact.module
    return {op: {"n": total[op], "n_wrong": wrong[op]} for op in ("open", "stat")}


# -- arithmetic and requests ---------------------------------------------------------------------------------------------


def check_arithmetic(python: str, scratch: Path, quick: bool) -> list[Json] | str:
    """Generated trees against what the import rules say."""
    found = []
    for name, shape in SHAPES.items():
        if quick and name not in ("deep", "shared libraries"):
            continue
        say(f"arithmetic: {name}")
        root = scratch / "tree"
        shutil.rmtree(root, ignore_errors=True)
        try:
            code = pynamic.generate(root, shape, python)
        except pynamic.NoCompiler as error:
            found.append({"tree": name, "shape": _shown(shape), "not_run": str(error)})
            continue
        for backend in ("strace", "ptrace"):
            pairs = pynamic.compare(root, shape, code, scratch / "p.fsprobe", python, ["--backend", backend])
            found.append({"tree": name, "shape": _shown(shape), "backend": backend, "counts": pairs})
    return found


def _shown(shape: Shape) -> Json:
    return {name: getattr(shape, name) for name in Shape.__slots__}


def check_requests(python: str, scratch: Path, quick: bool) -> list[Json] | str:
    """Predicted requests against the simulated file server's counters, path by path; a generated tree also against arithmetic."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "not run: the simulated file server needs root and /dev/fuse"
    from benchmarks.accuracy import requests_check
    from benchmarks.fileserver import serve

    found = []
    env = Path(python).parent.parent
    with serve(env, env, meta_ms=0, read_ms=0, log_paths=True) as server:
        for name, statement in STATEMENTS.items():
            if quick and name != "pass":
                continue
            say(f"requests: {name}")
            found.append(_requests(name, requests_check.compare(server, [python, "-c", statement])))
        if not quick:
            say("requests: a pool")
            script = scratch / "pool.py"
            script.write_text(POOL)
            found.append(_requests("spawn pool of 4", requests_check.compare(server, [python, str(script)])))
    if not quick:
        found += _with_interpreter_on_the_mount(python, scratch / "interpreter")
    root = scratch / "served"
    shutil.rmtree(root, ignore_errors=True)
    shape = Shape(n_modules=200, n_libraries=0, n_levels=4, n_path_entries=10)
    code = pynamic.generate(root, shape, python)
    with serve(root, root, meta_ms=0, read_ms=0, log_paths=True) as server:
        say("requests: generated tree")
        row = _requests("generated tree", requests_check.compare(server, [python, "-c", code]))
        expected = pynamic.expect(shape, pynamic.n_suffixes_of(python))
        row["arithmetic"] = {
            name: getattr(expected, name) for name in ("lookup", "negative", "open", "opendir", "readdir")
        }
        found.append(row)
    return found


def _with_interpreter_on_the_mount(python: str, root: Path) -> Iterator[Json]:
    """The same where the interpreter, its library and the standard library are served too."""
    from benchmarks.accuracy import requests_check
    from benchmarks.fileserver import serve

    asked = (
        "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('purelib'), *sys.version_info[:2], sep='\\n')"
    )
    base, packages, *version = subprocess.run(
        [python, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split("\n")[:4]
    name = f"python{'.'.join(version)}"
    (root / "bin").mkdir(parents=True)
    (root / "lib").mkdir()
    shutil.copy(os.path.join(base, "bin", name), root / "bin")
    for library in Path(base, "lib").glob("libpython*"):
        shutil.copy(library, root / "lib", follow_symlinks=False)
    left_out = shutil.ignore_patterns("site-packages", "test", "config-*")
    shutil.copytree(Path(base, "lib", name), root / "lib" / name, symlinks=True, ignore=left_out)
    shutil.copytree(packages, root / "lib" / name / "site-packages", symlinks=True)
    command = ["/usr/bin/env", f"LD_LIBRARY_PATH={root / 'lib'}", str(root / "bin" / name), "-c"]
    with serve(root, root, meta_ms=0, read_ms=0, log_paths=True) as server:
        for workload in ("pass", "pandas"):
            say(f"requests: {workload}, the interpreter on the mount")
            result = requests_check.compare(server, [*command, STATEMENTS[workload]])
            yield _requests(f"{workload}, the interpreter on the mount", result)


def _requests(name: str, result: Any) -> Json:
    return {
        "workload": name,
        "requests": {op: {"served": a, "predicted": b} for op, (a, b) in result.totals().items()},
        "n_paths_that_differ": len(result.difference()),
        "n_listings_that_differ": len(result.difference(["readdir"])),
        "read": {"served": result.n_reads, "read_max": result.read_max},
    }
