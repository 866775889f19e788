"""Our tracer writes the lines that strace writes: compared call for call on deterministic programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from fsprobe.capture.backends.ptrace import entry
from fsprobe.capture.backends.ptrace.calls import SYSCALLS
from tests.capture.backends.ptrace_lines import calls_by_tid, monotonic_ns, per_thread

STRACE_LINE = (
    "strace -f -q --seccomp-bpf -ttt --relative-timestamps=ns -T -y -s 256 -e "
    "trace=%file,getdents64,?getdents,fchdir,?clone,?clone3,?fork,?vfork,exit_group"
).split()
PYTHONS = sorted(
    (path for path in Path.home().glob(".pyenv/versions/3.*/bin/python") if os.access(path, os.X_OK)),
    key=lambda path: [int(part) for part in path.parts[-3].split(".")],
)

if shutil.which("strace") is None:
    if os.environ.get("CI") == "true":
        pytest.fail("CI needs strace", pytrace=False)
    pytest.skip("strace is not installed: nothing to compare with", allow_module_level=True)
if entry.why_not() is not None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs ptrace: {entry.why_not()}", pytrace=False)
    pytest.skip(str(entry.why_not()), allow_module_level=True)


def run_both(
    tmp_path: Path, argv: list[str], *, tracer_python: str | None = None, more: tuple[str, ...] = ()
) -> tuple[bytes, bytes]:
    """Run a command under strace and under our tracer, in two equal directories of the same name; returns both logs."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    logs, codes = [], []
    work, kept = tmp_path / "work", tmp_path.parent / (tmp_path.name + ".logs")
    kept.mkdir()
    for name in ("theirs", "ours"):
        log = kept / name
        if work.exists():
            shutil.rmtree(work)
        work.mkdir()
        if name == "theirs":
            line = [*STRACE_LINE, *more, "-o", str(log), *argv]
        else:
            line = entry.command(str(log), argv, tracer_python)
        done = subprocess.run(line, cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
        assert b"ptrace:" not in done.stderr, done.stderr
        codes.append((done.returncode, done.stdout))
        logs.append(log.read_bytes())
    assert codes[0] == codes[1]
    return logs[0], logs[1]


def assert_equal(theirs: bytes, ours: bytes) -> None:
    # strace takes the first call after a thread's execve for the result of that execve, and loses it
    n_lost = theirs.count(b"-1 (errno 18446744073709551")
    expected, actual = per_thread(theirs), per_thread(ours, n_lost=n_lost)
    assert sum(map(len, expected)) > 5
    if expected != actual:
        missing = Counter(call for calls in expected for call in calls)
        extra = Counter(call for calls in actual for call in calls)
        missing, extra = missing - extra, extra - missing
        shown = [f"- {call}" for call in list(missing)[:20]] + [f"+ {call}" for call in list(extra)[:20]]
        pytest.fail("\n".join(shown) or "the same calls in another order", pytrace=False)


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


TORTURE = r"""
    import ctypes, os, signal, stat, struct, subprocess, sys, threading
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.getcwd()

    def attempt(function, *args, **kwargs):
        try:
            return function(*args, **kwargs)
        except OSError:
            return None

    # names that need escaping, as paths and inside annotations
    names = [b'a<b>"\\\n\t\v\f\r', b"\x01\x02" + b"7"]
    names += [b"caf\xc3\xa9 \xff", b"unfinished ...>", b" = 3<x>", b"(deleted)", b"x (deleted)"]
    for name in names:
        os.mkdir(name)
        fd = os.open(name, os.O_RDONLY)
        os.listdir(fd)
        attempt(os.stat, b"no" + name, dir_fd=fd)
        os.close(fd)
        os.chdir(name)
        attempt(os.stat, b"nothing")
        os.chdir(here)
    # deleted files and working directories
    os.mkdir("gone")
    os.chdir("gone")
    os.stat(".")
    os.rmdir("../gone")
    attempt(os.stat, "x")
    os.chdir(here)
    os.mkdir("old")
    os.chdir("old")
    attempt(os.stat, "a")
    os.rename(here + "/old", here + "/new")
    attempt(os.stat, "a")
    os.fchdir(os.open("..", os.O_RDONLY))
    fd = os.open("dead", os.O_RDWR | os.O_CREAT, 0o640)
    os.unlink("dead")
    os.stat("/proc/self/fd/%d" % fd)
    libc.syscall(262, fd, b"", ctypes.create_string_buffer(200), 0x1000)
    # every class of call, succeeding and failing
    os.close(os.open("f", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_EXCL, 0o600))
    for flags in (os.O_RDWR | os.O_SYNC, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME, os.O_PATH, os.O_WRONLY | os.O_DSYNC, 3):
        attempt(os.open, "f", flags)
    attempt(os.open, ".", os.O_TMPFILE | os.O_RDWR, 0o600)
    for mode in (os.F_OK, os.R_OK, os.W_OK | os.X_OK, 64):
        os.access("f", mode)
        os.access("no", mode, effective_ids=True)
        libc.syscall(269, -100, b"f", mode)
        libc.syscall(439, -100, b"f", mode, 0x300)
    attempt(os.access, "posix>x", 0, dir_fd=-1)
    os.chmod("f", 0o4755); os.stat("f"); os.chmod("f", 0); os.stat("f"); os.chmod("f", 0o644)
    os.stat("/dev/null"); os.stat("/tmp"); os.stat("/proc/self/exe")
    os.symlink("f", "l"); os.symlink("y" * 300, "long"); os.readlink("l"); os.readlink("long"); os.lstat("l")
    attempt(os.readlink, "f"); attempt(os.symlink, "f", "l")
    os.readlink("l", dir_fd=os.open(".", os.O_RDONLY))
    os.link("f", "h"); attempt(os.link, "f", "h"); os.link("l", "h2", follow_symlinks=False)
    os.unlink("h"); attempt(os.unlink, "h"); attempt(os.rmdir, "f"); attempt(os.unlink, here)
    os.utime("f", (1, 2)); os.utime("f", ns=(1, 2)); os.utime("f"); os.utime("l", follow_symlinks=False)
    os.truncate("f", 100); attempt(os.truncate, "no", 1)
    os.chown("f", -1, -1); os.lchown("l", -1, -1); attempt(os.chown, "no", 1, 2)
    os.mkfifo("fifo"); attempt(os.mknod, "dev", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    attempt(os.setxattr, "f", "user.a", b"v" * 300, os.XATTR_CREATE)
    attempt(os.getxattr, "f", "user.a"); attempt(os.getxattr, "f", "user.no")
    attempt(os.listxattr, "f"); attempt(os.removexattr, "f", "user.a")
    attempt(os.rename, "no", "no2"); os.replace("f", "f2")
    libc.syscall(316, -100, b"f2", -100, b"f3", 1)
    libc.syscall(332, -100, b"f3", 0x100, 0xFFF, ctypes.create_string_buffer(256))
    libc.syscall(332, -100, b"no", 0x6000, 0x7FF, ctypes.create_string_buffer(256))
    how = struct.pack("3Q", os.O_RDONLY | os.O_CLOEXEC, 0, 8)
    libc.syscall(437, -100, b"f3", how, 24)
    libc.syscall(437, -100, b"no", how, 8)
    libc.syscall(85, b"made", 0o600)
    libc.syscall(303, -100, b"f3", None, None, 0)
    # what can't be read is printed as the pointer; names longer than a path may be
    for number in (2, 4, 21, 80, 87, 89):
        libc.syscall(number, ctypes.c_void_p(16), 0, 0)
        libc.syscall(number, None, 0, 0)
    libc.syscall(2, b"z" * 5000, 0)
    libc.syscall(2, b"z" * 4095, 0)
    libc.syscall(2, b"z" * 4096, 0)
    libc.syscall(59, ctypes.c_void_p(16), ctypes.c_void_p(16), ctypes.c_void_p(16))
    libc.syscall(59, b"no", None, None)
    libc.syscall(262, 999, b"x", None, 0x55)
    libc.syscall(4, b"f3", ctypes.c_void_p(8))
    libc.syscall(217, 3, ctypes.create_string_buffer(8), 8)
    libc.syscall(254, 77, b"f3", 0x84)
    # threads, children, signals
    for _ in range(3):
        thread = threading.Thread(target=lambda: attempt(os.stat, "in thread"))
        thread.start()
        thread.join()
    for code in (0, 3):
        child = os.fork()
        if child == 0:
            os.chdir("/")
            attempt(os.stat, "usr")
            os._exit(code)
        os.waitpid(child, 0)
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT):
        child = os.fork()
        if child == 0:
            import resource
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        os.waitpid(child, 0)
    subprocess.call(["/bin/sh", "-c", "cd /; /bin/true 'a\tb'; exit 4"], env={"A": "1"})
    subprocess.call(["/bin/true"] + ["w%d" % i for i in range(300)], env={})
    attempt(subprocess.call, ["no-such-program"], env={"PATH": "/nowhere:/usr/nowhere"})
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append(attempt(os.stat, "in handler")))
    signal.signal(34, lambda *_: got.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), 34)
    assert len(got) == 2
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(9)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    os.kill(child, signal.SIGCONT)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 9
    # a thread that replaces the whole process
    def replace():
        os.execv("/bin/sh", ["sh", "-c", "cd /tmp; exit 7"])
    threading.Thread(target=replace).start()
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    "argv",
    [
        ["-S", "-c", "pass"],
        ["-c", "import json, asyncio, multiprocessing, xml.dom.minidom, sqlite3, email.mime.text, ssl, decimal"],
    ],
    ids=["bare", "imports"],
)
def test_interpreter_and_imports(tmp_path: Path, argv: list[str]) -> None:
    theirs, ours = run_both(tmp_path, [sys.executable, *argv])
    assert_equal(theirs, ours)
    # one process: even the order and number of lines is the same
    assert len(theirs.splitlines()) == len(ours.splitlines())


def test_torture(tmp_path: Path) -> None:
    theirs, ours = run_both(tmp_path, [sys.executable, "-S", program(tmp_path, TORTURE)])
    assert_equal(theirs, ours)
    assert b"+++ superseded by execve in pid" in ours
    for line in (b"--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER", b"--- SIGRT_2 {", b"--- stopped by SIGSTOP ---"):
        assert theirs.count(line) == ours.count(line) > 0


def test_spawn_pool(tmp_path: Path) -> None:
    path = program(
        tmp_path,
        """
        import multiprocessing, os

        def work(n):
            os.stat("/usr")
            return n

        if __name__ == "__main__":
            pool = multiprocessing.get_context("spawn").Pool(4)
            print(sorted(pool.map(work, range(40), chunksize=1)))
            pool.close()
            pool.join()
        """,
    )
    theirs, ours = run_both(tmp_path, [sys.executable, path])

    def roles(log: bytes) -> list[list[str]]:
        # Which worker takes how many tasks is chance, and so are the names of semaphores and when locks are taken.
        blank = [[re.sub(r"/sem\.[\w-]+", "/sem.X", call) for call in calls] for calls in per_thread(log)]
        kept = [[call for call in calls if '"/usr"' not in call] for calls in blank]
        return sorted(sorted(calls) for calls in kept)

    assert roles(theirs) == roles(ours)
    # the program and its helper threads, the resource tracker, four workers
    assert sum(len(calls) > 200 for calls in roles(ours)) == 6


def test_arguments_that_cannot_be_read(tmp_path: Path) -> None:
    """Every traced call by its number, with pointers to nowhere: the same names, arguments and errors."""
    left_out = {"execve", "execveat", "exit_group", "fork", "vfork", "clone", "clone3", "setns", "ptrace"}
    later = {"fchmodat2", "setxattrat", "getxattrat", "listxattrat", "removexattrat"}  # than strace 6.1
    numbers = [number for number, call in SYSCALLS.items() if call.name not in left_out | later]
    path = program(
        tmp_path,
        f"""
        import ctypes
        libc = ctypes.CDLL(None)
        for number in {numbers}:
            libc.syscall(number, *[ctypes.c_void_p(16)] * 6)
            libc.syscall(number, *[ctypes.c_void_p(-2 & 2**64 - 1)] * 6)
            libc.syscall(number, *[ctypes.c_void_p(0)] * 2, *[ctypes.c_void_p(77)] * 4)
        """,
    )
    theirs, ours = run_both(tmp_path, [sys.executable, "-S", path])
    brief = {"fanotify_mark", "name_to_handle_at", "mount_setattr", "open_tree", "move_mount", "fsconfig", "fspick"}
    brief |= {"quotactl", "swapon", "utime", "mount", "openat2", "futimesat", "utimes", "utimensat"}

    def shown(log: bytes) -> list[str]:
        (calls,) = per_thread(log)
        names = [call.split("(")[0] for call in calls]
        return [
            f"{name} {call.rpartition(' = ')[2]}" if name in brief else call
            for name, call in zip(names, calls, strict=True)
        ]

    expected, actual = shown(theirs), shown(ours)
    assert len(expected) > 3 * len(numbers)
    differing = [f"- {one}\n+ {other}" for one, other in zip(expected, actual, strict=True) if one != other]
    assert not differing, "\n".join(differing[:20])


def test_counts_are_those_of_straces_own_summary(tmp_path: Path) -> None:
    theirs, ours = run_both(tmp_path, [sys.executable, "-S", program(tmp_path, TORTURE)], more=("-C",))
    summary = theirs[theirs.index(b"% time") :].decode().splitlines()[2:-2]
    counted = {row.split()[-1]: (int(row.split()[3]), row.split()[4:-1]) for row in summary}
    mine: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    blocked: Counter[str] = Counter()
    n_lost = theirs.count(b"-1 (errno 18446744073709551")
    for calls in calls_by_tid(ours, n_lost=n_lost).values():
        for call in calls:
            if call.startswith(b"+++"):
                continue
            name = call.split(b"(")[0].decode()
            if call.endswith(b" = ?"):
                blocked[name] += 1
                continue
            mine[name] += 1
            errors[name] += b") = -1 " in call
    assert blocked.keys() <= {"exit_group"}
    assert {name: calls for name, (calls, _) in counted.items()} == dict(mine)
    theirs_failed = {name: int(failed[0]) for name, (_, failed) in counted.items() if failed}
    theirs_failed["execve"] -= n_lost
    assert theirs_failed == {name: n for name, n in errors.items() if n}


def test_stamps_add_up(tmp_path: Path) -> None:
    before_ns = time.monotonic_ns()
    _, ours = run_both(tmp_path, [sys.executable, "-S", program(tmp_path, TORTURE)])
    sums = monotonic_ns(ours)
    assert len(sums) == ours.count(b"\n")
    assert sums[0] == 0
    assert sums == sorted(sums)
    assert 0 < sums[-1] < time.monotonic_ns() - before_ns


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parts[-3])
def test_every_python_as_the_target(tmp_path: Path, python: Path) -> None:
    theirs, ours = run_both(tmp_path, [str(python), "-c", "import json, subprocess; subprocess.call(['/bin/true'])"])
    assert_equal(theirs, ours)


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.13"])
def test_every_python_as_the_tracer(tmp_path: Path, version: str) -> None:
    python = next((path for path in PYTHONS if path.parts[-3].startswith(version + ".")), None)
    if python is None:
        pytest.skip(f"no CPython {version} under ~/.pyenv")
    theirs, ours = run_both(tmp_path, [sys.executable, "-S", program(tmp_path, TORTURE)], tracer_python=str(python))
    assert_equal(theirs, ours)
