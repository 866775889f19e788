"""What goes wrong around a run: the command is unharmed, nothing recorded is lost, and one clear line says what happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE, LIMIT_S, Done, Fsprobe, clean_environment, need, run_plain

WORK = """
import os, sys
for k in range(int(sys.argv[1])):
    os.path.exists('/nowhere/%d' % k)
print('done', len(sys.argv))
sys.exit(int(sys.argv[2]))
"""


def work(n_calls: int, status: int = 0) -> list[str]:
    """A command that makes so many calls for missing files, and ends with `status`."""
    return [sys.executable, "-I", "-S", "-c", WORK, str(n_calls), str(status)]


def n_missing(recording: Path | str) -> int:
    """How many of `work`'s calls are in a recording, which must be whole."""
    opened = Recording(str(recording))
    opened.verify()
    return sum(b'"/nowhere/' in line for line in opened.lines("log"))


def assert_one_clear_line(done: Done, *, status: int, says: str) -> None:
    """An error and its hint, each on one line, and nothing else of ours; no traceback."""
    assert done.status == status, done.err
    assert b"Traceback" not in done.err
    lines = done.own_lines
    assert len(lines) == 2, lines
    assert says in lines[0]
    assert lines[1].startswith("fsprobe: hint: ")
    assert len(lines[1]) > 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty tmpfs; its size is set by `resize`."""
    need(os.geteuid() == 0, "mounting needs root")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "fsprobe-test", str(place)], capture_output=True, check=False
    )
    need(done.returncode == 0, f"no tmpfs can be mounted: {done.stderr!r}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def resize(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


# -- the command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("no-such-command", 127, "command not found"),
        ("./no-such-command", 127, "command not found"),
        ("/etc/passwd/below", 127, "command not found"),
        ("", 127, "command not found"),
        ("x" * 300, 127, "command not found"),
        ("new\nline\x1b[31m", 127, "command not found"),
        ("./directory", 126, "is a directory"),
        ("./plain", 126, "is not executable"),
        ("plain", 126, "is not executable"),
        ("./no-format", 126, "is no program"),
        ("./bad-elf", 126, "cannot be started"),
        ("./bad-interpreter", 127, "does not exist"),
    ],
)
def test_command_that_cannot_be_run(run_fsprobe: Fsprobe, tmp_path: Path, name: str, status: int, says: str) -> None:
    (tmp_path / "directory").mkdir()
    for file, content, mode in (
        ("plain", "x", 0o644),
        ("no-format", "hello\n", 0o755),
        ("bad-elf", "\x7fELFjunk" * 20, 0o755),
        ("bad-interpreter", "#!/no/such/interpreter\n", 0o755),
    ):
        (tmp_path / file).write_text(content)
        (tmp_path / file).chmod(mode)
    env = clean_environment(PATH=f"{tmp_path}:{os.environ['PATH']}")
    done = run_fsprobe([name], cwd=tmp_path, env=env)
    assert_one_clear_line(done, status=status, says=says)
    assert not done.recording.exists()
    assert run_fsprobe.left() == []


def test_argument_that_is_too_long_for_the_kernel(run_fsprobe: Fsprobe) -> None:
    """Each argument alone fits; with fsprobe's own they pass the limit. The kernel's answer comes back as a clear line."""
    program = "import os, sys\nfrom fsprobe.__main__ import main\nsys.exit(main())"
    words = run_fsprobe.command(["/bin/true"])
    long = "x" * 131000
    # grow the list inside fsprobe's interpreter: this process could not hand it over
    code = program.replace("sys.exit", f"sys.argv += [{long!r}] * 20\nsys.exit")
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n" + code
    script = run_fsprobe.tmp / "long.py"
    script.write_text(code)
    done = run_plain([sys.executable, "-I", str(script), *words[len(FSPROBE) :]])
    assert_one_clear_line(done, status=126, says="Argument list too long")
    assert run_fsprobe.left() == []


@pytest.mark.parametrize("name", ["-rf", "a b", "é", "new\nline", "x" * 200, "..", "%s", "\udcff"])
def test_hostile_command_names(run_fsprobe: Fsprobe, tmp_path: Path, name: str) -> None:
    """Named after the command, the recording still gets a name that any filesystem and tool takes."""
    program = tmp_path / "bin" / (name if name != ".." else "..py.py")
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho $#\n")
    program.chmod(0o755)
    (tmp_path / "here").mkdir()
    words = [*FSPROBE, "run", "--record-only", "--tmp-dir", str(run_fsprobe.scratch), "--", str(program), "x.py" * 40]
    done = run_plain(words, cwd=tmp_path / "here")
    assert (done.status, done.out) == (0, b"1\n")
    (made,) = os.listdir(tmp_path / "here")
    assert made.isascii()
    assert made.endswith(".fsprobe")
    assert not made.startswith(("-", "."))
    assert Recording(str(tmp_path / "here" / made)).manifest["command"][0] == str(program)


def test_working_directory_is_gone(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()

    def before() -> None:
        os.rmdir(tmp_path / "gone")

    done = run_fsprobe(work(10, 3), cwd=tmp_path / "gone", before=before)
    assert (done.status, done.out) == (3, b"done 3\n")
    assert n_missing(done.recording) == 10
    words = [*FSPROBE, "run", "--record-only", "--tmp-dir", str(run_fsprobe.scratch), "--", *work(10, 3)]
    (tmp_path / "gone").mkdir()
    done = run_plain(words, cwd=tmp_path / "gone", before=before)
    assert done.out == b"done 3\n"
    assert_one_clear_line(done, status=3, says="cannot write")
    assert_salvaged(run_fsprobe, 10)


# -- the tracer -------------------------------------------------------------------------------------------------


def put_on_path(tmp_path: Path, text: str | None) -> str:
    """A PATH on which strace is this script, or is not."""
    place = tmp_path / "tools"
    place.mkdir()
    for tool in ("sh", "sleep"):
        (place / tool).symlink_to(shutil.which(tool) or "/bin/sh")
    if text is not None:
        (place / "strace").write_text(text)
        (place / "strace").chmod(0o755)
    return str(place)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no strace on PATH"),
        ("#!/bin/sh\necho strace -- version 4.8\n", "is version 4.8"),
        ("#!/bin/sh\nexit 1\n", "does not run"),
        ("#!/bin/sh\nkill -9 $$\n", "does not run"),
        ("#!/no/such/interpreter\n", "does not run"),
        ("#!/bin/sh\n[ $1 = -V ] && echo strace -- version 6.1\nexit 1\n", "could not trace"),
    ],
)
def test_strace_that_is_of_no_use(run_fsprobe: Fsprobe, tmp_path: Path, text: str | None, says: str) -> None:
    env = clean_environment(PATH=put_on_path(tmp_path, text))
    done = run_fsprobe(work(1), options=("-q", "--backend=strace"), env=env)
    assert_one_clear_line(done, status=125, says=says)
    assert (done.out, run_fsprobe.left()) == (b"", [])


def test_without_strace_another_backend_is_taken(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    done = run_fsprobe(work(50, 7), env=clean_environment(PATH=put_on_path(tmp_path, None)))
    assert (done.status, done.out, done.err) == (7, b"done 3\n", b"")
    assert n_missing(done.recording) == 50


@pytest.mark.parametrize("backend", ["auto", "strace", "ptrace"])
def test_fsprobe_that_is_traced_already(run_fsprobe: Fsprobe, strace_program: str, backend: str) -> None:
    words = run_fsprobe.command(work(1, 7), options=("-q", f"--backend={backend}"))
    done = run_plain([strace_program, "-f", "-qq", "-o", os.devnull, "-e", "trace=none", *words])
    assert_denied(run_fsprobe, done, backend)


def assert_denied(fsprobe: Fsprobe, done: Done, backend: str) -> None:
    """A tracer that was asked for by name is refused before the command starts; `auto` runs the command without one."""
    if backend == "auto":
        assert (done.status, done.out, done.err) == (7, b"done 3\n", b"")
    else:
        assert_one_clear_line(done, status=125, says="")
        assert done.out == b""
    assert fsprobe.left() == []


DENY = """
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | errno.EPERM), (0x06, 0, 0, 0x7FFF0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
program = struct.pack("HxxxxxxP", len(rows), ctypes.addressof(filters))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("backend", ["auto", "strace", "ptrace"])
def test_ptrace_denied_by_a_policy(run_fsprobe: Fsprobe, backend: str) -> None:
    """As in a container: a seccomp filter answers ptrace with EPERM."""
    need(os.uname().machine in ("x86_64", "aarch64"), "the filter is written for two machines")
    words = run_fsprobe.command(work(1, 7), options=("-q", f"--backend={backend}"))
    assert_denied(run_fsprobe, run_plain([sys.executable, "-c", DENY, *words]), backend)


# -- the scratch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["missing", "file", "read-only", "too small", "no inodes"])
def test_scratch_that_will_not_do(run_fsprobe: Fsprobe, tmp_path: Path, small_disk: Path, kind: str) -> None:
    place = tmp_path / "missing" if kind == "missing" else small_disk
    if kind == "file":
        place = tmp_path / "file"
        place.write_text("")
    elif kind == "read-only":
        resize(small_disk, "ro")
    elif kind == "no inodes":
        resize(small_disk, "size=200m,nr_inodes=3")
    done = run_fsprobe(work(1), options=("-q", f"--tmp-dir={place}"))
    assert_one_clear_line(done, status=125, says="no place for the log")
    assert done.out == b""
    assert not place.is_dir() or os.listdir(place) == []


def test_log_reaches_its_bound(run_fsprobe: Fsprobe) -> None:
    done = run_fsprobe(work(40000, 7), options=("--max-log=200K",))
    assert (done.status, done.out) == (7, b"done 3\n")
    assert len(done.own_lines) == 2, done.own_lines
    assert "--max-log" in done.own_lines[0]
    recording = Recording(str(done.recording))
    log = b"".join(recording.section("log"))
    assert b"\0" not in log
    assert log.endswith(b"\n")
    assert len(log) > 200_000
    assert 1000 < n_missing(done.recording) < 40000
    assert recording.manifest["exit_code"] == 7
    assert run_fsprobe.left() == []
    report = run_plain([*FSPROBE, "report", str(done.recording)])
    assert report.status == 0, report.err


def test_status_of_the_command_is_known_though_its_log_was_cut(run_fsprobe: Fsprobe) -> None:
    """Its last lines are past the bound, and a descendant keeps the tracer alive: only the cut-off part has the exit line."""
    words = ["/bin/sh", "-c", 'sleep 3 >/dev/null 2>&1 & exec "$@"', "sh", *work(20000, 9)]
    done = run_fsprobe(words, options=("-q", "--max-log=50K", "--wait-descendants=0.3"))
    assert done.status == 9
    assert Recording(str(done.recording)).manifest["exit_code"] == 9
    wait_until_empty(run_fsprobe)


def test_scratch_runs_full_while_the_command_runs(run_fsprobe: Fsprobe, tmp_path: Path, small_disk: Path) -> None:
    """Somebody else fills the disk: what was logged before stays, the command and its stderr are left in peace."""
    resize(small_disk, "size=80m")
    program = (
        "import os, sys, time\n"
        "for k in range(5000):\n    os.path.exists('/nowhere/%d' % k)\n"
        f"f = open({str(small_disk / 'filler')!r}, 'wb')\n"
        "for k in range(12):\n    f.write(bytes(5 << 20)); f.flush(); time.sleep(0.05)\n"
        "for k in range(20000):\n    os.path.exists('/nowhere/%d' % k)\n"
        "print('done')\n"
    )
    done = run_fsprobe([sys.executable, "-c", program], options=("-q", f"--tmp-dir={small_disk}"))
    assert (done.status, done.out, done.err) == (0, b"done\n", b"")
    assert 5000 <= n_missing(done.recording) < 25000
    assert "nearly full" in Recording(str(done.recording)).manifest["log_truncated"]
    assert os.listdir(small_disk) == ["filler"]


@pytest.mark.parametrize("backend", ["strace", "ptrace"])
def test_scratch_is_filled_to_the_last_byte_at_once(run_fsprobe: Fsprobe, small_disk: Path, backend: str) -> None:
    """Faster than anybody can look: the command's stderr is its own, it goes on, the recording says it is not whole."""
    resize(small_disk, "size=70m")
    program = (
        "import os\n"
        "for k in range(3000):\n    os.path.exists('/nowhere/%d' % k)\n"
        f"f = os.open({str(small_disk / 'filler')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "try:\n    while True:\n        os.write(f, bytes(1 << 20))\nexcept OSError:\n    pass\n"
        "for k in range(3000):\n    os.path.exists('/nowhere/%d' % k)\n"
        "print('done')\n"
    )
    done = run_fsprobe(
        [sys.executable, "-c", program], options=("-q", f"--backend={backend}", f"--tmp-dir={small_disk}")
    )
    assert (done.status, done.out, done.err) == (0, b"done\n", b"")
    # what the tracer had in its buffer when the last byte went finds no room
    assert n_missing(done.recording) >= 3000 - 600
    assert Recording(str(done.recording)).manifest["log_truncated"]
    assert os.listdir(small_disk) == ["filler"]


# -- the recording ----------------------------------------------------------------------------------------------


def assert_salvaged(fsprobe: Fsprobe, n_calls: int, output: Path | None = None) -> Recording:
    """The one scratch directory that was left becomes a recording with these calls, and goes."""
    (left,) = fsprobe.left()
    output = output or fsprobe.tmp / "salvaged.fsprobe"
    done = run_plain([*FSPROBE, "salvage", str(fsprobe.scratch / left), "-o", str(output)])
    assert done.status == 0, done.err
    assert len(done.own_lines) == 1
    assert n_missing(output) == n_calls
    assert fsprobe.left() == []
    assert run_plain([*FSPROBE, "report", str(output)]).status == 0
    return Recording(str(output))


@pytest.mark.parametrize(
    "kind",
    ["missing directory", "read-only", "full", "device", "too long", "below a file", "loop", "fifo"],
)
@pytest.mark.parametrize("status", [0, 7])
def test_recording_that_cannot_be_written(
    run_fsprobe: Fsprobe, tmp_path: Path, small_disk: Path, kind: str, status: int
) -> None:
    output = tmp_path / "missing" / "x"
    if kind == "read-only":
        resize(small_disk, "ro")
        output = small_disk / "x"
    elif kind == "full":
        (small_disk / "filler").write_bytes(bytes(8 << 20))
        output = small_disk / "x"
    elif kind == "device":
        output = tmp_path / "null"
        os.mknod(output, 0o20666, os.makedev(1, 3))
    elif kind == "too long":
        output = tmp_path / ("x" * 300)
    elif kind == "below a file":
        (tmp_path / "file").write_text("")
        output = tmp_path / "file" / "x"
    elif kind == "loop":
        output = tmp_path / "loop"
        output.symlink_to(output)
    elif kind == "fifo":
        output = tmp_path / "fifo"
        os.mkfifo(output)
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(small_disk))
    done = run_plain(run_fsprobe.command(work(500, status), recording=output))
    assert done.out == b"done 3\n"
    assert_one_clear_line(done, status=status or 125, says="cannot write")
    assert "fsprobe salvage " in done.own_lines[1]
    assert sorted({*os.listdir(tmp_path)} - {"scratch"}) == sorted({*before[0]} - {"scratch"})
    assert sorted(os.listdir(small_disk)) == before[1]
    assert_salvaged(run_fsprobe, 500)


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_output_that_is_there_already_is_replaced_whole(run_fsprobe: Fsprobe, tmp_path: Path, kind: str) -> None:
    real = tmp_path / "real.fsprobe"
    output = real
    if kind != "dangling link":
        real.write_text("old")
    if kind != "file":
        output = tmp_path / "link"
        output.symlink_to(real)
    done = run_plain(run_fsprobe.command(work(20), recording=output))
    assert (done.status, done.err) == (0, b"")
    assert n_missing(real) == 20
    assert output.is_symlink() == (kind != "file")


