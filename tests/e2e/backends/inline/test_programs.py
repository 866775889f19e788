"""What the inline recorder does to programs: nothing; and what it can't see is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsprobe.capture import backends
from fsprobe.capture.backends.protocol import Machine
from fsprobe.errors import FsprobeError
from fsprobe.recording.file import Recording
from fsprobe.report import caveats
from tests.conftest import need
from tests.e2e.backends.inline.conftest import Record

LARGE_TLS = (
    '__attribute__((tls_model("initial-exec"))) __thread char room[70000] = {1}; int here(void) { return room[1]; }'
)


@pytest.fixture
def compiled(tmp_path: Path):  # type: ignore[no-untyped-def]
    need(shutil.which("gcc"), "gcc compiles the test's program")

    def compile_(name: str, text: str, *more: str) -> str:
        source = tmp_path / f"{name}.c"
        source.write_text(text)
        subprocess.run(["gcc", "-w", "-o", str(tmp_path / name), str(source), *more], check=True, timeout=60)
        return str(tmp_path / name)

    return compile_


def report_of(path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fsprobe", "report", str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


BURSTS = """
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
static void *run(void *arg) { struct stat s; for (int i = 0; i < 200000; i++) stat("/etc/hosts", &s); return arg; }
int main(void) { pthread_t t[2]; usleep(1500000); for (int i = 0; i < 2; i++) pthread_create(&t[i], 0, run, 0);
    for (int i = 0; i < 2; i++) pthread_join(t[i], 0); return 0; }
