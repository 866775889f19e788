"""CPython 3.14 and 3.15 with today's glibc and strace: imports marked exactly, lazy ones too, and nothing changed.

Two truths that know nothing of fsprobe: planted packages whose files are counted, and `-X importtime` of the same program.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, Notes
from fsprobe.model.events import Op, ParseQuality
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.report.terminal import run
from tests import sid as newest
from tests.sid import PYTHONS, Sid

BACKENDS = ("strace", "ptrace", "audit")
EVERY = pytest.mark.parametrize(("python", "backend"), [(p, b) for p in PYTHONS for b in BACKENDS])
N_MODULES = 12
N_THREADS = 6
LAZY = "3.15"


@pytest.fixture(scope="module")
def recorder(sid: Sid) -> Iterator[str]:
    with newest.recorder_in(sid) as path:
        yield path


@pytest.fixture(scope="module")
def source(sid: Sid) -> Iterator[str]:
    with newest.source_in(sid) as path:
        yield path


@pytest.fixture
def place(sid: Sid, tmp_path: Path) -> Iterator[Path]:
    """A directory in the root, for programs and recordings."""
    place = sid.path / "tmp" / f"{tmp_path.name}-{os.getpid()}"
    place.mkdir(mode=0o700)
    yield place
    shutil.rmtree(place)


def write(place: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(textwrap.dedent(text))


def opens(n: int) -> str:
    """The text of a module that opens its own file n times while it is imported."""
    return (
        f"import os\nfor _ in range({n}):\n    os.close(os.open(__file__.rpartition('.')[0] + '.data', os.O_RDONLY))\n"
    )


def plant(place: Path, modules: dict[str, tuple[int, str]]) -> None:
    """Modules by dotted name: how often each opens its own file, and what it does after that."""
    for name, (n, text) in modules.items():
        stem = place.joinpath(*name.split("."))
        if any(other.startswith(name + ".") for other in modules):
            stem = stem / "__init__"
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".py").write_text(opens(n) + text)
        stem.with_suffix(".data").write_text("")


class Seen:
    """One recording from the root, read outside of it."""

    def __init__(self, path: Path) -> None:
        self.recording = Recording(str(path))
        self.notes, self.quality = Notes(), ParseQuality()
        events = pipeline.read_events(self.recording, self.quality, pipeline.read_hooks(self.recording))
        rows = pipeline.attributed(self.recording, events, self.notes)
        self.rows: list[Attributed] = [row for row in rows if not row.own]
        self.profile: Profile = pipeline.analyse(path)

    def planted(self) -> Counter[str]:
        """module -> opens of planted files that count for it."""
        return Counter(row.module for row in self.rows if row.call.op is Op.OPEN and row.call.path.endswith(b".data"))

    def edges(self) -> Counter[tuple[str, str]]:
        """(module, the one that it was imported in or "") -> how often."""
        return Counter({(name, by): n for name, row in self.notes.imports.items() for by, n in row.items()})

    def assert_marked(self) -> None:
        quality = self.profile.quality
        assert (quality.n_unparsed, quality.n_estimated, quality.n_marks_unpaired) == (0, 0, 0), quality
        assert (quality.unmarked, quality.n_marks_unread, quality.is_marked) == ({}, 0, True)
        assert "import timing: exact" in run.render(self.profile, recording="x")


def trace(sid: Sid, recorder: str, place: Path, python: str, backend: str, *words: str) -> Seen:
    """Run `pythonX WORDS` in `place`, alone and recorded; both do the same."""
    command = [f"python{python}", *words]
    sid.run(command, cwd=sid.inside(place))  # byte code
    plain = sid.run(command, cwd=sid.inside(place))
    output = place / f"{backend}.fsprobe"
    start = [f"python{python}", recorder, "-q", "--backend", backend, "--force", "-o", sid.inside(output), "--"]
    done = sid.run([*start, *command], cwd=sid.inside(place))
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    return Seen(output)


def importtime(sid: Sid, place: Path, python: str, *words: str) -> Counter[tuple[str, str]]:
    """(module, importer) -> how often, as the interpreter itself says: a module's line follows those of what it imports."""
    done = sid.run([f"python{python}", "-X", "importtime", *words], cwd=sid.inside(place))
    edges: Counter[tuple[str, str]] = Counter()
    waiting: list[tuple[int, str]] = []
    for indent, name in re.findall(r"import time: +\d+ \| +\d+ \|( +)(\S+)$", done.stderr.decode(), re.MULTILINE):
        edges.update((inner, name) for depth, inner in waiting if depth > len(indent))
        waiting = [(depth, inner) for depth, inner in waiting if depth <= len(indent)] + [(len(indent), name)]
    edges.update((name, "") for _, name in waiting)
    return edges


