"""Which import a call belongs to: against -X importtime, against planted packages, and under hostile circumstances."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, Notes, attribute
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.capture import options, record
from fsprobe.events import marks
from fsprobe.model.events import Call, Mark, Op, ParseQuality
from fsprobe.recording.file import Recording
from tests.conftest import need

N_MODULES = 12


def trace(path: Path, *command: str, words: tuple[str, ...] = ()) -> Recording:
    record.record(options.parse([*words, "--force", "-o", str(path), "--", *command]))
    return Recording(str(path))


def rows_of(recording: Recording) -> tuple[list[Attributed], Notes]:
    notes = Notes()
    hooks = marks.read_hook_files(recording.section("marks"))
    place = str(recording.manifest["scratch"])
    rows = attribute(
        pipeline.read_events(recording, ParseQuality(), hooks),
        notes,
        hook_dir=pipeline.hook_dir_of(recording.manifest),
        marks_dir=f"{place}/marks".encode(),
    )
    return [row for row in rows if not row.own], notes


def plant(directory: Path, n_modules: int = N_MODULES) -> Path:
    """A package whose module m<k> opens k+1 files, 1 ms apart, while it is imported; m<k> imports m<k+1> for even k."""
    package = directory / "planted"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for k in range(n_modules):
        for i in range(k + 1):
            (package / f"data-{k}-{i}").write_text("")
        nested = f"from planted import m{k + 1}\n" if k % 2 == 0 and k + 1 < n_modules else ""
        (package / f"m{k}.py").write_text(
            "import os, time\n"
            "here = os.path.dirname(__file__)\n"
            f"for i in range({k + 1}):\n"
            f"    os.close(os.open(os.path.join(here, 'data-{k}-%d' % i), os.O_RDONLY))\n"
            "    time.sleep(0.001)\n" + nested + f"os.stat(os.path.join(here, 'data-{k}-0'))\n"
        )
    return directory


def planted_opens(rows: list[Attributed]) -> Counter[str]:
    """module -> opens of planted data files that were counted for it."""
    return Counter(row.module for row in rows if row.call.op is Op.OPEN and b"/planted/data-" in row.call.path)


@pytest.mark.parametrize("markers", ["time", "access"])
def test_planted_opens_are_counted_exactly(markers: str, tmp_path: Path, strace_program: str) -> None:
    plant(tmp_path)
    program = tmp_path / "main.py"
    program.write_text("import importlib\n" + "".join(f"import planted.m{k}\n" for k in range(0, N_MODULES, 2)))
    recording = trace(tmp_path / "x.fsprobe", sys.executable, str(program), words=(f"--markers={markers}",))
    rows, _ = rows_of(recording)
    assert planted_opens(rows) == Counter({f"planted.m{k}": k + 1 for k in range(N_MODULES)})
    # the stat at a module's end comes after its nested import has ended
    stats = Counter(
        row.module for row in rows if row.call.syscall == "newfstatat" and re.search(rb"/data-\d+-0$", row.call.path)
    )
    assert stats == Counter({f"planted.m{k}": 1 for k in range(N_MODULES)})
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    modules = {row.key: row for row in profile.metrics.by_module}
    for k in range(0, N_MODULES, 2):
        assert modules[f"planted.m{k + 1}"].parent == f"planted.m{k}"
        outer = modules[f"planted.m{k}"]
        inside = [row for row in modules.values() if row.parent == f"planted.m{k}"]
        # `import planted.m0` imports the package first, inside its own import
        assert [row.key for row in inside if row.key != "planted"] == [f"planted.m{k + 1}"]
        assert outer.n_open_cum == outer.n_open + sum(row.n_open_cum for row in inside)


def test_planted_opens_with_eight_threads_and_forks(tmp_path: Path, strace_program: str) -> None:
    plant(tmp_path)
    program = tmp_path / "main.py"
    program.write_text(
        textwrap.dedent(
            """
            import os, threading, importlib, time
            import planted
            go = threading.Barrier(8)
            def work(k):
                go.wait()
                importlib.import_module("planted.m%d" % k)
            threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 8)]
            for thread in threads: thread.start()
            go.wait()
            importlib.import_module("planted.m11")
            for thread in threads: thread.join()
            for k in (8, 9, 10):
                if os.fork() == 0:
                    importlib.import_module("planted.m%d" % k)
                    os._exit(0)
            for k in (8, 9, 10): os.wait()
            """
        )
    )
    for number in range(3):
        recording = trace(tmp_path / f"x{number}.fsprobe", sys.executable, str(program))
        rows, notes = rows_of(recording)
        expected = Counter({f"planted.m{k}": k + 1 for k in range(1, 12)})
        expected["planted.m9"] += 10  # m8 imports m9, in another process than the one that imports m9 itself
        assert planted_opens(rows) == expected
        assert notes.n_unpaired_marks == 0
        tally, *_ = pipeline.tally_recording(recording)
        assert check_sums(tally) == []


def test_a_fork_in_an_import_keeps_the_imports_under_way(tmp_path: Path, strace_program: str) -> None:
    package = tmp_path / "forking"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data").write_text("")
    (package / "outer.py").write_text(
        "import os\n"
        "here = os.path.dirname(__file__)\n"
        "pid = os.fork()\n"
        "for _ in range(5 if pid else 7):\n"
        "    os.close(os.open(here + '/data', os.O_RDONLY))\n"
        "if pid == 0:\n"
        "    import forking.inner\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    (package / "inner.py").write_text(
        "import os\nfor _ in range(3): os.close(os.open(os.path.dirname(__file__) + '/data', os.O_RDONLY))\n"
    )
    (tmp_path / "main.py").write_text("import forking.outer\n")
    rows, _ = rows_of(trace(tmp_path / "x.fsprobe", sys.executable, str(tmp_path / "main.py")))
    opens = Counter(row.module for row in rows if row.call.path.endswith(b"/forking/data") and row.call.op is Op.OPEN)
    assert opens == Counter({"forking.outer": 12, "forking.inner": 3})


def test_failed_and_nested_imports(tmp_path: Path, strace_program: str) -> None:
    (tmp_path / "broken.py").write_text("import json\nraise ValueError\n")
    (tmp_path / "main.py").write_text(
        "for name in ('broken', 'not_there_at_all', 'json'):\n"
        "    try: __import__(name)\n"
        "    except (ValueError, ImportError): pass\n"
        "import os; os.stat('/')\n"
    )
    recording = trace(tmp_path / "x.fsprobe", sys.executable, str(tmp_path / "main.py"))
    rows, notes = rows_of(recording)
    assert notes.imports["broken"] == {"": 1}
    assert notes.imports["json"] == {"broken": 1}
    assert notes.imports["not_there_at_all"] == {"": 1}
    assert notes.n_unpaired_marks == 0
    last = [row for row in rows if row.call.path == b"/"][-1]
    assert (last.module, last.phase) == ("(program)", "run")


@pytest.mark.parametrize("statement", ["import pandas", "import matplotlib.figure, jinja2, rich.console, hypothesis"])
def test_every_import_that_importtime_lists_is_there_with_its_parent(
    statement: str, tmp_path: Path, strace_program: str
) -> None:
    listed = importtime_edges(statement)
    rows, notes = rows_of(trace(tmp_path / "x.fsprobe", sys.executable, "-c", statement))
    after_site = listed[next(i for i, (name, _) in enumerate(listed) if name == "site") + 1 :]
    ours = notes.imports
    absent = [name for name, _ in after_site if name not in ours]
    assert absent == []
    # `from package import module` imports by importlib's own Python code, which -X importtime does not see: such a
    # module is not in its list, and what it imports stands there under the next one up
    names = {name for name, _ in after_site}

    def listed_parents(name: str) -> set[str]:
        found = set()
        for parent in ours[name]:
            found |= {parent} if not parent or parent in names else listed_parents(parent)
        return found

    other_parent = [
        (name, parent, ours[name]) for name, parent in after_site if (parent or "") not in listed_parents(name)
    ]
    assert other_parent == []
    n_same = sum((parent or "") in ours[name] for name, parent in after_site)
    assert n_same > 0.9 * len(after_site) > 100


def importtime_edges(statement: str) -> list[tuple[str, str | None]]:
    """(module, parent) in the order of -X importtime, which prints a module after those that it imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], capture_output=True, text=True, check=True
    )
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


