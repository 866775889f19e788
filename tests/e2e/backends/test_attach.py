"""`fsprobe attach`: what a running program does is recorded, and the program goes on as if nobody had been there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.capture import attach
from fsprobe.errors import BadInput, FsprobeError, MachineCannot
from fsprobe.model.formats import JsonObject
from fsprobe.report import markdown
from fsprobe.report.html import page
from fsprobe.report.terminal import run as terminal
from tests.conftest import ROOT, clean_environment, need

COMMAND = (
    sys.executable,
    "-I",
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    "from fsprobe.cli import group\n"
    "group.COMMANDS.setdefault('attach', ('attach', ''))\n"
    "sys.exit(group.main(sys.argv[1:]))",
    "attach",
)
"""The command, also where the table of commands does not name it."""
LIMIT_S = 30.0

BUSY = """
import os, sys, threading, time
place, seconds = sys.argv[1], float(sys.argv[2])
end = time.time() + seconds
counts = [0] * 8
def work(k):
    while time.time() < end and not os.path.exists(place + "/stop"):
        fd = os.open("/etc/hostname", os.O_RDONLY)
        assert os.read(fd, 10) and os.stat("/etc").st_mode
        os.close(fd)
        counts[k] += 1
        time.sleep(0.0002)
threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
for thread in threads: thread.start()
while any(thread.is_alive() for thread in threads):
    with open(place + "/counts.new", "w") as out: out.write(" ".join(map(str, counts)))
    os.replace(place + "/counts.new", place + "/counts")
    time.sleep(0.01)
for thread in threads: thread.join()
print("done", len(counts), min(counts) > 0)
"""

ASKED = """
import os, sys
sys.path.insert(0, sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("did it", flush=True)
print("end", flush=True)
"""


@pytest.fixture(autouse=True)
def scratch_of_the_test(tmp_path: Path, strace_program: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A scratch place of the test's own, empty at its end."""
    need(may_attach(), "attaching to a running program is not allowed here")
    place = tmp_path / "scratch"
    place.mkdir()
    yield place
    assert list(place.iterdir()) == []


def may_attach() -> bool:
    with subprocess.Popen(["/bin/sleep", "5"]) as sleeper:
        try:
            done = subprocess.run(
                ["timeout", "-s", "INT", "0.3", "strace", "-q", "-o", os.devnull, "-p", str(sleeper.pid)],
                capture_output=True,
                check=False,
            )
        finally:
            sleeper.kill()
    return b"not permitted" not in done.stderr


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs; what is left of them ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str, **how: object) -> subprocess.Popen[str]:
        one = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment(),
            **how,  # type: ignore[call-overload]
        )
        started.append(one)
        return one

    yield run
    for one in started:
        if one.poll() is None:
            one.send_signal(signal.SIGCONT)
            one.kill()
        one.communicate()


def ask(one: subprocess.Popen[str], line: str) -> None:
    """Have a program of `ASKED` run a line, and wait until it has."""
    assert one.stdin is not None
    assert one.stdout is not None
    one.stdin.write(line + "\n")
    one.stdin.flush()
    assert one.stdout.readline() == "did it\n"


def asked_program(start: Callable[..., subprocess.Popen[str]], place: Path) -> subprocess.Popen[str]:
    one = start(sys.executable, "-I", "-c", ASKED, str(place))
    assert one.stdout is not None
    assert one.stdout.readline() == "ready\n"
    return one


