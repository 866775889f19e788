"""Our tracer leaves its target as it is: exit codes, signals, stops, descriptors, environment; and its own failures."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsprobe.capture.backends.ptrace import entry, tracer
from tests.capture.backends.ptrace_lines import calls_by_tid, monotonic_ns
from tests.conftest import ROOT

if entry.why_not() is not None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs ptrace: {entry.why_not()}", pytrace=False)
    pytest.skip(str(entry.why_not()), allow_module_level=True)

WAIT_S = 20


def run(log: Path, *argv: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(entry.command(str(log), list(argv)), capture_output=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def python(text: str) -> tuple[str, str, str, str]:
    return sys.executable, "-S", "-c", text


def wait_until(true: object) -> None:
    end = time.monotonic() + WAIT_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


@pytest.mark.parametrize("code", [0, 7, 126, 255])
def test_exit_code_passes_through(tmp_path: Path, code: int) -> None:
    done = run(tmp_path / "log", "/bin/sh", "-c", f"echo out; echo err >&2; exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, b"out\n", b"err\n")
    assert (tmp_path / "log").read_bytes().endswith(b"+++ exited with %d +++\n" % code)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT, signal.SIGTRAP])
def test_signal_passes_through_without_a_core_of_ours(tmp_path: Path, number: signal.Signals) -> None:
    done = run(
        tmp_path / "log",
        *python(
            f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), {int(number)})"
        ),
        cwd=tmp_path,
    )
    assert done.returncode == -number
    assert f"+++ killed by {number.name} +++".encode() in (tmp_path / "log").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_the_target_can_handle_and_ignore_signals(tmp_path: Path) -> None:
    done = run(
        tmp_path / "log",
        *python(
            "import os, signal\n"
            "got = []\n"
            "for number in (1, 2, 5, 10, 15, 18, 28, 40):\n"
            "    signal.signal(number, lambda number, _: got.append(number))\n"
            "    os.kill(os.getpid(), number)\n"
            "signal.signal(15, signal.SIG_IGN); os.kill(os.getpid(), 15)\n"
            "print(got)"
        ),
    )
    assert (done.returncode, done.stdout) == (0, b"[1, 2, 5, 10, 15, 18, 28, 40]\n")


def test_signals_to_the_tracer_do_not_end_it(tmp_path: Path) -> None:
    child = subprocess.Popen(
        entry.command(str(tmp_path / "log"), ["/bin/sh", "-c", "echo on; read x; exit 5"]), stdin=-1, stdout=-1
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        os.kill(child.pid, number)
    child.stdin.write(b"\n")
    child.stdin.close()
    assert child.wait(WAIT_S) == 5
    child.stdout.close()


def test_stop_and_continue(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = subprocess.Popen(
        entry.command(
            str(log),
            list(
                python(
                    "import os, time\n"
                    "print(os.getpid(), flush=True)\n"
                    "while not os.path.exists('go'): time.sleep(0.005)\n"
                    "print('done')"
                )
            ),
        ),
        cwd=tmp_path,
        stdout=-1,
        # a group of its own in our session: SIGTSTP stops nobody in a group that has lost its session's shell
        preexec_fn=lambda: os.setpgid(0, 0),
    )
    assert child.stdout is not None
    target = int(child.stdout.readline())
    for number in (signal.SIGSTOP, signal.SIGTSTP):
        os.kill(target, number)
        # "t" is a stop that the tracer holds, at each call too; the size of the log must stand still while this one lasts
        said = f"--- stopped by {number.name} ---".encode()
        wait_until(lambda said=said: said in log.read_bytes())  # type: ignore[misc]
        size = log.stat().st_size
        time.sleep(0.3)
        assert log.stat().st_size == size
        assert state(target) in "tT"
        os.kill(target, signal.SIGCONT)
        wait_until(lambda size=size: log.stat().st_size > size)  # type: ignore[misc]
    (tmp_path / "go").touch()
    assert child.wait(WAIT_S) == 0
    assert child.stdout.read() == b"done\n"
    child.stdout.close()
    text = log.read_bytes()
    for line in (b"--- stopped by SIGSTOP ---", b"--- stopped by SIGTSTP ---", b"--- SIGCONT {"):
        assert line in text


def test_nothing_is_left_when_the_tracer_is_killed(tmp_path: Path) -> None:
    text = "import os\nos.fork()\nos.write(1, b'%d\\n' % os.getpid())\nwhile 1: os.stat('/')"
    child = subprocess.Popen(entry.command(str(tmp_path / "log"), list(python(text))), stdout=-1)
    assert child.stdout is not None
    pids = [int(child.stdout.readline()) for _ in range(2)]
    child.kill()
    assert child.wait(WAIT_S) == -signal.SIGKILL
    wait_until(lambda: all(state(pid) in ("gone", "Z") for pid in pids))
    child.stdout.close()


def test_the_target_sees_what_it_would_see_untraced(tmp_path: Path) -> None:
    shown = ("SigBlk", "SigIgn", "SigCgt", "Shd", "NoNewPrivs", "Groups", "Uid", "Umask")
    text = (
        "import os, signal\n"
        "print(sorted(os.environb.items()))\n"
        "print(sorted(os.listdir('/proc/self/fd')))\n"
        "status = open('/proc/self/status').read().splitlines()\n"
        f"print([line for line in status if line.startswith({shown})])\n"
        "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))\n"
        "print(os.getcwd(), os.getpgrp() == os.getpgid(os.getppid()), os.getsid(0))\n"
        "import sys; print(sys.argv, sys.stdin.read())"
    )
    environment = {"PATH": "/bin", "LC_ALL": "C", "A": "", "é": "ü"}
    argv = [*python(text), "a b", "", "é"]

    def seen(line: list[str]) -> list[bytes]:
        done = subprocess.run(line, env=environment, input=b"given", capture_output=True, cwd=tmp_path, check=True)
        return done.stdout.splitlines()

    untraced, traced = seen(argv), seen(entry.command(str(tmp_path / "log"), argv))
    if os.geteuid() != 0:  # the kernel takes a plain user's filter with this alone; docs/security.md says so
        untraced = [line.replace(b"NoNewPrivs:\\t0", b"NoNewPrivs:\\t1") for line in untraced]
    assert traced == untraced


def test_a_pipe_of_the_target_closes_when_the_target_closes_it(tmp_path: Path) -> None:
    child = subprocess.Popen(
        entry.command(str(tmp_path / "log"), ["/bin/sh", "-c", "exec >&-; read x"]), stdin=-1, stdout=-1
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.read() == b""  # comes back only when nobody holds the other end
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(WAIT_S) == 1
    child.stdout.close()


@pytest.mark.parametrize(
    ("make", "code", "reason"),
    [
        (None, 127, b"No such file or directory"),
        (0o644, 126, b"Permission denied"),
        ("directory", 126, b"Is a directory"),
        ("garbage", 126, b"Exec format error"),
        ("lost", 127, b"No such file or directory"),
    ],
)
def test_what_cannot_be_started(tmp_path: Path, make: object, code: int, reason: bytes) -> None:
    program = tmp_path / "program"
    if make == "directory":
        program.mkdir()
    elif make is not None:
        program.write_bytes(
            {"garbage": b"\x01\x02", "lost": b"#!/no/such/interpreter\n"}.get(str(make), b"#!/bin/sh\n")
        )
        program.chmod(make if isinstance(make, int) else 0o755)
    done = run(tmp_path / "log", str(program))
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr == b"ptrace: %s: %s\n" % (os.fsencode(program), reason)


def test_programs_are_looked_up_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "tool").chmod(0o755)
    line = entry.command(str(tmp_path / "log"), ["tool"])
    for search in (f"/no:{tmp_path}", ":/no"):
        done = subprocess.run(line, env={"PATH": search}, capture_output=True, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, b"found\n")
    assert subprocess.run(line, env={"PATH": "/no"}, capture_output=True).returncode == 127


def test_usage_and_unwritable_log(tmp_path: Path) -> None:
    started = tmp_path / "started"
    for line, reason in (
        ([], b"usage"),
        (["-o", str(tmp_path / "no/log"), "--", "touch", str(started)], b"No such file"),
    ):
        done = subprocess.run([sys.executable, tracer.__file__, *line], capture_output=True)
        assert done.returncode == 125
        assert done.stderr.startswith(b"ptrace: ")
        assert done.stderr.count(b"\n") == 1
        assert reason in done.stderr
    assert not started.exists()


def test_ptrace_denied_says_so_and_starts_nothing(tmp_path: Path) -> None:
    """Under a tracer that follows children nobody else can trace them."""
    inner = entry.command(str(tmp_path / "inner"), ["/bin/touch", str(tmp_path / "started")])
    done = run(tmp_path / "outer", *inner)
    assert done.returncode == 125
    assert re.fullmatch(rb"ptrace: can't trace: process \d+ traces this program already\n", done.stderr)
    assert not (tmp_path / "started").exists()


def test_ptrace_forbidden_by_a_filter_says_so(tmp_path: Path) -> None:
    """A container's seccomp profile may answer EPERM to ptrace."""
    forbid = (
        "import ctypes, os, struct, sys\n"
        "PROGRAM = [(0x20, 0, 0, 0), (0x15, 0, 1, 101), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)]\n"
        "code = b''.join(struct.pack('<HBBI', *i) for i in PROGRAM)\n"
        "code = ctypes.create_string_buffer(code, len(code)); libc = ctypes.CDLL(None)\n"
        "program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 4, ctypes.addressof(code)), 16)\n"
        "libc.prctl(38, 1, 0, 0, 0); assert libc.prctl(22, 2, program, 0, 0) == 0\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    line = entry.command(str(tmp_path / "log"), ["/bin/touch", str(tmp_path / "started")])
    done = subprocess.run([sys.executable, "-c", forbid, *line], capture_output=True)
    assert done.returncode == 125
    assert done.stderr.startswith(b"ptrace: can't trace: Operation not permitted")
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "started").exists()


