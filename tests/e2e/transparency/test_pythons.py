"""Every Python that is here, started in every way: counts as strace's own summary has them, imports marked, nothing changed.

By default each interpreter runs plain and in one other way, so that each way is taken by some; FSPROBE_ALL_PYTHONS=1 runs
all combinations.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipapp
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.model.events import ParseQuality
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from tests.conftest import INTERPRETERS, Done, as_shown, clean_environment, need
from tests.e2e.backends.test_oracle import make_recording, n_false_errors, own_rows, summary_of

SYSTEM = "/usr/bin/python3"
N_OPENS = 7
WAYS = ("plain", "venv", "module", "pool", "console script")
ALL = bool(os.environ.get("FSPROBE_ALL_PYTHONS"))

PACKAGE = {
    "app/__init__.py": "",
    "app/work.py": (
        "import os\nhere = os.path.dirname(os.path.abspath(__file__))\n"
        f"for i in range({N_OPENS}):\n    os.close(os.open(os.path.join(here, 'data-%d' % i), os.O_RDONLY))\n"
        "import json.tool\n"
    ),
    "app/__main__.py": "import sys\nfrom app import work\ndef main():\n    print(work.json.dumps(sys.argv[1:]))\n    return 3\n"
    "if __name__ == '__main__':\n    sys.exit(main())\n",
    "pool.py": (
        "import multiprocessing, sys\n"
        "def work(i):\n    import app.work\n    return i\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:\n"
        "        print(pool.map(work, range(6), 1))\n"
    ),
}


def find_all() -> dict[str, str]:
    """All interpreters by version, and the system's own under the name `system`."""
    return {**INTERPRETERS, **({"system": SYSTEM} if os.access(SYSTEM, os.X_OK) else {})}


PYTHONS = find_all()


def combinations() -> list[tuple[str, str]]:
    """Pairs of interpreter and way that are tested."""
    if ALL:
        return [(name, way) for name in PYTHONS for way in WAYS]
    chosen = []
    for number, name in enumerate(PYTHONS):
        chosen += [(name, "plain"), (name, WAYS[1 + number % (len(WAYS) - 1)])]
    return chosen


@pytest.fixture(autouse=True)
def without_python_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the package, as working directory."""
    place = tmp_path / "place"
    for name, text in PACKAGE.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    for i in range(N_OPENS):
        (place / "app" / f"data-{i}").write_text("")
    monkeypatch.chdir(place)
    return place


def make_venv(python: str, place: Path) -> Path:
    """A virtual environment (without pip) that holds the package and a console script of it."""
    venv = place / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", str(venv)], check=True, capture_output=True)
    (site,) = venv.glob("lib/python3*/site-packages")
    shutil.copytree(place / "app", site / "app")
    script = venv / "bin" / "app"
    script.write_text(f"#!{venv}/bin/python3\nimport sys\nfrom app.__main__ import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return venv


def command_of(python: str, way: str, place: Path) -> list[str]:
    """The command that runs the package in one of the `WAYS`."""
    if way == "plain":
        return [python, str(place / "app" / "__main__.py").replace("app/__main__", "main")]
    if way == "module":
        return [python, "-m", "app", "a", "b c"]
    if way == "pool":
        return [python, str(place / "pool.py"), "spawn"]
    venv = make_venv(python, place)
    return [str(venv / "bin" / "app"), "x"] if way == "console script" else [str(venv / "bin" / "python"), "-m", "app"]


def write_main(place: Path) -> None:
    (place / "main.py").write_text("import sys\nfrom app.__main__ import main\nsys.exit(main())\n")


def assert_equals_summary(recording: Recording) -> Profile:
    """The counts of a recording made with -C are those of strace's own summary, call for call; gives the profile."""
    tally, notes, quality, hooks = pipeline.tally_recording(recording)
    assert (quality.n_unparsed, quality.n_partial) == (0, 0), quality.unparsed_examples
    assert check_sums(tally) == []
    expected = summary_of(recording)
    calls: Counter[str] = Counter({call: n for call, (n, _) in tally.by_syscall.items()})
    errors: Counter[str] = Counter({call: n for call, (_, n) in tally.by_syscall.items()})
    calls.update(tally.own_by_syscall)
    calls.update({call: n for call, n in quality.other_calls.items() if call in calls})
    errors.update({call: n for call, n in quality.other_errors.items() if call in calls})
    errors.update(row.call.syscall for row in own_rows(recording, hooks) if row.call.error not in ("", "?"))
    unfinished = Counter(
        event.syscall
        for event in pipeline.read_events(recording, ParseQuality(), hooks)
        if getattr(event, "error", None) == "?"
    )
    marker_call = "faccessat2" if "faccessat2" in expected else "faccessat"
    n_marks = sum(b'(-1, "fsprobe' in line for line in recording.lines("log"))
    assert n_marks >= notes.n_own_marks
    calls[marker_call] += n_marks
    for call, n in calls.items():
        assert n == expected.get(call, (0, 0))[0] + unfinished[call], call
        if call != marker_call:
            false = n_false_errors(recording) if call == "execve" else 0
            assert errors[call] == expected.get(call, (0, 0))[1] - false, call
    ignored = {"getcwd", "clone", "clone3", "fork", "vfork", "exit_group", "fchdir", marker_call}
    assert set(expected) - set(calls) - set(quality.other_calls) - ignored == set()
    return pipeline.analyse(recording.path)