def assert_equals_importtime(seen: Seen, sid: Sid, place: Path, python: str, *words: str) -> None:
    """Every import is the same in both, but for what precedes the hook and the two that the hook's own place is between."""
    own, truth = seen.edges(), importtime(sid, place, python, *words)
    before = importtime(sid, place, python, *[word for word in words if word.startswith("-X")], "-c", "pass")
    assert set(own - truth) <= {("sitecustomize", ""), ("usercustomize", "")}
    assert truth - own - before == Counter()
    assert sum((own & truth).values()) > 8


def test_the_versions(sid: Sid, capsys: pytest.CaptureFixture[str]) -> None:
    said = [sid.run([f"python{python}", "-V"]).stdout.decode().strip() for python in PYTHONS]
    said += [sid.run([*words, "--version"]).stdout.decode().split("\n")[0] for words in (["strace"], ["ldd"])]
    assert [line.split()[1][:4] for line in said[:2]] == list(PYTHONS)
    with capsys.disabled():
        print("\nin the root: " + "; ".join(said))


@EVERY
def test_planted_files_are_counted_exactly(sid: Sid, recorder: str, place: Path, python: str, backend: str) -> None:
    """Nested imports, a package above each module, and threads that import at once."""
    modules = {"planted": (3, "")}
    for k in range(N_MODULES):
        nested = f"import planted.m{k + 1}\n" if k % 2 == 0 else ""
        modules[f"planted.m{k}"] = (k + 1, nested + "import time\ntime.sleep(0.002)\n")
    modules.update({f"alone{k}": (10 + k, "import time\ntime.sleep(0.002)\n") for k in range(N_THREADS)})
    plant(place, modules)
    program = """
        import importlib, threading
        go = threading.Barrier(6)
        def work(k):
            go.wait()
            importlib.import_module("alone%d" % k)
            importlib.import_module("planted.m%d" % (2 * k))
        threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    write(place, {"main.py": program})
    seen = trace(sid, recorder, place, python, backend, "main.py")
    seen.assert_marked()
    assert seen.planted() == Counter({name: n for name, (n, _) in modules.items()})
    rows = {row.key: row for row in seen.profile.metrics.by_module}
    for k in range(0, N_MODULES, 2):
        assert rows[f"planted.m{k + 1}"].parent == f"planted.m{k}"
    assert rows["planted"].parent in {f"planted.m{k}" for k in range(N_MODULES)}


FAILING = {
    "bad/__init__.py": "1 / 0\n",
    "bad/sub/__init__.py": "",
    "bad/sub/deep.py": "",
    "good/__init__.py": "import good.sub.deep\n",  # imports what waits for it
    "good/sub/__init__.py": "import csv\n",
    "good/sub/deep.py": "import wave\n",
    "good/sub/fails.py": "import nosuch\n",
    "itself.py": "import sys\ndel sys.modules['itself']\nimport colorsys\n",
    "main.py": """
        import json.tool, xml.dom.minidom, email.mime.text, importlib, traceback
        names = "bad.sub.deep good.sub.fails good.nosuch good.sub.deep.x nosuch.a.b csv.x itself itself.x".split()
        for name in names:
            for load in (__import__, importlib.import_module):
                try:
                    load(name)
                except Exception:
                    traceback.print_exc()
        from good.sub import deep, nothing_of_this_name
    """,
}


EXPECTED = {
    "bad.sub.deep": {"": 2},
    "bad.sub": {"bad.sub.deep": 2},
    "bad": {"bad.sub": 2},
    "good.sub.fails": {"": 2},
    "nosuch": {"good.sub.fails": 2, "nosuch.a": 2},
    "good.sub": {"good.sub.fails": 1, "good.sub.deep": 1},
    "good": {"good.sub": 1},
    "good.sub.deep": {"good": 1},
    "csv": {"good.sub": 1},
    "wave": {"good.sub.deep": 1},
    "good.nosuch": {"": 2},
    "good.sub.deep.x": {"": 2},
    "nosuch.a.b": {"": 2},
    "nosuch.a": {"nosuch.a.b": 2},
    "csv.x": {"": 2},
    "itself": {"": 2, "itself.x": 2},
    "itself.x": {"": 2},
    "colorsys": {"itself": 1},
    "good.sub.nothing_of_this_name": {"": 1},
}
"""module -> the import that it was loaded in -> how often; by hand, since -X importtime leaves out what fails."""


@EVERY
def test_imports_that_fail(sid: Sid, recorder: str, place: Path, python: str, backend: str) -> None:
    """With a package above them that fails, or imports them itself; and what comes after is right again."""
    write(place, FAILING)
    seen = trace(sid, recorder, place, python, backend, "main.py")  # compares the tracebacks, too
    seen.assert_marked()
    assert {name: seen.notes.imports.get(name) for name in EXPECTED} == EXPECTED
    assert seen.rows[-1].stack == ()


@EVERY
def test_waiting_for_another_threads_import_is_no_import(
    sid: Sid, recorder: str, place: Path, python: str, backend: str
) -> None:
    """Two threads, a module that fails late: each loads it once, and the second one's waiting is not one more."""
    program = """
        import importlib, sys, threading, time
        sys.go = threading.Event()
        def work(after):
            if after: sys.go.wait(); time.sleep(0.05)
            try:
                importlib.import_module('fails')
            except ZeroDivisionError:
                pass
        threads = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    write(place, {"main.py": program, "fails.py": "import sys, time\nsys.go.set()\ntime.sleep(0.3)\n1 / 0\n"})
    seen = trace(sid, recorder, place, python, backend, "main.py")
    seen.assert_marked()
    assert seen.notes.n_imports["fails"] == 2


@EVERY
def test_each_import_is_that_of_importtime(sid: Sid, recorder: str, place: Path, python: str, backend: str) -> None:
    names = (
        "json.tool, asyncio, xml.dom.minidom, email.mime.text, http.server, concurrent.futures.process, unittest.mock"
    )
    write(place, {"main.py": f"import {names}\n"})
    seen = trace(sid, recorder, place, python, backend, "main.py")
    seen.assert_marked()
    assert_equals_importtime(seen, sid, place, python, "main.py")


@pytest.mark.parametrize("python", PYTHONS)
def test_importtime_2_lists_one_module_more(sid: Sid, recorder: str, place: Path, python: str) -> None:
    """It names also what is imported once more: of the hook that is `_io`, which the interpreter takes for each file that it loads."""
    command = [f"python{python}", "-X", "importtime=2", "-c", "import json; print(7)"]

    def names(err: bytes) -> Counter[str]:
        return Counter(line.rpartition("|")[2].strip() for line in err.decode().splitlines())

    alone = sid.run(command)
    record = ["run", "-q", "--record-only", "--backend", "ptrace", "-o", sid.inside(place / "r.fsprobe"), "--"]
    done = sid.run([f"python{python}", recorder, *record, *command])
    assert (done.returncode, done.stdout) == (0, alone.stdout)
    assert not names(alone.stderr) - names(done.stderr)
    assert set(names(done.stderr) - names(alone.stderr)) == {"sitecustomize", "_io"}


# ---- lazy imports (PEP 810) --------------------------------------------------------------------------------------------

LAZILY = {
    "pk": (2, "lazy from pk import early\ndef use():\n    return early.__name__\n"),
    "pk.early": (3, ""),
    "pk.late": (4, "lazy import user\nuser.x\n"),
    "user": (5, "x = 1\n"),
    "never": (6, ""),
    "plainly": (7, ""),
    "inner.a.b": (1, ""),
    "inner.a": (2, ""),
    "inner": (3, ""),
}
LAZY_PROGRAM = """
    {lazy}import pk
    {lazy}import pk.late
    {lazy}import never
    {lazy}import plainly
    {lazy}import inner.a.b
    import sys
    print(sorted(sys.lazy_modules & {{"pk", "pk.late", "never", "plainly", "inner", "inner.a", "inner.a.b"}}))
    print(pk.use())
    pk.late
    def f():
        import plainly
    f()
    inner.a.b
    print("never" in sys.modules, sorted(name for name in sys.lazy_modules if name in ("never", "sys", "sitecustomize")))
