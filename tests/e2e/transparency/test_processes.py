"""A program under fsprobe does what it does alone: its processes, threads and descriptors, and what it inherits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.report import caveats
from tests.conftest import Done, Fsprobe, clean_environment, need
from tests.e2e.transparency.test_output import STATE, Same, assert_complete

PROCESSES = {
    "threads": "import threading, importlib\n"
    "names = ['json', 'sqlite3', 'xml.dom.minidom', 'decimal', 'email.mime.text', 'csv']\n"
    "ts = [threading.Thread(target=importlib.import_module, args=(n,)) for n in names]\n"
    "[t.start() for t in ts]; [t.join() for t in ts]\nimport sys; print([n in sys.modules for n in names])\n",
    "fork in import": "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"
    "import forks\nprint(forks.status)\n",
    "_exit": "import json, os\nos.write(1, b'x')\nos._exit(5)\n",
    "_exit in import": "import exits\n",
    "subprocess": "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'import json; print(json)']))\n",
    "empty environment": "import subprocess, sys\nprogram = 'import os; print(os.environ)'\n"
    "print(subprocess.check_output([sys.executable, '-c', program], env={}))\n",
    "descriptors": "import os\nos.closerange(3, 256)\nf = open('data', 'w')\n"
    "import json, sqlite3, decimal\nf.write('mine')\nf.close()\n"
    "print(open('data').read(), os.listdir('/proc/self/fd'))\n",
    "listing": "import json, os\nprint(sorted(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task')))\nimport sqlite3\n"
    "print(sorted(os.listdir('/proc/self/fd')))\n",
    "chdir": "import os\nos.chdir('/')\nimport json\nprint(json.__name__, os.getcwd())\n",
    "no stdin": "import os, sys\nos.close(0)\nimport json\nprint(open('/dev/null').fileno())\n",
    "interpreters": "import code, codeop\nexec('import decimal')\nprint(decimal.Decimal(1))\n",
    "reload": "import importlib, json\nprint(importlib.reload(json).__name__)\n",
    "namespace": "import os\nos.makedirs('space/inner', exist_ok=True)\nimport space.inner\n"
    "print(type(space.__path__).__name__)\n",
    "lazy": "import importlib.util, sys\nspec = importlib.util.find_spec('csv')\n"
    "spec.loader = importlib.util.LazyLoader(spec.loader)\n"
    "m = importlib.util.module_from_spec(spec)\nsys.modules['csv'] = m\nspec.loader.exec_module(m)\nprint(m.QUOTE_ALL)\n",
    "tracemalloc": "import tracemalloc\ntracemalloc.start()\nimport json\nprint(json.dumps(1))\n",
    "audit": "import sys\nsys.addaudithook(lambda name, args: print(args[0]) if name == 'import' else None)\n"
    "import json, decimal\n",
}


@pytest.mark.parametrize("kind", list(PROCESSES))
def test_processes_threads_and_descriptors(run_same: Same, tmp_path: Path, kind: str) -> None:
    (tmp_path / "forks.py").write_text(
        "import os\npid = os.fork()\nif not pid:\n    import csv\n    os._exit(len(csv.__name__))\n"
        "status = os.waitpid(pid, 0)[1]\nimport json\n"
    )
    (tmp_path / "exits.py").write_text("import json, os\nos._exit(6)\n")
    (tmp_path / "main.py").write_text(PROCESSES[kind])
    run_same([sys.executable, "main.py"], cwd=tmp_path)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(run_same: Same, tmp_path: Path, method: str) -> None:
    (tmp_path / "main.py").write_text(
        "import multiprocessing as mp, sys\n"
        "def work(x):\n    import decimal\n"
        "    return str(decimal.Decimal(x) / 3), 'sitecustomize' in sys.modules, len(sys.path)\n"
        "if __name__ == '__main__':\n"
        f"    with mp.get_context({method!r}).Pool(2) as pool:\n        print(pool.map(work, range(4)))\n"
    )
    run_same([sys.executable, "main.py"], cwd=tmp_path)


@pytest.mark.needs_root
@pytest.mark.parametrize(
    "leave",
    [
        "os.chroot('jail'); os.chdir('/')",
        "os.setgid(65534); os.setuid(65534)",
        "import ctypes; ctypes.CDLL(None).unshare(0x20000)",
    ],
)
def test_program_that_leaves_where_the_hook_writes(run_same: Same, tmp_path: Path, leave: str) -> None:
    need(os.geteuid() == 0, "needs root")
    (tmp_path / "jail").mkdir()
    program = (
        f"import os, sys, math\n{leave}\n"
        "try:\n    import html.entities\nexcept ImportError as error:\n    print(error)\n"
        "print(sorted(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self') else 'jail')\n"
    )
    run_same([sys.executable, "-c", program], cwd=tmp_path)


SETUID = """import os, subprocess, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
program = "import sys; import this_is_none" if sys.argv[1:] else "import sys, json, csv; print(sys.path, sorted(sys.modules))"
done = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, text=True)
print(done.returncode, done.stdout, done.stderr)
"""


@pytest.mark.needs_root
@pytest.mark.parametrize("backend", ["strace", "ptrace", "audit", "inline"])
def test_a_python_started_as_another_user(run_same: Same, tmp_path: Path, backend: str) -> None:
    """What root's program starts after setuid can't write where root's run does: a tracer sees it mark its imports by calls."""
    need(os.geteuid() == 0, "needs root")
    need(os.access("/usr/bin/python3", os.X_OK), "no interpreter that every user can start")
    (tmp_path / "main.py").write_text(SETUID)
    tmp_path.chmod(0o755)
    options = ("-q", "--backend", backend, "--tmp-dir=/dev/shm")
    run_same(["/usr/bin/python3", "main.py", "fails"], cwd=tmp_path, options=options)
    done = run_same(["/usr/bin/python3", "main.py"], cwd=tmp_path, options=options)
    profile = pipeline.analyse(done.recording)
    if backend in ("strace", "ptrace"):
        assert profile.quality.unmarked == {}
        assert profile.metrics.processes["python"] == 2
        # by the child alone: the parent imports neither
        assert {row.key for row in profile.metrics.by_module or ()} >= {"json", "csv"}
    elif backend == "inline":
        assert sum(profile.quality.unseen.values()) == 1
    else:
        assert any("as another user" in line for line in caveats.quality_lines(profile))