# -- killed -----------------------------------------------------------------------------------------------------

PATIENT = """
import os, sys, time
end = time.monotonic() + 1.2
n = 0
while time.monotonic() < end:
    os.path.exists('/nowhere/%d' % n)
    n += 1
    time.sleep(0.002)
open(sys.argv[1], 'w').write(str(n))
print('done')
"""


def start_and_kill(fsprobe: Fsprobe, command: Sequence[str], delay_s: float) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        fsprobe.command(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()
    )
    time.sleep(delay_s)
    child.kill()
    return child


@pytest.mark.parametrize("seed", range(12))
def test_fsprobe_is_killed(run_fsprobe: Fsprobe, tmp_path: Path, seed: int) -> None:
    """At a random moment: the command runs to its end, and every call of it can be had from what was left."""
    delay_s = random.Random(seed).uniform(0.05, 1.2)
    count = tmp_path / "count"
    child = start_and_kill(run_fsprobe, [sys.executable, "-I", "-c", PATIENT, str(count)], delay_s)
    out, err = child.communicate(timeout=LIMIT_S)  # ends when the command and its tracer have closed their ends
    assert err == b""
    if not count.exists():
        # killed before there was a command: nothing ran, nothing was recorded
        assert out == b""
        for left in run_fsprobe.left():
            done = run_plain([*FSPROBE, "salvage", str(run_fsprobe.scratch / left)])
            assert_one_clear_line(done, status=3, says="")
        return
    assert out == b"done\n"
    if not run_fsprobe.left():
        assert n_missing(tmp_path / "x.fsprobe") == int(count.read_text())
        return
    recording = assert_salvaged(run_fsprobe, int(count.read_text()))
    assert recording.manifest["exit_code"] == 0
    assert recording.manifest["salvaged"]
    assert not list(tmp_path.glob("*.part"))