def test_a_live_reader_sees_progress(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = subprocess.Popen(entry.command(str(log), ["/bin/sh", "-c", "cat seen-by-now 2>&-; read x"]), stdin=-1)
    assert child.stdin is not None
    wait_until(lambda: log.exists() and b'"seen-by-now", O_RDONLY) = -1 ENOENT' in log.read_bytes())
    assert child.poll() is None
    child.stdin.close()
    child.wait(WAIT_S)


@pytest.mark.needs_root
def test_a_full_disk_ends_the_log_not_the_target(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    small = tmp_path / "small"
    small.mkdir()
    inside = 'mount -t tmpfs -o size=64k none "$1" && shift && log=$1 && shift && "$@"; code=$?; tail -c 4000 "$log"; exit $code'
    text = "import os\nfor n in range(5000): os.access('/no/%d' % n, 0)\nprint('unharmed', flush=True)\nos._exit(3)"
    line = entry.command(str(small / "log"), list(python(text)))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside, "sh", str(small), str(small / "log"), *line], capture_output=True
    )
    assert done.returncode == 3
    assert done.stdout.startswith(b"unharmed\n")
    assert re.search(rb"ptrace: .*/small/log: log cut: No space left on device, \d+ bytes lost\n$", done.stderr)
    last = done.stdout.splitlines()[-2:]
    assert last[0].endswith(b">")
    assert re.fullmatch(rb"fsprobe ptrace: log cut: No space .*, \d+ bytes lost", last[1])


