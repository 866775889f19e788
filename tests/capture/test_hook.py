"""The hook alone, without a tracer: the marks it writes, and what it leaves in an interpreter."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe.capture import injection
from fsprobe.capture.directories import hook_place, room
from tests.conftest import clean_environment


@pytest.fixture(autouse=True)
def no_hook_is_left(tmp_path: Path) -> Iterator[None]:
    """These runs have scratch directories of their own, and so hooks of their own."""
    yield
    for place in HOOKS:
        hook_place.remove(place, str(tmp_path))
    HOOKS.clear()


HOOKS: list[str] = []


class Hooked:
    """An interpreter with the hook."""

    def __init__(self, tmp_path: Path, mode: str = "time") -> None:
        self.marks = tmp_path / "marks"
        self.marks.mkdir(0o700)
        self.environment = clean_environment()
        self.hook, self.why_not = injection.install(str(tmp_path), mode, self.environment)
        HOOKS.append(self.hook)
        self.cwd = tmp_path

    def run(self, interpreter: str, program: str, *options: str) -> str:
        """Run a program; gives its stdout."""
        words = [interpreter, *options, "-c", program]
        done = subprocess.run(words, capture_output=True, check=True, env=self.environment, cwd=self.cwd, text=True)
        assert done.stderr == ""
        return done.stdout

    def files(self) -> list[str]:
        """What each process wrote, with the facts of its interpreter first where it has some."""
        return list(written(self.marks).values())


def written(marks: Path) -> dict[str, str]:
    """What each process wrote, by its token; who forked it off is left out."""
    found: dict[str, str] = {path.name[6:]: path.read_text() for path in sorted(marks.glob("marks.*"))}
    for path in sorted(marks.glob(room.PREFIX + "*")):
        for number, lines in room.read(str(path)):
            name = path.name[len(room.PREFIX) :] + (f"+{number}" if number else "")
            text = lines.decode("utf-8", "surrogateescape")
            found[name] = found.get(name, "") + (text.partition("\n")[2] if text.startswith("+") else text)
    return found


def pairs(text: str) -> list[tuple[str, str, int]]:
    """(kind, name, thread) of each mark, in the file's order."""
    rows = []
    for line in text.splitlines():
        if not line.startswith("="):
            when, tid, rest = line.split(" ", 2)
            assert when.isdigit()
            rows.append((rest[0], rest[1:], int(tid)))
    return rows


def assert_nested(text: str) -> None:
    """Every begin has its end, inside out, per thread; times do not run backwards."""
    stacks: dict[int, list[str]] = {}
    times: dict[int, int] = {}
    for line in text.splitlines():
        if line.startswith("="):
            continue
        when, tid = (int(word) for word in line.split(" ", 2)[:2])
        assert when >= times.get(tid, 0)
        times[tid] = when
    for kind, name, tid in pairs(text):
        stack = stacks.setdefault(tid, [])
        if kind == ">":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not any(stacks.values())


def test_marks_pair_up(tmp_path: Path, interpreter: str) -> None:
    hooked = Hooked(tmp_path)
    (tmp_path / "outer.py").write_text("import inner, json\ntry:\n    import no_such\nexcept ImportError:\n    pass\n")
    (tmp_path / "inner.py").write_text("x = 1\n")
    hooked.run(interpreter, "import outer, outer, inner")
    files = hooked.files()
    (version,) = {tuple(ast.literal_eval(text.split("\n", 1)[0][1:])["version"].split(".")[:2]) for text in files}
    if tuple(map(int, version)) < (3, 8):
        assert len(files[0].splitlines()) == 1  # below 3.8 marks are calls that only a tracer sees
        return
    (text,) = files
    assert_nested(text)
    names = [name for kind, name, _ in pairs(text) if kind == ">"]
    assert names.count("outer") == names.count("inner") == names.count("no_such") == 1
    assert names.index("outer") < names.index("inner") < names.index("no_such")


@pytest.mark.alone
def test_facts_of_the_interpreter(tmp_path: Path, interpreter: str) -> None:
    hooked = Hooked(tmp_path)
    hooked.environment["TMPDIR"] = "/x\udcff"
    said = (
        hooked.run(interpreter, "import sys; print(sys.version.split()[0], sys.prefix, sys.path[1:], sep='|')")
        .strip()
        .split("|")
    )
    facts = ast.literal_eval(hooked.files()[0].split("\n", 1)[0][1:])
    assert [facts["version"], facts["prefix"]] == said[:2]
    assert str(facts["path"][-1:])[1:-1] in said[2]
    assert not any("hook" in entry for entry in facts["path"])
    assert facts["environment"]["TMPDIR"] == "/x\udcff"
    assert (hooked.marks / facts["mounts"]).read_bytes() == Path("/proc/self/mountinfo").read_bytes()