"""


@pytest.mark.parametrize("how", ["statements", "option"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lazy_module_loads_at_its_first_use(sid: Sid, recorder: str, place: Path, backend: str, how: str) -> None:
    plant(place, LAZILY)
    write(place, {"main.py": LAZY_PROGRAM.format(lazy="lazy " if how == "statements" else "")})
    options = [] if how == "statements" else ["-Xlazy_imports=all"]
    seen = trace(sid, recorder, place, LAZY, backend, *options, "main.py")
    seen.assert_marked()
    assert seen.planted() == Counter({name: n for name, (n, _) in LAZILY.items() if name != "never"})
    assert_equals_importtime(seen, sid, place, LAZY, *options, "main.py")
    rows = {row.key: row for row in seen.profile.metrics.by_module}
    assert rows["user"].parent == "pk.late"
    assert [rows[name].parent for name in ("inner", "inner.a", "inner.a.b")] == [None, None, None]
    lines = (place / "main.py").read_text().split("\n")
    used = {
        "pk": "print(pk.use())",
        "pk.late": "pk.late",
        "inner": "inner.a.b",
        "inner.a": "inner.a.b",
        "inner.a.b": "inner.a.b",
    }
    for name, text in used.items():
        assert rows[name].loaded_lazily_at == f"__main__:{lines.index(text) + 1}"
    assert rows["user"].loaded_lazily_at.startswith("pk.late:")
    assert rows["pk.early"].loaded_lazily_at.startswith("pk:")
    # it was named lazily too, but an ordinary import loaded it
    assert rows["plainly"].loaded_lazily_at is None
    assert "never" not in rows


def test_the_users_own_sitecustomize_is_not_made_lazy(sid: Sid, recorder: str, place: Path) -> None:
    """`-X lazy_imports=all` begins after site, but a .pth file can ask for the same before the hook runs."""
    write(place, {"sitecustomize.py": "print('mine')\n", "main.py": "import sys\nprint(sys.get_lazy_imports())\n"})
    write(place, {f".local/lib/python{LAZY}/site-packages/a.pth": "import sys; sys.set_lazy_imports('all')\n"})
    command = [
        f"python{LAZY}",
        "-I",
        recorder,
        "-q",
        "-o",
        sid.inside(place / "x.fsprobe"),
        "--",
        f"python{LAZY}",
        "main.py",
    ]
    done = sid.run(command, cwd=sid.inside(place), HOME=sid.inside(place), PYTHONPATH=sid.inside(place))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\nall\n", b"")
    Seen(place / "x.fsprobe").assert_marked()


# ---- nothing is changed --------------------------------------------------------------------------------------------------

DEPTH = """
    import sys, traceback
    def depth():
        n, frame = 0, sys._getframe()
        while frame:
            n, frame = n + 1, frame.f_back
        return n
    sys.depth = depth
    sys.setrecursionlimit(400)
    import deep.er.module
    def fall(n):
        try:
            return fall(n + 1)
        except RecursionError:
            return n
    print(fall(0), depth())
    try:
        import deep.er.fails
    except KeyError:
        traceback.print_exc()
    print(sorted(name for name in sys.modules if "fsprobe" in name), [p for p in sys.path if "fsprobe" in p])