def test_64_processes_at_once_and_many_short_ones(tmp_path: Path) -> None:
    text = (
        "import os\n"
        "ready, go = os.pipe()\n"
        "pids = []\n"
        "for n in range(64):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        os.close(go); os.read(ready, 1)\n"
        "        for k in range(50): os.access('/no/%d/%d' % (n, k), 0)\n"
        "        os._exit(n)\n"
        "    pids.append(pid)\n"
        "os.close(go)\n"
        "assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == list(range(64))\n"
        "for n in range(200):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: os._exit(os.access('/', 0))\n"
        "    assert os.waitpid(pid, 0)[1] == 256"
    )
    assert run(tmp_path / "log", *python(text)).returncode == 0
    log = (tmp_path / "log").read_bytes()
    threads = calls_by_tid(log)
    assert len(threads) == 1 + 64 + 200
    for n in range(64):
        wanted = [b'access("/no/%d/%d", F_OK) = -1 ENOENT (No such file or directory)' % (n, k) for k in range(50)]
        assert sum(calls[:50] == wanted for calls in threads.values()) == 1
    sums = monotonic_ns(log)
    assert sums == sorted(sums)


def test_threads_that_come_and_go(tmp_path: Path) -> None:
    text = (
        "import os, threading\n"
        "def work(n):\n"
        "    for k in range(40): os.access('/no/%d/%d' % (n, k), 0)\n"
        "for _ in range(5):\n"
        "    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n"
        "    [t.start() for t in threads]; [t.join() for t in threads]"
    )
    assert run(tmp_path / "log", *python(text)).returncode == 0
    threads = calls_by_tid((tmp_path / "log").read_bytes())
    assert sum(call.startswith(b'access("/no/') for calls in threads.values() for call in calls) == 5 * 8 * 40
    assert len(threads) == 1 + 5 * 8


def test_no_new_privs_only_where_the_kernel_asks_for_it(tmp_path: Path) -> None:
    def flag(*before: str) -> bytes:
        line = entry.command(str(tmp_path / "log"), ["grep", "NoNewPrivs", "/proc/self/status"])
        return subprocess.run([*before, *line], capture_output=True, check=True).stdout.split()[1]

    if os.geteuid() != 0:
        assert flag() == b"1"
        return
    assert flag() == b"0"