"""


def test_a_program_that_was_quiet_and_bursts_out_loses_nothing(compiled, record: Record) -> None:  # type: ignore[no-untyped-def]
    # by then it is looked at ten times a second, and two threads use up in half of that what is kept ready
    ran = record([compiled("bursts", BURSTS, "-pthread")])
    assert [row.n_stat for row in ran.profile.metrics.by_path if row.key == "/etc/hosts"] == [400_000]
    assert caveats.alarms(ran.profile) == []


# ---- sacred -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status"),
    [("echo out; echo err >&2; exit 7", 7), ("kill -TERM $$", -signal.SIGTERM), ("nonexistent-program; exit 127", 127)],
)
def test_output_and_exit_code_are_the_commands(script: str, status: int, record: Record) -> None:
    plain = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True)
    ran = record(["/bin/sh", "-c", script])
    assert plain.returncode == status
    assert (ran.status, ran.out, ran.err) == (plain.returncode, plain.stdout, plain.stderr)
    assert ran.profile.manifest.exit_code == (status if status >= 0 else 128 - status)
    assert caveats.alarms(ran.profile) == []


def test_what_a_program_sees_of_it(record: Record) -> None:
    """Two variables; no library, no descriptor, no thread, no signal handler."""
    code = (
        "import json, os, signal, threading\n"
        "maps = open('/proc/self/maps').read()\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(json.dumps([sorted(os.environ), sorted(os.listdir('/proc/self/fd')), 'fsprobe-inline' in maps, "
        "[status[name].strip() for name in ('SigBlk', 'SigIgn', 'SigCgt', 'Threads')], ' rwx' in maps or 'rwxp' in maps]))"
    )
    command = [sys.executable, "-c", code]
    plain = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seen = json.loads(record(command).out)
    assert set(seen[0]) - set(plain[0]) == {"LD_AUDIT", "FSPROBE_RING", "PYTHONPATH"} - set(plain[0])
    assert seen[1:] == plain[1:]
    assert plain[2:] == [False, plain[3], False]


def test_signals_reach_the_command(record: Record, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(42))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "time.sleep(60)"
    )
    path = tmp_path / "x.fsprobe"
    words = [
        "run",
        "-q",
        "--record-only",
        "--backend",
        "inline",
        "--force",
        "-o",
        str(path),
        "--",
        sys.executable,
        "-c",
        code,
    ]
    with subprocess.Popen([sys.executable, "-m", "fsprobe", *words]) as process:
        _wait_for(tmp_path / "ready")
        process.send_signal(signal.SIGUSR1)
        assert process.wait(30) == 42
    assert "ring" in Recording(str(path)).names()


@pytest.mark.parametrize("backend", ["inline", "audit"])
def test_a_signal_to_all_comes_once(backend: str, tmp_path: Path) -> None:
    """As `kill -- -GROUP`, `timeout` and batch systems send it: to fsprobe and to the command."""
    code = (
        "import signal, time\n"
        "had = []\n"
        "signal.signal(signal.SIGUSR1, lambda *_: had.append(1))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "while not had: time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "print(len(had))"
    )
    words = [
        "run",
        "-q",
        "--record-only",
        "--backend",
        backend,
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        "--",
        sys.executable,
        "-c",
        code,
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "fsprobe", *words], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        _wait_for(tmp_path / "ready")
        os.killpg(process.pid, signal.SIGUSR1)
        assert process.communicate(timeout=30)[0] == b"1\n"
        assert process.returncode == 0


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_daemon_outlives_the_run_without_a_word(record: Record, tmp_path: Path) -> None:
    """The ring is gone then; LD_AUDIT still names a file that is there and does nothing."""
    out, go = tmp_path / "out", tmp_path / "go"
    script = f"(while [ ! -e {go} ]; do sleep 0.05; done; ls {tmp_path} | wc -l; {sys.executable} -c 'print(5)') >{out} 2>&1 &"
    ran = record(["/bin/sh", "-c", script], "--wait-descendants", "0")
    assert ran.status == 0
    assert ran.profile.manifest.descendants_left
    go.touch()
    end = time.monotonic() + 60
    while "5\n" not in out.read_text():
        assert time.monotonic() < end, out.read_text()
        time.sleep(0.05)
    assert len(out.read_text().split()) == 2, "nothing but what they print"


def test_who_outlives_the_command_is_waited_for(record: Record) -> None:
    ran = record(["/bin/sh", "-c", "(sleep 0.5; cat /etc/hostname >/dev/null) &"], "--wait-descendants", "30")
    assert not ran.profile.manifest.descendants_left
    assert any(row.key == "/etc/hostname" for row in ran.profile.metrics.by_path)


# ---- preloaded libraries and static TLS ---------------------------------------------------------------------------


def test_a_preloaded_library_with_much_static_tls_lives(compiled, record: Record, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    preloaded = compiled("libpre.so", LARGE_TLS, "-shared", "-fPIC")
    ran = record(["/bin/sh", "-c", f"LD_PRELOAD={preloaded} cat /etc/hostname >/dev/null"])
    assert (ran.status, ran.err) == (0, "")
    assert [os.path.basename(name) for name in ran.profile.quality.by_preload] == ["cat"]
    assert any(row.key == "/etc/hostname" for row in ran.profile.metrics.by_path)
    ran = record(["/bin/cat", "/etc/hostname"], environment={"LD_PRELOAD": preloaded})
    assert (ran.status, ran.err) == (0, "")
    assert any(row.key == "/etc/hostname" for row in ran.profile.metrics.by_path)
    assert any("preloaded" in line for line in caveats.quality_lines(ran.profile))


def test_a_child_that_does_not_start_is_the_reports_first_line(compiled, record: Record, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    compiled("liblarge.so", LARGE_TLS, "-shared", "-fPIC")
    main = "int here(void); int main(void) { return here(); }"
    program = compiled("program", main, f"-L{tmp_path}", "-llarge", f"-Wl,-rpath,{tmp_path}")
    assert subprocess.run([program]).returncode == 0
    if subprocess.run([program], env={**os.environ, "LD_AUDIT": library()}, capture_output=True).returncode != 127:
        pytest.skip("this loader leaves enough static TLS")
    ran = record(["/bin/sh", "-c", f"{program}; ls / >/dev/null"])
    assert ran.profile.quality.not_started == {program: 1}
    lines = report_of(ran.path)
    first = next(line for line in lines[3:] if line.strip())
    assert first.startswith("1 program ended with exit code 127")
    # as the command itself it is refused ahead, and not run
    ran = record([program])
    assert ran.status == 125
    assert "static TLS" in ran.err
    assert not ran.path.exists()


def library() -> str:
    from fsprobe.capture.backends.inline import library as place

    path, why = place.find(os.environ)
    assert not why
    return path


# ---- not seen -----------------------------------------------------------------------------------------------------


def test_programs_that_cannot_be_seen_are_named(compiled, record: Record) -> None:  # type: ignore[no-untyped-def]
    static = compiled("static", "int main(void) { return 0; }", "-static")
    ran = record(["/bin/sh", "-c", f"{static}; {static}; env -i /bin/true; ls / >/dev/null"])
    assert ran.profile.quality.unseen == {static: 2, "/bin/true": 1}
    assert any("3 started programs not seen" in line and static in line for line in caveats.quality_lines(ran.profile))


def test_a_static_command_is_refused(compiled, record: Record, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    static = compiled(
        "static", f'#include <stdio.h>\nint main(void) {{ fopen("{tmp_path}/ran", "w"); return 0; }}', "-static"
    )
    ran = record([static])
    assert ran.status == 125
    assert "linked statically" in ran.err
    assert "strace or ptrace" in ran.err
    assert not (tmp_path / "ran").exists()


# ---- the ring's bound, and a killed fsprobe -----------------------------------------------------------------------


def test_what_is_lost_is_a_number(record: Record) -> None:
    n = 5000
    ran = record(
        [sys.executable, "-c", f"import os\nfor _ in range({n}): os.stat('/etc/hostname')"],
        "--max-log",
        "256K",
        quiet=False,
    )
    quality = ran.profile.quality
    assert quality.n_lines == 1024
    assert ran.profile.metrics.n_metadata + quality.n_lost > n
    assert quality.n_lost > n - 1024
    assert "were lost" in ran.err
    assert ran.profile.manifest.log_truncated == "the log reached --max-log"
    assert any("lost for want of room" in line for line in caveats.quality_lines(ran.profile))


def test_a_ring_that_grows_loses_nothing(record: Record) -> None:
    n = 150_000
    profile = record([sys.executable, "-c", f"import os\nfor _ in range({n}): os.stat('/etc/hostname')"]).profile
    assert profile.quality.n_lost == 0
    assert profile.metrics.by_syscall["newfstatat"].calls >= n if "newfstatat" in profile.metrics.by_syscall else True
    assert next(row for row in profile.metrics.by_path if row.key == "/etc/hostname").n_stat == n


@pytest.mark.alone
def test_many_calls_after_a_quiet_time_are_all_seen(record: Record) -> None:
    n = 150_000
    profile = record(
        [sys.executable, "-c", f"import os, time\ntime.sleep(1.5)\nfor _ in range({n}): os.stat('/etc/hostname')"]
    ).profile
    assert profile.quality.n_lost == 0
    assert next(row for row in profile.metrics.by_path if row.key == "/etc/hostname").n_stat == n


def test_a_killed_fsprobe_is_salvaged(tmp_path: Path) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    code = (
        f"import os, time\nopen({str(ready)!r}, 'w').close()\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.05)\n"
        "os.stat('/etc/hostname')\nraise SystemExit(9)"
    )
    words = [
        "run",
        "-q",
        "--record-only",
        "--backend",
        "inline",
        "--tmp-dir",
        str(tmp_path),
        "--force",
        "-o",
        str(tmp_path / "x"),
    ]
    with subprocess.Popen([sys.executable, "-m", "fsprobe", *words, "--", sys.executable, "-c", code]) as process:
        _wait_for(ready)
        process.kill()
    (scratch,) = [path for path in tmp_path.glob("fsprobe-*") if path.is_dir()]
    salvage = [sys.executable, "-m", "fsprobe", "salvage", str(scratch), "-o"]
    done = subprocess.run([*salvage, str(tmp_path / "half.fsprobe")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "still running" in done.stderr
    assert scratch.exists()
    go.touch()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        done = subprocess.run([*salvage, str(tmp_path / "whole.fsprobe")], capture_output=True, text=True, timeout=60)
        if "still running" not in done.stderr:
            break
        time.sleep(0.1)
    assert not scratch.exists()
    manifest = Recording(str(tmp_path / "whole.fsprobe")).manifest
    assert (manifest["salvaged"], manifest["exit_code"]) == (True, 9)
    from fsprobe import pipeline

    assert any(row.key == "/etc/hostname" for row in pipeline.analyse(tmp_path / "whole.fsprobe").metrics.by_path)


# ---- chosen by name alone -----------------------------------------------------------------------------------------


def test_auto_never_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "inline" in backends.TABLE
    assert backends.best(Machine(os.environ)).name != "inline"
    for name in [name for name in backends.TABLE if name != "inline"]:
        one = type(backends.named(name))
        monkeypatch.setattr(one, "why_not", lambda self, machine: "not here")
    with pytest.raises(FsprobeError, match="no backend works here"):
        backends.best(Machine(os.environ))


def test_a_tracer_goes_first(record: Record, strace_program: str) -> None:
    ran = record(["/bin/true"], backend="inline+strace")
    assert ran.status == 125
    assert "strace+inline" in ran.err


def test_under_a_limited_address_space(tmp_path: Path) -> None:
    """The ring takes a small part of it, and the program keeps the rest."""
    path = tmp_path / "x.fsprobe"
    script = 'ulimit -v 4000000 && exec "$@"'
    code = "x = bytearray(1 << 30); import json"
    words = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "-q",
        "--record-only",
        "--backend",
        "inline",
        "--force",
        "-o",
        str(path),
        "--",
    ]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words, sys.executable, "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Recording(str(path)).manifest["max_slots"] < 1 << 20