# -- the time markers' own proofs ----------------------------------------------------------------------------------


def order_of(recording: Recording) -> dict[int, list[str]]:
    """tid -> the order of calls, time marks and access marks as one list of words."""
    hooks = marks.read_hook_files(recording.section("marks"))
    # the hook writes its time marks down between a time mark and the visible one: no call of the target
    flushed = f"{recording.manifest['scratch']}/marks/marks.".encode()
    lists: dict[int, list[str]] = {}
    for event in pipeline.read_events(recording, ParseQuality(), hooks):
        if isinstance(event, Mark) and event.kind != "note":
            lists.setdefault(event.tid, []).append(event.kind + " " + event.name.decode())
        elif isinstance(event, Call) and not event.path.startswith(flushed):
            lists.setdefault(event.tid, []).append("call")
    return lists


def n_differently_placed(recording: Recording) -> tuple[int, int]:
    """Of the marks that were made both ways, how many have a call between the two; and how many there are."""
    n_apart = n_marks = 0
    for words in order_of(recording).values():
        waiting: dict[str, list[int]] = {}
        n_calls = 0
        for word in words:
            if word == "call":
                n_calls += 1
                continue
            at = waiting.setdefault(word, [])
            # the two marks of one event follow each other: the time mark first, then the visible one
            if at and len(at) % 2 == 1:
                n_apart += at[-1] != n_calls
                n_marks += 1
            at.append(n_calls)
    return n_apart, n_marks