def opens_of_work(recording: Recording) -> Counter[str]:
    """Module -> opens of the planted files that count for it."""
    found: Counter[str] = Counter()
    hooks = pipeline.read_hooks(recording)
    for row in pipeline.attributed(recording, pipeline.read_events(recording, ParseQuality(), hooks), pipeline.Notes()):
        if b"/app/data-" in row.call.path and row.call.op.value == "open":
            found[row.module] += 1
    return found


def test_which_interpreters_are_here(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for name, path in PYTHONS.items():
        done = subprocess.run(
            [path, "-c", "import sys; print(sys.version.split()[0])"], capture_output=True, check=True
        )
        lines.append(f"{name}: {done.stdout.decode().strip()} {path}")
    with capsys.disabled():
        print("\ninterpreters: " + "; ".join(lines))
    need(len(PYTHONS) >= 2, "only one interpreter here: the matrix is a single row")


@pytest.mark.parametrize(("name", "way"), combinations())
def test_counts_markers_and_behaviour(
    name: str,
    way: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_same: Callable[..., Done],
) -> None:
    write_main(place)
    command = command_of(PYTHONS[name], way, place)
    done = run_same(command, cwd=place)  # compiles the byte code as well
    assert done.status == (0 if way == "pool" else 3)
    recording = make_recording(command, tmp_path / "summed.fsprobe", monkeypatch, summary=True)
    profile = assert_equals_summary(recording)
    quality, modules = profile.quality, {row.key: row for row in profile.metrics.by_module}
    assert (quality.n_estimated, quality.unmarked, quality.n_marks_unread) == (0, {}, 0)
    opens = opens_of_work(recording)
    if way == "pool":
        # a worker that got none of the tasks imports nothing
        assert set(opens) == {"app.work"}
        assert opens["app.work"] in (N_OPENS, 2 * N_OPENS)
        assert profile.manifest.n_python_processes >= 3
    else:
        assert opens == Counter({"app.work": N_OPENS})
        assert profile.manifest.n_python_processes == 1
    assert modules["json.tool"].parent == "app.work"
    assert modules["app.work"].n_open_cum > modules["app.work"].n_open > N_OPENS
    version = profile.manifest.python.version
    assert name == "system" or version.startswith(name + ".")


@pytest.mark.parametrize("name", ["access", "time"])
def test_interpreters_that_can_not_tell_their_thread_mark_visibly(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    """3.6 and 3.7 have no get_native_id: they mark by calls whatever was asked for, later ones as they are told."""
    oldest = next(iter(PYTHONS))
    need(oldest in ("3.6", "3.7"), "no CPython 3.6 or 3.7 here")
    recording = make_recording([PYTHONS[oldest], "-m", "app"], tmp_path / "x.fsprobe", monkeypatch, f"--markers={name}")
    assert any(b'"fsprobe>app.work"' in line for line in recording.lines("log"))
    assert opens_of_work(recording) == Counter({"app.work": N_OPENS})


# ---- options of the interpreter, ways to start children ------------------------------------------------------------------

FEW = {name: PYTHONS[name] for name in list(PYTHONS)[:1] + list(PYTHONS)[-2:]}
"""The oldest, the newest and the system's own."""


@pytest.mark.parametrize("name", PYTHONS if ALL else FEW)
@pytest.mark.parametrize("option", ["-I", "-E", "-S", "-s", "-P"])
def test_options_of_the_interpreter(
    name: str, option: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_same: Callable[..., Done]
) -> None:
    python = PYTHONS[name]
    version = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=True
    )
    if option == "-P" and tuple(map(int, version.stdout.split())) < (3, 11):
        pytest.skip("-P is of 3.11")
    body = f"import sys; sys.path.insert(0, {str(place)!r}); import app.work; print(len(sys.modules))"
    command = [python, option, "-c", body]
    assert run_same(command).status == 0
    recording = make_recording(command, tmp_path / "summed.fsprobe", monkeypatch, summary=True)
    profile = assert_equals_summary(recording)
    if option in ("-s", "-P"):
        assert profile.quality.unmarked == {}
        assert opens_of_work(recording) == Counter({"app.work": N_OPENS})
    else:
        assert profile.quality.unmarked == {"options": 1}
        assert profile.quality.n_estimated > N_OPENS
        assert as_shown(profile, "app", "app.work") <= {row.key for row in profile.metrics.by_module}


@pytest.mark.parametrize("name", PYTHONS if ALL else FEW)
def test_zipapp(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_same: Callable[..., Done]
) -> None:
    inner = tmp_path / "inner"
    (inner / "deep").mkdir(parents=True)
    (inner / "deep" / "__init__.py").write_text("import json.tool\n")
    (inner / "__main__.py").write_text("import deep, sys\nprint(sys.argv[1:])\n")
    zipapp.create_archive(inner, tmp_path / "app.pyz")
    command = [PYTHONS[name], str(tmp_path / "app.pyz"), "1"]
    assert run_same(command).status == 0
    profile = assert_equals_summary(make_recording(command, tmp_path / "s.fsprobe", monkeypatch, summary=True))
    modules = {row.key: row for row in profile.metrics.by_module}
    assert modules["json.tool"].parent == "deep"


@pytest.mark.parametrize("name", PYTHONS if ALL else FEW)
def test_child_without_an_environment(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_same: Callable[..., Done]
) -> None:
    child = f"import sys; sys.path.insert(0, {str(place)!r}); import app.work"
    body = (
        f"import subprocess, sys\nchild = {child!r}\nsys.exit(subprocess.call([sys.executable, '-c', child], env={{}}))"
    )
    command = [PYTHONS[name], "-c", body]
    assert run_same(command).status == 0
    recording = make_recording(command, tmp_path / "s.fsprobe", monkeypatch, summary=True)
    profile = assert_equals_summary(recording)
    assert profile.quality.unmarked == {"environment": 1}
    assert profile.quality.n_estimated > N_OPENS
    modules = {row.key: row for row in profile.metrics.by_module}
    assert modules["subprocess"].n_imports == 1
    assert as_shown(profile, "app.work") <= set(modules)
    # what follows a module's own file belongs, as far as anybody can tell, to the next one that is loaded
    assert sum(opens_of_work(recording).values()) == N_OPENS
    processes = [row for row in profile.metrics.by_process if row.kind == "python"]
    assert len(processes) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("name", PYTHONS if ALL else list(FEW)[:2])
def test_multiprocessing(
    name: str, method: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_same: Callable[..., Done]
) -> None:
    body = (
        "import multiprocessing, sys\n"
        "def work():\n    import app.work\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context(sys.argv[1])\n"
        "    for _ in range(3):\n"
        "        one = context.Process(target=work)\n"
        "        one.start()\n"
        "        one.join()\n"
        "    print(one.exitcode)\n"
    )
    (place / "three.py").write_text(body)
    command = [PYTHONS[name], str(place / "three.py"), method]
    assert run_same(command, cwd=place).out == b"0\n"
    recording = make_recording(command, tmp_path / "s.fsprobe", monkeypatch, summary=True)
    profile = assert_equals_summary(recording)
    assert opens_of_work(recording) == Counter({"app.work": 3 * N_OPENS})
    modules = {row.key: row for row in profile.metrics.by_module}
    assert modules["app.work"].n_imports == 3
    assert profile.quality.unmarked == {}


def test_tree_of_subprocesses(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    (place / "tree.py").write_text(
        "import subprocess, sys\n"
        "depth = int(sys.argv[1])\n"
        "if depth:\n"
        "    two = [subprocess.Popen([sys.executable, __file__, str(depth - 1)]) for _ in range(2)]\n"
        "    subprocess.check_call(['/bin/sh', '-c', 'test -e /etc/passwd'])\n"
        "    assert [one.wait() for one in two] == [0, 0]\n"
        "else:\n    import app.work\n"
    )
    command = [sys.executable, str(place / "tree.py"), "2"]
    recording = make_recording(command, tmp_path / "s.fsprobe", monkeypatch, summary=True)
    profile = assert_equals_summary(recording)
    assert profile.manifest.n_python_processes == 7
    assert opens_of_work(recording) == Counter({"app.work": 4 * N_OPENS})
    kinds = Counter(row.kind for row in profile.metrics.by_process if row.label)
    assert kinds["python"] >= 7
    assert sum(row.label == "sh" or row.label.startswith("sh ") for row in profile.metrics.by_process) == 3


# ---- programs that are no Python -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["/bin/true"],
        ["/bin/sh", "-c", "for i in 1 2 3; do test -e /nowhere/$i; done; cat /etc/hostname; exit 4"],
        ["/usr/bin/find", "/etc", "-maxdepth", "1", "-name", "host*"],
    ],
)
def test_other_programs_give_a_report_without_imports(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_same: Callable[..., Done]
) -> None:
    from fsprobe.report import markdown
    from fsprobe.report.html import page
    from fsprobe.report.terminal import run

    run_same(command)
    profile = assert_equals_summary(make_recording(command, tmp_path / "s.fsprobe", monkeypatch, summary=True))
    assert profile.metrics.by_module is None
    assert profile.manifest.python is None
    assert (profile.quality.n_estimated, profile.quality.unmarked) == (0, {})
    assert {row.key for row in profile.metrics.by_phase} <= {"launch"}
    for render in (run.render, page.render, markdown.render):
        assert len(render(profile, recording="s.fsprobe")) > 200


def test_environment_of_the_tests_is_clean() -> None:
    assert not [name for name in clean_environment() if name.startswith("PYTHON")]