"""


@EVERY
def test_depth_and_tracebacks_are_as_without(sid: Sid, recorder: str, place: Path, python: str, backend: str) -> None:
    told = "import sys\nprint(__name__, sys.depth())\n"
    write(place, {"deep/__init__.py": told, "deep/er/__init__.py": told, "deep/er/module.py": told + "import csv\n"})
    write(place, {"deep/er/fails.py": told + "{}['x']\n", "main.py": DEPTH})
    trace(sid, recorder, place, python, backend, "main.py").assert_marked()


WATCHING = """
    import cProfile, sys
    heard = []
    def hear(event, args):
        if event in ("sys._getframe", "object.__getattr__"):
            raise RuntimeError(event)
        heard.append(event)
    sys.addaudithook(hear)
    import deep.er
    watching = cProfile.Profile()
    watching.enable()
    import deep.er.module
    watching.disable()
    print(heard)
    print(sorted((getattr(row.code, "co_name", "in C"), row.callcount) for row in watching.getstats()))
"""


@pytest.mark.parametrize("python", PYTHONS)
def test_who_watches_hears_nothing_of_ours(sid: Sid, recorder: str, place: Path, python: str) -> None:
    """An audit hook that lets nobody look at a frame, and the profiler, which is told of every call (PEP 669)."""
    write(
        place, {"deep/__init__.py": "import csv\n", "deep/er/__init__.py": "", "deep/er/module.py": "import shelve\n"}
    )
    write(place, {"main.py": WATCHING})
    profile = trace(sid, recorder, place, python, "ptrace", "main.py").profile
    assert {"deep", "deep.er", "csv"} <= {row.key for row in profile.metrics.by_module}
    assert profile.quality.marks_unread["watched"] > 2


INTERRUPTED = """
    import _thread, os, signal, sys, threading, time
    def ping(pid):
        for _ in range(150):
            time.sleep(0.002); os.kill(pid, signal.SIGINT)
    names = "csv decimal json.tool xml.dom.minidom email.mime.text http.client".split()
    def once():
        for name in names:
            for loaded in [m for m in sys.modules if m.split(".")[0] in ("csv", "json", "xml", "email", "http")]:
                del sys.modules[loaded]
            __import__(name)
    n, armed = 0, False
    def interrupt(*_):
        global n, armed
        if armed:
            armed = False; n += 1
            raise KeyboardInterrupt
    signal.signal(signal.SIGINT, interrupt)
    pinger = threading.Thread(target=ping, args=(os.getpid(),))
    pinger.start()
    while pinger.is_alive():
        try:
            armed = True; once(); armed = False
        except (KeyboardInterrupt, ImportError, KeyError, AttributeError):
            pass
        armed = False
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = []
    def work():
        try: once()
        except (ImportError, KeyError, AttributeError): pass
        done.append(1)
    worker = threading.Thread(target=work, daemon=True)
    worker.start(); worker.join(20)
    print(done, n > 20)
    sys.stdout.flush(); os._exit(0)