def test_time_marks_are_placed_as_visible_marks_are(tmp_path: Path, strace_program: str) -> None:
    recording = trace(tmp_path / "x.fsprobe", sys.executable, "-c", "import pandas", words=("--markers=both",))
    n_apart, n_marks = n_differently_placed(recording)
    assert n_marks > 1000
    assert n_apart == 0


def test_time_marks_with_threads_that_import_at_once(tmp_path: Path, strace_program: str) -> None:
    plant(tmp_path)
    program = tmp_path / "main.py"
    program.write_text(
        "import threading, importlib\n"
        "names = ['planted.m%d' % k for k in range(1, 12, 2)] + ['json', 'xml.dom.minidom', 'email.mime.text', 'sqlite3']\n"
        "threads = [threading.Thread(target=importlib.import_module, args=(name,)) for name in names]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
    )
    recording = trace(tmp_path / "x.fsprobe", sys.executable, str(program), words=("--markers=both",))
    n_apart, n_marks = n_differently_placed(recording)
    assert n_marks > 100
    assert n_apart == 0


@pytest.mark.needs_root
def test_a_stepped_wall_clock_changes_nothing(tmp_path: Path, strace_program: str) -> None:
    need(os.geteuid() == 0, "only root may step the clock")
    plant(tmp_path)
    program = tmp_path / "main.py"
    program.write_text("".join(f"import planted.m{k}\n" for k in range(N_MODULES)))
    stepper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\n"
            "for step in (2, -4, 2) * 8:\n"
            "    time.sleep(0.02)\n"
            "    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + step)\n",
        ],
        stderr=subprocess.PIPE,
    )
    try:
        recording = trace(tmp_path / "x.fsprobe", sys.executable, str(program))
    finally:
        _, errors = stepper.communicate()
    need(stepper.returncode == 0, f"the clock can't be stepped here: {errors[-80:]!r}")
    rows, notes = rows_of(recording)
    assert planted_opens(rows) == Counter({f"planted.m{k}": k + 1 for k in range(N_MODULES)})
    times = [row.call.t_ns for row in rows if row.call.t_ns is not None]
    assert max(times) - min(times) < 60e9
    stamps = [float(line.split()[1]) for line in recording.lines("log") if line.split()[1:]]
    assert min(b - a for a, b in zip(stamps, stamps[1:], strict=False)) < -1, (
        "the clock was not stepped while the target ran"
    )