def test_forked_processes_and_threads_write_for_themselves(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    program = (
        "import os, threading, importlib\n"
        "def work(name):\n    importlib.import_module(name)\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in ('csv', 'decimal', 'sqlite3', 'xml.dom.minidom')]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "pid = os.fork()\nimport json\n"
        "if pid:\n    os.waitpid(pid, 0)\n"
    )
    hooked.run(sys.executable, program)
    files = hooked.files()
    assert len(files) == 2
    for text in files:
        assert_nested(text)
        assert "json" in [name for _, name, _ in pairs(text)]
    assert len({tid for text in files for _, _, tid in pairs(text)}) >= 5


def test_a_fork_in_mid_import_leaves_the_parents_marks_to_the_parent(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    (tmp_path / "forks.py").write_text(
        "import os, csv\npid = os.fork()\nimport decimal\nif not pid:\n    os._exit(0)\nos.waitpid(pid, 0)\n"
    )
    hooked.run(sys.executable, "import forks")
    counts = sorted([name for kind, name, _ in pairs(text) if kind == ">"].count("csv") for text in hooked.files())
    assert counts == [0, 1]
    assert all("decimal" in text for text in hooked.files())


def test_marks_that_cannot_be_written_disturb_nothing(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    program = f"import shutil; shutil.rmtree({str(hooked.marks)!r})\nimport csv, decimal, sqlite3; print(7)"
    assert hooked.run(sys.executable, program) == "7\n"


def test_no_descriptor_is_held(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    program = "import os\na = os.listdir('/proc/self/fd')\nimport csv, decimal\nprint(len(a), len(os.listdir('/proc/self/fd')))"
    assert hooked.run(sys.executable, program) == "4 4\n"


def test_names_with_odd_letters(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    program = (
        "for name in ('a b', 'new\\nline', 'é', '\\udcff', 'x.y', ' '):\n"
        "    try:\n        __import__(name)\n    except Exception:\n        pass\n"
        "import csv\n"
    )
    hooked.run(sys.executable, program)
    (text,) = hooked.files()
    assert ">new\\nline\n" in text
    assert ">é\n" in text
    assert ">csv\n" in text


@pytest.mark.parametrize("options", [("-I",), ("-E",), ("-S",)])
def test_where_the_hook_does_not_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    hooked = Hooked(tmp_path)
    assert hooked.run(sys.executable, "import json; print(7)", *options) == "7\n"
    assert hooked.files() == []


@pytest.mark.parametrize("mode", ["time", "access", "both"])
def test_an_interrupt_leaves_no_lock_behind(tmp_path: Path, mode: str) -> None:
    """KeyboardInterrupt at any moment of an import: every module can be imported afterwards, from another thread too."""
    hooked = Hooked(tmp_path, mode)
    program = (
        "import _thread, os, signal, sys, threading, time\n"
        "def ping(pid):\n    for _ in range(60):\n        time.sleep(0.002); os.kill(pid, signal.SIGINT)\n"
        "names = ['csv', 'decimal', 'sqlite3', 'json', 'xml.dom.minidom', 'email.mime.text', 'http.client']\n"
        "def once():\n"
        "    for name in names:\n"
        "        for loaded in [m for m in sys.modules if m.split('.')[0] in ('csv', 'json', 'xml', 'email', 'http')]:\n"
        "            del sys.modules[loaded]\n"
        "        __import__(name)\n"
        "n = 0\narmed = False\n"
        # raises only inside the try below, and once a turn: anywhere else it would end the program, not an import
        "def interrupt(*_):\n"
        "    global n, armed\n"
        "    if armed:\n        armed = False; n += 1\n        raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGINT, interrupt)\n"
        "pinger = threading.Thread(target=ping, args=(os.getpid(),))\n"
        "pinger.start()\n"
        "while pinger.is_alive():\n"
        "    try:\n"
        "        armed = True; once(); armed = False\n"
        "    except (KeyboardInterrupt, ImportError, KeyError, AttributeError):\n        pass\n"
        "    armed = False\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        # an interrupted import may leave a module half made, which is CPython's own; a lock that stays is a thread that hangs
        "done = []\n"
        "def work():\n"
        "    try: once()\n"
        "    except (ImportError, KeyError, AttributeError): pass\n"
        "    done.append(1)\n"
        "worker = threading.Thread(target=work, daemon=True)\n"
        "worker.start(); worker.join(20)\n"
        "print(done, n > 5)\n"
        "sys.stdout.flush(); os._exit(0)\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, capture_output=True, env=hooked.environment, cwd=tmp_path, text=True, check=False, timeout=60
    )
    assert done.stdout == "[1] True\n", (done.stdout, done.stderr[-500:])


def test_python_2_reads_it(tmp_path: Path) -> None:
    """Its own sitecustomize would be imported as ever; the hook steps aside, whatever the interpreter."""
    assert (Path(injection.__file__).parent / "hook" / "sitecustomize.py").read_bytes().isascii()
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(root.glob("2.*/bin/python2"))
    if not found:
        pytest.skip("no Python 2 here")
    hooked = Hooked(tmp_path)
    assert hooked.run(str(found[0]), "import sys, json; print([p for p in sys.path if 'hook' in p])") == "[]\n"