"""


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("mode", ["time", "access"])
def test_an_interrupt_reaches_the_target_and_leaves_no_lock(
    sid: Sid, recorder: str, place: Path, python: str, mode: str
) -> None:
    """KeyboardInterrupt at any moment of an import, in our code too."""
    write(place, {"main.py": INTERRUPTED})
    start = [f"python{python}", recorder, "-q", f"--markers={mode}", "--force", "-o", "x.fsprobe", "--"]
    done = sid.run([*start, f"python{python}", "main.py"], cwd=sid.inside(place))
    assert (done.returncode, done.stdout) == (0, b"[1] True\n"), done.stderr[-500:]


# ---- fsprobe itself on them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
def test_fsprobe_runs_on_them(sid: Sid, source: str, place: Path, python: str) -> None:
    """Records, reads its own recording, and reports."""
    plant(place, {"planted": (4, ""), "planted.m": (5, "")})
    write(place, {"main.py": "import planted.m\n"})
    command = [f"python{python}", "-m", "fsprobe"]
    done = sid.run(
        [*command, "run", "--full", "--force", "-o", "x.fsprobe", "--", f"python{python}", "main.py"],
        cwd=sid.inside(place),
        PYTHONPATH=source,
    )
    assert done.returncode == 0, done.stderr
    assert b"strace 7" in done.stderr + done.stdout
    told = sid.run([*command, "report", "x.fsprobe", "--format", "json"], cwd=sid.inside(place), PYTHONPATH=source)
    rows = {row["key"]: row for row in json.loads(told.stdout)["metrics"]["by_module"]}
    assert rows["planted"]["parent"] == "planted.m"
    assert Seen(place / "x.fsprobe").planted() == Counter({"planted": 4, "planted.m": 5})