def test_pid_and_mount_namespaces(run_same: Same) -> None:
    need(os.geteuid() == 0, "needs root")
    program = "import os, json; print(os.getpid(), json.__name__)"
    run_same(["unshare", "-pfm", "--mount-proc", sys.executable, "-c", program])


def test_stdout_is_a_pipe_that_nobody_reads(run_fsprobe: Fsprobe) -> None:
    program = "import sys\nfor k in range(100000):\n    print(k)\n"

    def ending(command: list[str]) -> tuple[int, bytes]:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        err = child.stderr.read()
        child.stderr.close()
        return child.wait(), err

    command = [sys.executable, "-c", program]
    assert ending(run_fsprobe.command(command)) == ending(command)
    shell = ["/bin/sh", "-c", "while :; do echo y || exit 3; done"]
    assert ending(run_fsprobe.command(shell)) == ending(shell)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2), (1, 2)])
def test_closed_standard_descriptors(run_same: Same, tmp_path: Path, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for fd in closed:
            os.close(fd)

    program = "import os, json\nwith open('seen', 'w') as f:\n    print(sorted(os.listdir('/proc/self/fd')), file=f)\n"
    (tmp_path / "main.py").write_text(program)
    seen = tmp_path / "seen"
    command = [sys.executable, "main.py"]
    subprocess.run(command, preexec_fn=close, cwd=tmp_path, env=clean_environment(), check=True)
    alone = seen.read_text()
    seen.unlink()
    run_same(command, cwd=tmp_path, before=close)
    assert seen.read_text() == alone


def inherited(what: str) -> Callable[[], None]:
    def before() -> None:
        if what == "nohup":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        elif what == "background":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        elif what == "ignored children":
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        elif what == "blocked":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD])
        elif what == "umask":
            os.umask(0o077)
        elif what == "nice":
            os.nice(3)
        elif what == "limits":
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (1000, 2000))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 31))
        elif what == "session":
            os.setsid()
        elif what == "descriptors":
            os.dup2(1, 7, inheritable=True)
            os.dup2(0, 200, inheritable=True)

    return before


@pytest.mark.parametrize(
    "what", ["nohup", "background", "ignored children", "blocked", "umask", "nice", "limits", "descriptors"]
)
def test_what_a_program_inherits(run_fsprobe: Fsprobe, what: str) -> None:
    command = [sys.executable, "-c", STATE]

    def state(words: list[str]) -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=inherited(what),
            close_fds=False,
            env=clean_environment(),
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    status, out, err = state(run_fsprobe.command(command))
    assert (status, out, err) == state(command)
    assert_complete(Done(status=status, out=out, err=err))


def test_limit_of_file_size_ends_only_the_program(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    """The tracer's log may be longer than what the program may write: it must not die of that."""
    program = (
        "import os\n"
        "for k in range(4000):\n    os.path.exists('/nowhere/%d' % k)\n"
        "try:\n    open('big', 'wb').write(b'x' * (1 << 20))\nexcept OSError as error:\n    print(error)\n"
        "print(os.path.exists('/'))\n"
    )

    def before() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    done = run_fsprobe([sys.executable, "-c", program], before=before, cwd=tmp_path)
    assert done.out.splitlines()[-1] == b"True"
    assert b"File too large" in done.out


@pytest.mark.parametrize("backend", ["strace", "ptrace"])
def test_what_is_left_behind_fills_no_memory_with_marks(tmp_path: Path, backend: str) -> None:
    """A daemon goes on starting Python, and one that was there goes on importing: nothing of it is kept any more."""
    start = f"for i in 1 2 3 4 5; do {sys.executable} -c 'import csv, decimal, json'; done"
    going = "import time\nfor name in ('csv', 'json', 'decimal', 'email.message', 'xml.dom.minidom'):\n    time.sleep(0.3); __import__(name)"
    left = f'({start}; touch {tmp_path}/end1) & ({sys.executable} -c "{going}"; touch {tmp_path}/end2)'
    (tmp_path / "left.sh").write_text(left)
    run = Fsprobe(tmp_path)
    command = ["/bin/sh", "-c", f"setsid sh {tmp_path}/left.sh >/dev/null 2>&1 & sleep 0.3"]
    words = run.command(command, ("-q", "--backend", backend, "--wait-descendants", "0.2"))
    # not into a pipe: the tracer that stays holds its end
    assert subprocess.call(words, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    end = time.monotonic() + 60
    seen = 0
    while not ((tmp_path / "end1").exists() and (tmp_path / "end2").exists()):
        assert time.monotonic() < end
        seen += len(list(run.scratch.glob("fsprobe-*/log")))
        assert list(run.scratch.glob("fsprobe-*/marks*")) == []
        time.sleep(0.05)
    assert seen