def test_salvage_while_the_command_still_runs(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    count = tmp_path / "count"
    child = start_and_kill(run_fsprobe, [sys.executable, "-I", "-c", PATIENT.replace("1.2", "2.5"), str(count)], 1.0)
    need(run_fsprobe.left(), "this machine is too slow")
    (left,) = run_fsprobe.left()
    early = tmp_path / "early.fsprobe"
    done = run_plain([*FSPROBE, "salvage", str(run_fsprobe.scratch / left), "-o", str(early)])
    assert done.status == 0, done.err
    assert "still running" in done.own_lines[1]
    assert n_missing(early) > 0
    assert run_fsprobe.left() == [left]
    assert child.communicate(timeout=LIMIT_S) == (b"done\n", b"")
    assert n_missing(early) < int(count.read_text())
    wait_for_tracer(run_fsprobe.scratch / left)
    assert_salvaged(run_fsprobe, int(count.read_text()))


def wait_for_tracer(scratch: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while any(str(scratch).encode() in cmdline(pid) for pid in os.listdir("/proc") if pid.isdigit()):
        assert time.monotonic() < end
        time.sleep(0.02)


def cmdline(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "file", "not ours", "no log", "bad state", "state of another kind"]
)
def test_salvage_of_what_is_no_scratch(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "fsprobe-x"
    if kind == "file":
        place.write_text("")
    elif kind != "missing":
        place.mkdir()
        (place / "keep").write_text("mine")
        state = {"no log": '{"command": ["x"], "host": "h"}', "bad state": "{", "state of another kind": "[1]"}.get(
            kind
        )
        if kind == "not ours":
            (place / "log").write_text("x")
        if state is not None:
            (place / "state.json").write_text(state)
    done = run_plain([*FSPROBE, "salvage", str(place)], cwd=tmp_path)
    assert_one_clear_line(done, status=3, says=str(place))
    assert not place.is_dir() or (place / "keep").exists()


def test_command_is_killed_in_mid_import(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text("import json, decimal, killer\n")
    (tmp_path / "killer.py").write_text("import os, time\ntime.sleep(0.1)\nimport csv\nos.kill(os.getpid(), 9)\n")
    done = run_fsprobe([sys.executable, "-c", "import outer"], cwd=tmp_path)
    assert (done.status, done.out, done.err) == (-signal.SIGKILL, b"", b"")
    recording = Recording(str(done.recording))
    recording.verify()
    assert recording.manifest["signal"] == signal.SIGKILL
    assert b"killer.py" in b"".join(recording.section("log"))
    assert b">decimal\n" in b"".join(recording.section("marks"))
    assert run_fsprobe.left() == []


@pytest.mark.parametrize("leave", ["os._exit(3)", "os.execv('/bin/sh', ['sh', '-c', 'exit 3'])"])
def test_marks_of_a_process_that_leaves_in_mid_import(run_fsprobe: Fsprobe, tmp_path: Path, leave: str) -> None:
    (tmp_path / "leaver.py").write_text(f"import os, json, time\ntime.sleep(0.1)\nimport decimal\n{leave}\n")
    done = run_fsprobe([sys.executable, "-c", "import leaver"], cwd=tmp_path)
    assert done.status == 3
    assert b">leaver\n" in b"".join(Recording(str(done.recording)).section("marks"))


def wait_until_empty(fsprobe: Fsprobe) -> None:
    end = time.monotonic() + LIMIT_S
    while fsprobe.left():
        assert time.monotonic() < end, fsprobe.left()
        time.sleep(0.05)


@pytest.mark.parametrize("new_session", [True, False])
def test_descendant_that_goes_on(run_fsprobe: Fsprobe, tmp_path: Path, new_session: bool) -> None:
    """The report does not wait for it longer than it was told, and it goes on unharmed."""
    later = tmp_path / "later"
    grandchild = f"import time, os; time.sleep(2.5); import json; open({str(later)!r}, 'w').write(json.dumps(os.path.exists('/')))"
    program = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}], start_new_session={new_session}, "
        "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "for k in range(30):\n    os.path.exists('/nowhere/%d' % k)\n"
        "sys.exit(6)\n"
    )
    # stderr goes to a file: the tracer holds it for as long as it has somebody to trace
    with open(tmp_path / "err", "wb") as err:
        words = run_fsprobe.command([sys.executable, "-c", program], options=("--wait-descendants=0.3",))
        status = subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=err, env=clean_environment(), check=False
        ).returncode
    assert status == 6
    assert not later.exists()
    text = (tmp_path / "err").read_text()
    assert "--wait-descendants" in text
    assert n_missing(tmp_path / "x.fsprobe") == 30
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["descendants_left"]
    end = time.monotonic() + LIMIT_S
    while not later.exists() or not later.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert later.read_text() == "true"
    wait_until_empty(run_fsprobe)