def state_of(pid: int) -> list[tuple[str, int]]:
    """(state, tracer) of each thread."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        lines = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines()
            if ":" in line
        )
        found.append((lines["State"].split()[0], int(lines["TracerPid"])))
    return found


def assert_untouched(pid: int) -> None:
    """No thread has a tracer or stands still in a stop."""
    assert all(tracer == 0 and state not in "Tt" for state, tracer in state_of(pid)), state_of(pid)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def attach_while(
    one: subprocess.Popen[str], path: Path, scratch: Path, act: Callable[[], object], seconds: float = 60.0
) -> JsonObject:
    """Attach, do something while the program is traced, let go by SIGINT, and give the profile."""
    words = [*COMMAND, str(one.pid), "--for", str(seconds), "-q", "-o", str(path), "--tmp-dir", str(scratch)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=clean_environment()) as attacher:
        wait_for(lambda: attacher.poll() is not None or all(tracer for _, tracer in state_of(one.pid)))
        assert attacher.poll() is None, attacher.communicate()
        time.sleep(0.3)  # until it has noticed as well that all threads are traced
        act()
        attacher.send_signal(signal.SIGINT)
        _, said = attacher.communicate(timeout=LIMIT_S)
    assert (attacher.returncode, said) == (0, b"")
    analysis = pipeline.read(path)
    assert check_sums(analysis.tally) == []
    assert analysis.profile["quality"]["n_unparsed"] == 0, analysis.profile["quality"]["unparsed_examples"]
    return analysis.profile


def rows(profile: JsonObject, grouping: str) -> dict[str, JsonObject]:
    return {row["key"]: row for row in profile["metrics"][grouping] or ()}


# ---- what is recorded ------------------------------------------------------------------------------------------------


def plant(place: Path) -> None:
    package = place / "planted"
    package.mkdir()
    (package / "__init__.py").write_text("from planted import inner\n")
    (package / "inner.py").write_text("import os\nos.path.exists('/nowhere/at-all')\n")
    for i in range(50):
        (place / f"file-{i}").write_text("")


def test_what_happens_meanwhile_is_counted_exactly(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    plant(tmp_path)
    one = asked_program(start, tmp_path)
    ask(one, "import glob")
    ask(one, f"[os.close(os.open({str(tmp_path)!r} + '/file-%d' % i, os.O_RDONLY)) for i in range(50)]")

    def act() -> None:
        ask(one, f"[os.close(os.open({str(tmp_path)!r} + '/file-%d' % (i % 25), os.O_RDONLY)) for i in range(75)]")
        ask(one, "[os.path.exists('/nowhere/%d' % i) for i in range(30)]")
        ask(one, "import planted")

    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, act)
    paths = rows(profile, "by_path")
    assert {paths[f"{tmp_path}/file-{i}"]["n_open"] for i in range(25)} == {3}
    assert f"{tmp_path}/file-40" not in paths
    assert {paths[f"/nowhere/{i}"]["n_missing"] for i in range(30)} == {1}
    assert paths["/nowhere/at-all"]["n_stat"] == 1
    assert profile["metrics"]["n_exec"] == 0
    modules = rows(profile, "by_module")
    assert {"planted", "planted.inner"} <= set(modules)
    assert "glob" not in modules
    assert profile["quality"]["n_estimated"] > 0
    (process,) = profile["metrics"]["by_process"]
    assert (process["pid"], process["kind"]) == (one.pid, "python")
    manifest = profile["manifest"]
    assert manifest["command"][0] == sys.executable
    assert (manifest["attached"]["pid"], manifest["attached"]["is_python"]) == (one.pid, True)
    # what only the start or the end of the program could tell
    assert [manifest[name] for name in ("exit_code", "signal", "python")] == [None, None, None]
    assert manifest["markers"] == "none"
    assert 0.2 < manifest["wall_s"] < LIMIT_S
    assert manifest["user_s"] >= 0
    assert manifest["read_bytes"] > 0
    for render in (terminal.render, page.render, markdown.render):
        assert len(render(profile, recording="x.fsprobe")) > 500
    ask(one, "assert os.path.exists('/etc')")
    out, _ = one.communicate()
    assert (out, one.returncode) == ("end\n", 0)


def test_children_and_threads_that_are_started_meanwhile(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    ask(one, "import subprocess, threading")

    def act() -> None:
        ask(one, "subprocess.check_call(['/bin/sh', '-c', 'test -e /nowhere/child || true'])")
        ask(one, "t = threading.Thread(target=os.path.exists, args=('/nowhere/thread',)); t.start(); t.join()")
        ask(one, "pid = os.fork() or (os.path.exists('/nowhere/forked'), os._exit(0)); os.waitpid(pid, 0)")

    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, act)
    paths = rows(profile, "by_path")
    assert [paths[f"/nowhere/{name}"]["n_missing"] for name in ("child", "thread", "forked")] == [1, 1, 1]
    assert profile["metrics"]["n_exec"] == 1
    kinds = Counter(row["kind"] for row in profile["metrics"]["by_process"])
    assert kinds["python"] >= 2
    assert any(row["label"].startswith("sh") for row in profile["metrics"]["by_process"])


def test_other_programs_have_no_imports(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sh", "-c", "while read line; do test -e $line; echo did it; done")

    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, lambda: ask(one, "/nowhere/x"))
    assert profile["metrics"]["by_module"] is None
    assert rows(profile, "by_path")["/nowhere/x"]["n_missing"] == 1
    assert {row["key"] for row in profile["metrics"]["by_phase"]} == {"run"}


def test_a_program_that_does_nothing(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sleep", "30")
    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, lambda: None)
    assert profile["metrics"]["n_metadata"] == 0
    assert len(terminal.render(profile, recording="x.fsprobe")) > 100
    assert_untouched(one.pid)


@pytest.mark.needs_root
def test_mounts_are_those_of_the_program(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    need(
        os.getuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0,
        "unshare -m: not here",
    )
    point = tmp_path / "point"
    point.mkdir()
    script = (
        f"mount -t tmpfs planted {point} && echo ready && while read line; do test -e {point}/$line; echo did it; done"
    )
    one = start("unshare", "-m", "sh", "-c", script)
    assert one.stdout is not None
    assert one.stdout.readline() == "ready\n"
    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, lambda: ask(one, "x"))
    assert str(point) in {row["path"] for row in profile["manifest"]["mounts"]}
    assert rows(profile, "by_mount")[str(point)]["n_missing"] == 1


# ---- the program goes on ---------------------------------------------------------------------------------------------


def test_twenty_times_at_a_busy_program_of_eight_threads(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    (tmp_path / "busy.py").write_text(BUSY)
    one = start(sys.executable, "-I", str(tmp_path / "busy.py"), str(tmp_path), "120")
    counts = tmp_path / "counts"
    wait_for(lambda: counts.exists() and len(counts.read_text().split()) == 8)
    for number in range(20):
        before = read_counts(counts)
        done = attach.attach(one.pid, 0.15, str(tmp_path / f"{number}.fsprobe"), tmp_dir=str(scratch_of_the_test))
        assert done.warnings == []
        assert_untouched(one.pid)
        # each of the threads goes on
        wait_for(lambda then=before: all(now > n + 2 for now, n in zip(read_counts(counts), then, strict=True)))
        profile = pipeline.analyse(done.path)
        assert rows(profile, "by_path")["/etc/hostname"]["n_open"] > 8
        assert len(profile["manifest"]["attached"]["tids"]) == 9
        assert len(profile["metrics"]["by_process"]) == 1
    (tmp_path / "stop").write_text("")
    out, _ = one.communicate(timeout=LIMIT_S)
    assert (out, one.returncode) == ("done 8 True\n", 0)


def read_counts(path: Path) -> list[int]:
    return list(map(int, path.read_text().split()))


def test_the_time_is_kept(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sleep", "30")
    done = attach.attach(one.pid, 0.5, str(tmp_path / "x.fsprobe"), tmp_dir=str(scratch_of_the_test))
    assert 0.5 <= done.wall_s < 5
    assert_untouched(one.pid)


def test_a_stopped_program_stays_stopped(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    one.send_signal(signal.SIGSTOP)
    wait_for(lambda: state_of(one.pid)[0][0] == "T")
    attach.attach(one.pid, 0.3, str(tmp_path / "x.fsprobe"), tmp_dir=str(scratch_of_the_test))
    wait_for(lambda: state_of(one.pid) == [("T", 0)])
    one.send_signal(signal.SIGCONT)
    ask(one, "pass")


def test_a_program_that_ends_meanwhile(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start(sys.executable, "-I", "-c", "import time, sys; time.sleep(1.5); sys.exit(7)")
    wait_for(lambda: os.path.exists(f"/proc/{one.pid}/exe") and "python" in os.readlink(f"/proc/{one.pid}/exe"))
    done = attach.attach(one.pid, 60, str(tmp_path / "x.fsprobe"), tmp_dir=str(scratch_of_the_test))
    assert done.wall_s < LIMIT_S
    assert any("ended while it was traced, with exit code 7" in line for line in done.warnings)
    assert one.wait() == 7
    assert pipeline.analyse(done.path)["manifest"]["exit_code"] == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_early_and_the_recording_is_written(
    number: signal.Signals, start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    words = [*COMMAND, str(one.pid), "--for", "60", "-q", "-o", str(tmp_path / "x.fsprobe")]
    with subprocess.Popen([*words, "--tmp-dir", str(scratch_of_the_test)], env=clean_environment()) as attacher:
        wait_for(lambda: all(tracer for _, tracer in state_of(one.pid)))
        attacher.send_signal(number)
        assert attacher.wait(LIMIT_S) == 0
    assert pipeline.analyse(tmp_path / "x.fsprobe")["manifest"]["attached"]["for_s"] == 60
    assert_untouched(one.pid)
    ask(one, "pass")


def test_a_killed_fsprobe_lets_go(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    words = [*COMMAND, str(one.pid), "--for", "60", "-q", "--tmp-dir", str(scratch_of_the_test)]
    with subprocess.Popen(words, env=clean_environment()) as attacher:
        wait_for(lambda: all(tracer for _, tracer in state_of(one.pid)))
        attacher.kill()
    wait_for(lambda: not any(tracer for _, tracer in state_of(one.pid)))
    ask(one, "pass")
    assert_untouched(one.pid)
    shutil.rmtree(next(scratch_of_the_test.iterdir()))


# ---- what it refuses -------------------------------------------------------------------------------------------------


def test_no_such_process() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    with pytest.raises(BadInput, match=f"there is no process {gone.pid}"):
        attach.attach(gone.pid, 1)


def test_a_process_that_has_ended_but_was_not_waited_for() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    try:
        wait_for(lambda: state_of(pid)[0][0] == "Z")
        with pytest.raises(BadInput, match="has ended already"):
            attach.attach(pid, 1)
    finally:
        os.waitpid(pid, 0)


def test_itself() -> None:
    with pytest.raises(BadInput, match="fsprobe itself"):
        attach.attach(os.getpid(), 1)


def test_a_process_that_is_traced_already(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sleep", "30")
    other = start("strace", "-q", "-o", os.devnull, "-p", str(one.pid))
    wait_for(lambda: state_of(one.pid)[0][1] == other.pid)
    with pytest.raises(MachineCannot, match=rf"traced already, by process {other.pid} \(strace\)"):
        attach.attach(one.pid, 1, tmp_dir=str(scratch_of_the_test))
    assert state_of(one.pid)[0][1] == other.pid
    other.send_signal(signal.SIGINT)
    other.wait()


@pytest.mark.needs_root
def test_a_process_of_somebody_else(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    need(os.getuid() == 0, "only root can become somebody else")
    one = start("/bin/sleep", "30")

    def refused() -> str:
        try:
            attach.attach(one.pid, 1, str(tmp_path / "x.fsprobe"))
        except FsprobeError as error:
            return f"{error.exit_code} {error.message} / {error.hint}"
        return "nothing was refused"

    said = as_user(65534, refused)
    assert (
        said == f"4 process {one.pid} belongs to user id 0, you are 65534 / only root may trace the programs of others"
    )
    assert_untouched(one.pid)


def as_user(uid: int, act: Callable[[], str]) -> str:
    """Run something in a child of another user and give what it says."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        with open(ours, "rb") as source:
            said = source.read().decode()
        os.waitpid(pid, 0)
        return said
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os.write(theirs, act().encode())
    except BaseException as error:
        os.write(theirs, repr(error).encode())
    finally:
        os._exit(0)