@pytest.mark.needs_root
def test_as_a_plain_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if not all(os.stat(path).st_mode & 0o001 for path in Path(sys.executable).resolve().parents):
        interpreter = "/usr/bin/python3"
    else:
        interpreter = sys.executable
    if not os.access(interpreter, os.X_OK):
        pytest.skip("no interpreter that a plain user may run")
    package = Path(tracer.__file__).parents[3]
    for module in [
        *(package / "__init__.py", package / "capture" / "__init__.py", package / "capture" / "shipped.py"),
        *(package / "capture" / "backends" / "__init__.py", package / "errors.py"),
        *Path(tracer.__file__).parent.glob("*.py"),
    ]:
        copy = tmp_path / "fsprobe" / module.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(module.read_bytes())
    program = tmp_path / "fsprobe" / Path(tracer.__file__).relative_to(package)
    for path in [tmp_path, *tmp_path.parents][:-2]:
        if not path.stat().st_mode & 0o005:
            path.chmod(path.stat().st_mode | 0o005)
    tmp_path.chmod(0o777)
    line = [interpreter, "-I", "-S", str(program), "-o", str(tmp_path / "log"), "--"]
    done = subprocess.run([*user, *line, "cat", "/proc/self/status", "/etc/shadow"], capture_output=True)
    assert done.returncode == 1
    assert b"NoNewPrivs:\t1" in done.stdout
    assert b"openat(AT_FDCWD" in (tmp_path / "log").read_bytes()
    assert b'"/etc/shadow", O_RDONLY) = -1 EACCES (Permission denied)' in (tmp_path / "log").read_bytes()


def tiny_32_bit_program() -> bytes:
    """An ELF file of one segment: open("/no-32", O_RDONLY), then exit(9), by the calls of i386."""
    base, start = 0x08048000, 84
    code = b"\xb8\x05\0\0\0\xbb%s\x31\xc9\xcd\x80\xb8\x01\0\0\0\xbb\x09\0\0\0\xcd\x80"
    at = base + start + len(code) - 2 + 4
    code = code.replace(b"%s", struct.pack("<I", at)) + b"/no-32\0"
    size = start + len(code)
    header = (
        b"\x7fELF\x01\x01\x01"
        + bytes(9)
        + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + start, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    )
    return header + struct.pack("<8I", 1, 0, base, base, size, size, 5, 4096) + code


def test_32_bit_calls_are_said_not_lost_in_silence(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(tiny_32_bit_program())
    program.chmod(0o755)
    try:
        untraced = subprocess.run([str(program)]).returncode
    except OSError:
        pytest.skip("this kernel runs no 32-bit programs")
    if untraced != 9:
        pytest.skip(f"this kernel does not run a 32-bit program: {untraced}")
    done = run(tmp_path / "log", str(program))
    assert done.returncode == 9
    assert done.stderr == b"ptrace: 1 processes ran in 32-bit mode: their calls are not in the log\n"
    assert b"runs in 32 bit mode. ]" in (tmp_path / "log").read_bytes()


def test_as_a_module_and_under_every_way_to_start_it(tmp_path: Path) -> None:
    for start in (
        ["-m", "fsprobe.capture.backends.ptrace.tracer"],
        [tracer.__file__],
        ["-I", tracer.__file__],
        ["-S", "-E", tracer.__file__],
    ):
        log = tmp_path / "log"
        done = subprocess.run([sys.executable, *start, "-o", str(log), "/bin/sh", "-c", "exit 4"], cwd=ROOT)
        assert done.returncode == 4
        assert b'execve("/bin/sh", ["/bin/sh", "-c", "exit 4"]' in log.read_bytes()


def test_a_defect_of_the_decoder_does_not_reach_the_target(tmp_path: Path) -> None:
    driver = (
        "import sys\n"
        "from fsprobe.capture.backends.ptrace import calls, tracer\n"
        "def broken(t, a): raise KeyError('defect')\n"
        "calls.SYSCALLS[21].enter = broken\n"
        "calls.SYSCALLS[79].leave = broken\n"
        "sys.exit(tracer.main(sys.argv[1:]))"
    )
    target = python("import os; os.access('/', 0); os.getcwd(); os.stat('/usr'); os._exit(6)")
    done = subprocess.run(
        [sys.executable, "-c", driver, "-o", str(tmp_path / "log"), *target],
        cwd=ROOT,
        capture_output=True,
    )
    assert done.returncode == 6
    assert b"calls could not be decoded" in done.stderr
    text = (tmp_path / "log").read_bytes()
    assert b"access(<undecoded by fsprobe: KeyError in access>) = 0" in text
    assert b'"/usr", {st_mode=S_IFDIR' in text