def test_descendant_that_ends_in_time_is_waited_for(run_fsprobe: Fsprobe) -> None:
    done = run_fsprobe(["/bin/sh", "-c", "(sleep 0.5; test -e /nowhere/late) & exit 2"], options=())
    assert done.status == 2
    assert n_missing(done.recording) == 1
    assert not Recording(str(done.recording)).manifest["descendants_left"]
    assert len(done.own_lines) == 1


def test_a_signal_ends_the_wait_for_descendants(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"sleep 4 >/dev/null 2>&1 & echo x > {ready}; exit 2"
    words = run_fsprobe.command(["/bin/sh", "-c", script], options=("-q", "--wait-descendants=60"))
    child = subprocess.Popen(words, env=clean_environment(), stderr=subprocess.DEVNULL)
    end = time.monotonic() + LIMIT_S
    while not ready.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.5)
    child.terminate()
    assert child.wait(timeout=LIMIT_S) == 2
    assert (tmp_path / "x.fsprobe").exists()
    wait_until_empty(run_fsprobe)


@pytest.mark.parametrize("options", [("-q",), ()])
def test_stderr_is_closed(run_fsprobe: Fsprobe, options: tuple[str, ...]) -> None:
    done = run_fsprobe(work(10, 4), options=options, before=lambda: os.close(2))
    assert (done.status, done.out, done.err) == (4, b"done 3\n", b"")
    assert n_missing(done.recording) == 10