@pytest.mark.parametrize(("scope", "said"), [(1, "only what it started itself"), (3, "switched off on this machine")])
def test_yama(scope: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel's words, where it has Yama; here its setting and strace's complaint are made up."""
    (tmp_path / attach.ERRORS).write_text("strace: attach: ptrace(PTRACE_SEIZE, 7): Operation not permitted\n")
    monkeypatch.setattr(attach, "_read_number", lambda path: scope)
    monkeypatch.setattr(attach.os, "getuid", lambda: os.geteuid() or 1000)
    monkeypatch.setattr(
        attach, "status_of", lambda pid: {"Uid": f"{os.geteuid() or 1000} 0 0 0", "State": "S (sleeping)"}
    )
    error = attach._refusal(attach.Target(7, [7], ["x"], "/x"), str(tmp_path))
    assert isinstance(error, MachineCannot)
    assert said in error.message
    assert error.hint


def test_without_strace(
    start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = start("/bin/sleep", "30")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineCannot, match="needs strace"):
        attach.attach(one.pid, 1)


def test_usage_errors_and_the_report(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    for words in (["abc"], ["0"], ["1", "--for", "0"], []):
        assert subprocess.run([*COMMAND, *words], capture_output=True, check=False).returncode == 2
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    done = subprocess.run([*COMMAND, str(gone.pid)], capture_output=True, check=False)
    assert (done.returncode, b"there is no process" in done.stderr, b"Traceback" in done.stderr) == (3, True, False)
    one = start("/bin/sleep", "30")
    words = [str(one.pid), "--for", "0.3", "-o", str(tmp_path / "x.fsprobe"), "--tmp-dir", str(scratch_of_the_test)]
    done = subprocess.run([*COMMAND, *words], capture_output=True, check=True)
    assert b"sleep" in done.stdout
    assert b"x.fsprobe" in done.stdout
