"""An exception that arrives while the hook runs in the target's thread is the target's, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe.capture import injection
from fsprobe.capture.backends.audit.backend import Audit
from fsprobe.capture.directories import hook_place
from tests.capture.test_hook import pairs, written
from tests.conftest import clean_environment

N_MODULES = 12

MODES = pytest.mark.parametrize("mode", ["time", "access", "audit"])


class Hooked:
    """An interpreter with the hook, and modules to import."""

    def __init__(self, tmp_path: Path, mode: str) -> None:
        self.marks = tmp_path / "marks"
        self.marks.mkdir(0o700)
        self.modules = tmp_path / "modules"
        self.modules.mkdir()
        for number in range(N_MODULES):
            (self.modules / f"mod{number}.py").write_text("")
        self.environment = clean_environment()
        code = Audit().hook_code() if mode == "audit" else ""
        mode = "inside" if mode == "audit" else mode
        self.hook, why_not = injection.install(str(tmp_path), mode, self.environment, code)
        assert not why_not

    def run(self, program: str, *words: str) -> str:
        """Run a program in the place of the modules; gives its stdout."""
        command = [sys.executable, "-c", program, *words]
        done = subprocess.run(
            command, capture_output=True, env=self.environment, cwd=self.modules, text=True, check=False, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def tmp(tmp_path: Path) -> Iterator[Path]:
    """A scratch directory whose hook is taken away."""
    yield tmp_path
    for place in HOOKS:
        hook_place.remove(place, str(tmp_path))
    HOOKS.clear()


HOOKS: list[str] = []


def hooked(tmp: Path, mode: str) -> Hooked:
    one = Hooked(tmp, mode)
    HOOKS.append(one.hook)
    return one


# what the interpreter itself ignores (in the callback of importlib's weak references) is lost without fsprobe too
COMMON = f"""
import gc, os, random, signal, sys, time
ignored = 0
def unraisable(_):
    global ignored
    ignored += 1
sys.unraisablehook = unraisable
sys.path.insert(0, os.getcwd())
names = ["mod%d" % i for i in range({N_MODULES})]
def turn():
    for name in names:
        sys.modules.pop(name, None)
        __import__(name)
        os.stat("/")
def n_open():
    return len(os.listdir("/proc/self/fd"))
turn(); before = n_open()
"""

ALARMS = (
    COMMON
    + """
kind = eval(sys.argv[1], {"Own": type("Own", (Exception,), {}), "Base": type("Base", (BaseException,), {})}, vars(__builtins__))
fired = arrived = 0
def handler(number, frame):
    global fired
    fired += 1
    raise kind(*sys.argv[2:])
signal.signal(signal.SIGALRM, handler)
chance = random.Random(7)
n = 150
for _ in range(n):
    was = fired
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0003, 0.003))
        end = time.monotonic() + 30
        while fired == was and time.monotonic() < end:
            turn()
    except kind:
        arrived += 1
signal.setitimer(signal.ITIMER_REAL, 0)
turn()
print(fired - arrived - ignored, n - fired, n_open() - before)
"""
)


@MODES
@pytest.mark.parametrize("kind", ["Own", "Base", "RecursionError"])
def test_what_a_signal_handler_raises_arrives(tmp: Path, mode: str, kind: str) -> None:
    """Also where it is of a kind that calls of the hook's own can raise; and no descriptor stays open."""
    assert hooked(tmp, mode).run(ALARMS, kind, "too late") == "0 0 0\n"


@pytest.mark.parametrize("kind", ["TimeoutError", "OSError"])
def test_what_looks_like_a_failed_call_of_ours_arrives(tmp: Path, kind: str) -> None:
    """importlib itself swallows an OSError at any moment; calls outside of an import do not."""
    program = ALARMS.replace('os.stat("/")', 'os.stat("/"); os.listdir("."); os.access("x", 0)').replace(
        "__import__(name)", "pass"
    )
    assert hooked(tmp, "audit").run(program, kind, "too late") == "0 0 0\n"


@MODES
def test_an_interrupt_arrives(tmp: Path, mode: str) -> None:
    """The handler of SIGINT is no function of Python: its exception comes without a frame of its own."""
    program = COMMON + (
        "arrived = 0\nchance = random.Random(3)\npid = os.getpid()\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "for _ in range(150):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0003, 0.003))\n"
        "        end = time.monotonic() + 1\n"
        "        while time.monotonic() < end: turn()\n"
        "    except KeyboardInterrupt: arrived += 1\n"
        "print(150 - arrived - ignored, n_open() - before)\n"
    )
    lost, n_more = map(int, hooked(tmp, mode).run(program).split())
    # one that the interpreter ignored leaves its turn to time out
    assert (lost, n_more) == (0, 0)