@pytest.mark.needs_root
def test_two_pid_namespaces_at_once(tmp_path: Path, strace_program: str) -> None:
    need(os.geteuid() == 0, "only root may make a pid namespace without a user namespace")
    plant(tmp_path)
    for name, ks in (("a", range(0, 12, 2)), ("b", range(1, 12, 2))):
        (tmp_path / f"{name}.py").write_text("import planted, time\n" + "".join(f"import planted.m{k}\n" for k in ks))
    script = f"cd {tmp_path}; unshare -pf {sys.executable} a.py & unshare -pf {sys.executable} b.py & wait"
    recording = trace(tmp_path / "x.fsprobe", "/bin/sh", "-c", script)
    rows, notes = rows_of(recording)
    expected = Counter({f"planted.m{k}": k + 1 for k in range(N_MODULES)})
    for k in range(0, N_MODULES, 2):
        expected[f"planted.m{k + 1}"] += k + 2  # a.py's m<k> imports m<k+1> as well
    assert planted_opens(rows) == expected
    hooks = marks.read_hook_files(recording.section("marks"))
    assert [fact["pid"] for fact in hooks.facts.values()] == [1, 1]


def test_closed_descriptors_and_the_next_file_are_untouched(tmp_path: Path, strace_program: str) -> None:
    program = tmp_path / "closer.py"
    program.write_text(
        "import os, sys\n"
        "os.closerange(3, 256)\n"
        "out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)\n"
        "import json, xml.dom.minidom, email.mime.text\n"
        "os.write(out, b'only this')\n"
        "print(sorted(os.listdir('/proc/self/fd')))\n"
    )
    plain = subprocess.run([sys.executable, str(program), str(tmp_path / "plain")], capture_output=True, check=True)
    traced = subprocess.run(
        [
            sys.executable,
            "-m",
            "fsprobe",
            "run",
            "--record-only",
            "-q",
            "--force",
            "-o",
            str(tmp_path / "x.fsprobe"),
            "--",
            sys.executable,
        ]
        + [str(program), str(tmp_path / "traced")],
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "traced").read_bytes() == (tmp_path / "plain").read_bytes() == b"only this"
    assert traced.stdout == plain.stdout
    assert traced.stderr == plain.stderr


def test_every_grouping_sums_to_the_totals(tmp_path: Path, strace_program: str) -> None:
    trace(
        tmp_path / "x.fsprobe",
        "/bin/sh",
        "-c",
        f"ls / >/dev/null; {sys.executable} -c 'import json, subprocess; subprocess.run([\"true\"])'",
    )
    metrics = pipeline.analyse(tmp_path / "x.fsprobe").metrics
    for name in ("by_phase", "by_module", "by_package", "by_mount", "by_process", "by_path"):
        for field in ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found", "n_metadata"):
            assert sum(getattr(row, field) for row in getattr(metrics, name)) == getattr(metrics, field), (name, field)
    assert sum(row.n for row in metrics.not_found) == metrics.n_not_found
    assert sum(row.n_metadata for row in metrics.timeline) == metrics.n_metadata
    kinds = {row.label: row.kind for row in metrics.by_process}
    assert kinds["sh -c"] == "launcher"
    assert kinds["ls"] == "launcher"
    assert kinds[os.path.basename(sys.executable) + " -c"] == "python"
    assert kinds["true"] == "program"