@pytest.mark.parametrize("options", [("-q",), ()])
def test_stderr_is_a_pipe_that_nobody_reads(run_fsprobe: Fsprobe, options: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    words = run_fsprobe.command(work(10, 4), options=options)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=write_end, env=clean_environment(), check=False)
    os.close(write_end)
    assert (done.returncode, done.stdout) == (4, b"done 3\n")
    assert n_missing(run_fsprobe.tmp / "x.fsprobe") == 10


def test_stderr_is_full(run_fsprobe: Fsprobe) -> None:
    words = run_fsprobe.command(work(10, 4), options=())
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=full, env=clean_environment(), check=False)
    assert (done.returncode, done.stdout) == (4, b"done 3\n")
    assert n_missing(run_fsprobe.tmp / "x.fsprobe") == 10


@pytest.mark.parametrize("kind", ["closed", "pipe", "full"])
@pytest.mark.parametrize("status", [0, 4])
def test_report_that_nobody_can_read(run_fsprobe: Fsprobe, tmp_path: Path, kind: str, status: int) -> None:
    """The report can't be shown; the command's exit code and its recording are what they are."""
    output = tmp_path / "x.fsprobe"
    words = [*FSPROBE, "run", "-o", str(output), "--tmp-dir", str(run_fsprobe.scratch), "--", *work(10, status)]
    read_end, write_end = os.pipe()
    os.close(read_end)
    if kind == "full":
        os.close(write_end)
        write_end = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=write_end,
        env=clean_environment(),
        preexec_fn=(lambda: os.close(2)) if kind == "closed" else None,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stdout) == (status, b"done 3\n")
    assert n_missing(output) == 10
    assert run_fsprobe.left() == []