@MODES
@pytest.mark.parametrize("kind", ["type('Stop', (Exception,), {})", "SystemExit"])
def test_what_another_thread_raises_arrives(tmp: Path, mode: str, kind: str) -> None:
    program = COMMON + (
        "import ctypes, threading\n"
        f"Stop = {kind}\nn_arrived = n_turns = 0\n"
        "def work(flag):\n"
        "    global n_arrived, n_turns\n"
        "    try:\n"
        "        while not flag.is_set():\n            n_turns += 1\n            turn()\n"
        "    except Stop: n_arrived += 1\n"
        "n_lost = 0\n"
        "for _ in range(60):\n"
        "    was = n_turns; flag = threading.Event(); thread = threading.Thread(target=work, args=(flag,)); thread.start()\n"
        "    while n_turns == was: time.sleep(0.0005)\n"
        "    time.sleep(0.003); then = n_turns\n"
        "    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stop))\n"
        # it comes in the next turn at the latest, whenever that has its turn on the processor
        "    n_waits, last = 0, then\n"
        "    while thread.is_alive() and n_turns < then + 3 and n_waits < 3000:\n"
        "        time.sleep(0.0005); n_waits, last = n_waits + 1 if n_turns == last else 0, n_turns\n"
        # without fsprobe too: the one before came when importlib had taken a lock and was not yet in its `try`
        "    frame = sys._current_frames().get(thread.ident)\n"
        "    if n_waits == 3000 and frame and 'importlib' in frame.f_code.co_filename: break\n"
        "    if thread.is_alive(): n_lost += 1; flag.set(); thread.join()\n"
        "print(n_lost - ignored, n_open() - before, flush=True)\nos._exit(0)\n"
    )
    assert hooked(tmp, mode).run(program) == "0 0\n"


@MODES
def test_a_guard_that_refuses_to_open_refuses_the_target_alone(tmp: Path, mode: str) -> None:
    """An audit hook of the target sees opens of the hook too; that it refuses them must not fail an import."""
    program = (
        "import os, sys\nsys.path.insert(0, os.getcwd())\nimport mod0\n"
        "class Refused(Exception): pass\n"
        "def guard(event, args):\n"
        "    if event == 'open' and 'marks' in str(args[0]): raise Refused(args[0])\n"
        "sys.addaudithook(guard)\n"
        "import mod1, mod2, csv\n"
        "try:\n    os.open('/no/marks', 0)\nexcept Refused: print('refused')\n"
    )
    assert hooked(tmp, mode).run(program) == "refused\n"


def test_an_exception_in_mid_mark_costs_no_other_mark(tmp: Path) -> None:
    """None comes twice, none is torn, and the imports that come after it are all there."""
    one = hooked(tmp, "time")
    few = ALARMS.replace("n = 150", "n = 10")  # what has room, without anybody who makes more
    assert one.run(few + "turn()\n", "Own") == "0 0 0\n"
    (text,) = written(one.marks).values()
    lines = [line for line in text.splitlines() if not line.startswith("=")]
    assert len(lines) == len(set(lines))
    rows = [(kind, name) for kind, name, _ in pairs(text)]
    names = [name for kind, name in rows[-2 * N_MODULES :] if kind == "<"]
    assert names == [f"mod{number}" for number in range(N_MODULES)]
    assert os.listdir(one.marks)


WATCHED = """
import sys
sys.path.insert(0, sys.argv[2])
seen = []
def watch(frame, event, argument):
    seen.append((event, frame.f_code.co_name, frame.f_lineno, getattr(argument, "__name__", "") if event[:2] == "c_" else ""))
    return watch
turn = getattr(sys, sys.argv[1])
import mod0
turn(watch)
import mod1, mod2
try:
    import no_such_module
except ImportError:
    pass
turn(None)
import mod3
print(*seen, sep="\\n")
"""


@pytest.mark.parametrize("mode", ["time", "access"])
@pytest.mark.parametrize("kind", ["setprofile", "settrace"])
def test_a_program_that_watches_its_own_calls_sees_none_of_ours(tmp: Path, mode: str, kind: str) -> None:
    one = hooked(tmp, mode)
    (tmp / "main.py").write_text(WATCHED)
    words = [sys.executable, str(tmp / "main.py"), kind, str(one.modules)]
    environment = {name: value for name, value in one.environment.items() if name != "PYTHONPATH"}
    for _ in range(2):  # the byte code of all is there the second time
        alone = subprocess.run(words, env=environment, capture_output=True, check=True)
    done = subprocess.run(words, env=one.environment, capture_output=True, check=True)
    assert len(alone.stdout) > 1000
    assert (done.stdout, done.stderr) == (alone.stdout, alone.stderr)
    if mode == "time":
        lost, text = sorted(written(one.marks).values(), key=len)
        names = {name for _, name, _ in pairs(text)}
        assert names & {"mod0", "mod1", "mod2", "mod3"} == {"mod0", "mod3"}
        assert lost == "-3 watched\n", "what was not noted is counted"