# -- recordings that were damaged -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording's bytes."""
    need(shutil.which("strace"), "no strace on PATH")
    tmp = tmp_path_factory.mktemp("whole")
    fsprobe = Fsprobe(tmp)
    done = fsprobe([sys.executable, "-c", "import json, decimal"])
    assert done.status == 0, done.err
    return done.recording.read_bytes()


def report(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    from fsprobe.__main__ import main

    monkeypatch.setattr(sys, "argv", ["fsprobe", "report", str(path), "--format", "json"])
    status = main()
    return status, capsys.readouterr().err


def assert_bad_input(status: int, err: str) -> None:
    assert status == 3, err
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("fsprobe: ") for line in lines)
    assert "hint: " in lines[1]


def boundaries(data: bytes) -> list[int]:
    """Where each part of the file starts and ends: header, section headers, bodies, closing line."""
    places = [0, data.index(b"\n") + 1]
    at = places[-1]
    while not data.startswith(b"end ", at):
        size = int(data[at:].split(None, 3)[2])
        head = data.index(b"\n", at) + 1
        places += [head, head + size, head + size + 1]
        at = head + size + 1
    return [*places, at + 4, len(data) - 1]


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_recording_cut_at_each_boundary(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    for place in boundaries(whole):
        (tmp_path / "x").write_bytes(whole[: max(0, place + shift)])
        if place + shift >= len(whole):
            continue
        assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize("seed", range(6))
def test_recording_cut_anywhere(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        (tmp_path / "x").write_bytes(whole[: chance.randrange(len(whole))])
        assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize("seed", range(6))
def test_recording_with_a_flipped_byte(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Every byte counts."""
    chance = random.Random(100 + seed)
    # half of them among the headers, where a flip changes what is found rather than what is in it
    near = [place + k for place in boundaries(whole) for k in range(-60, 90) if 0 <= place + k < len(whole)]
    for _ in range(40):
        place = chance.choice(near) if chance.random() < 0.5 else chance.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        (tmp_path / "x").write_bytes(damaged)
        assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5000,
        b"fsprobe 1 recording\n",
        b"fsprobe 99 recording\n",
        b"fsprobe 1 novel\n",
        b"hello\n",
        os.urandom(3000),
    ],
    ids=["empty", "zeros", "header alone", "newer", "unknown kind", "text", "noise"],
)
def test_file_that_is_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "x").write_bytes(content)
    assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_recording_that_cannot_be_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "directory":
        (tmp_path / "x").mkdir()
    assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))
