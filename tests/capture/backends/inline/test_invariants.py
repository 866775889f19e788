"""What the recorder may not do to a program: each invariant of the C sources."""

from __future__ import annotations

import itertools
import mmap
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe.events.ring import RingFacts, read
from fsprobe.model.events import ParseQuality, Process
from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON, SOURCES, ringfile

Program = Callable[[str], str]


def assert_alike(library: Path, command: list[str], **kwargs: object) -> recorded.Run:
    """The program does the same with the recorder as without."""
    plain = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    run = recorded.record(library, command, slots=400_000, **kwargs)  # type: ignore[arg-type]
    assert (run.returncode, run.stdout, run.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert run.facts.n_damaged == 0
    return run


def test_signals_jumps_and_a_sigsys_handler(library: Path, program: Program) -> None:
    run = assert_alike(library, [program("signals")])
    assert b"wrong 0, signals came" in run.stdout
    assert run.paths().count(b"/etc/passwd") > 40_000
    assert run.facts.n_lost <= 200, "at most one for each jump, which may come before the slot says whose it is"


def test_registers_and_errno(library: Path, program: Program) -> None:
    run = assert_alike(library, [program("registers")])
    assert run.stdout == b"done\n"
    assert b"/etc/passwd" in run.paths("stat"), "syscall() itself is recorded"


def test_pointers_that_lead_nowhere(library: Path, program: Program) -> None:
    run = assert_alike(library, [program("pointers")])
    assert run.stdout.count(b"\n") > 1000


def test_stack(library: Path, program: Program) -> None:
    plain = int(subprocess.run([program("stack")], capture_output=True, check=True, timeout=60).stdout)
    assert int(recorded.record(library, [program("stack")]).stdout) - plain <= 2000


def test_small_stacks_and_vfork(library: Path, program: Program) -> None:
    assert assert_alike(library, [program("vfork")]).returncode == 7


def test_cancelled_threads(library: Path, program: Program, tmp_path: Path) -> None:
    assert (
        b"read 1 poll 1 open 1 cleaned 2" in assert_alike(library, [program("cancel"), str(tmp_path / "fifo")]).stdout
    )


def test_destructors_of_a_cancelled_thread(library: Path, tmp_path: Path) -> None:
    """In nine calls, by both types of cancellation; and a signal's handler sees all frames of the call that it interrupts."""
    recorded.need(shutil.which("g++") is not None, "g++ compiles the test's program")
    out, fifo = tmp_path / "destructors", str(tmp_path / "fifo")
    source = recorded.HERE / "programs" / "destructors.cpp"
    subprocess.run(["g++", "-O1", "-pthread", "-o", str(out), str(source)], check=True, timeout=120)
    lines = assert_alike(library, [str(out), fifo]).stdout.decode().splitlines()
    assert len(lines) == 18
    assert {line.partition(": ")[2] for line in lines} == {"unwound 2 cancelled 1 destroyed 2 cleaned 1"}


def test_a_second_libc(library: Path, program: Program) -> None:
    run = assert_alike(library, [program("dlmopen")])
    assert run.paths("openat").count(b"/etc/hosts") == 1


@pytest.mark.parametrize("how", ["prctl", "seccomp"])
@pytest.mark.parametrize("who", ["alone", "fork"])
def test_in_a_sandbox_no_call_of_ours_is_made(library: Path, program: Program, how: str, who: str) -> None:
    run = assert_alike(library, [program("sandbox"), how, who])
    assert run.returncode == 5
    sandboxed = [call for call in run.calls if call.path in (b"/etc/hosts", b"relative", b"/etc/group")]
    assert [call.path for call in sandboxed][-3:] == [b"/etc/hosts", b"relative", b"/etc/group"]
    times = [call.t_ns or 0 for call in sandboxed]
    assert times == sorted(times)
    assert all(0 <= (call.dur_ns or 0) < 1_000_000_000 for call in sandboxed)


def test_calls_in_a_sandbox_are_their_threads(library: Path, program: Program) -> None:
    """Not those of a vfork's child that was the last one to be asked who it is, in the same memory."""
    run = assert_alike(library, [program("sandbox"), "seccomp", "vfork"])
    (started,) = [event.tid for event in run.events if isinstance(event, Process) and event.kind == "exec"]
    asked = [call.tid for call in run.calls if call.path == b"/etc/passwd"]
    assert asked[0] == started != asked[1]
    assert {call.tid for call in run.calls if call.path in (b"/etc/hosts", b"/etc/group")} == {started}


def test_a_mark_in_a_sandbox(library: Path, program: Program) -> None:
    """It reaches no kernel, so the filter does not kill the program; what the thread has used is not known."""
    run = recorded.record(library, [program("sandbox"), "seccomp", "alone", "mark"])
    assert (run.returncode, run.stdout) == (5, b"alive\n")
    assert run.facts.usages == []
    assert (
        subprocess.run([program("sandbox"), "seccomp", "alone", "mark"], capture_output=True, timeout=60).returncode
        == -signal.SIGSYS
    )


def test_a_program_started_in_a_sandbox_is_left_alone(library: Path) -> None:
    """A filter that kills for what the recorder asks at its start, and cat does not: madvise, getppid, geteuid, gettid."""
    numbers = (28, 107, 110, 186)
    rules = [(0x20, 0, 0, 0), *((0x15, len(numbers) - place, 0, number) for place, number in enumerate(numbers))]
    script = f"""
import ctypes, os, struct
rules = {[*rules, (6, 0, 0, 0x7FFF0000), (6, 0, 0, 0x80000000)]}
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code)), 16)
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 == libc.prctl(22, 2, program, 0, 0)
os.execv("/bin/cat", ["cat", "/etc/hostname"])
"""
    run = assert_alike(library, [PYTHON, "-c", script])
    assert run.returncode == 0
    assert len(run.facts.unseen) == 1


def test_asking_about_a_sandbox_begins_none(library: Path) -> None:
    asks = "ctypes.CDLL(None).prctl(21, 0, 0, 0, 0); ctypes.CDLL(None).syscall(317, 1, 99, None)"
    script = f"import ctypes, os; {asks}; os.chdir('/etc'); os.stat('hosts')"
    run = recorded.record(library, [PYTHON, "-c", script])
    assert run.returncode == 0
    assert b"/etc/hosts" in run.paths(), "the directory is still asked for"


def test_descriptors_are_the_programs_own(library: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "os.closerange(3, 1000)\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "import decimal, json\n"
        "os.write(fd, b'mine'); print(fd)\n"
    )
    run = assert_alike(library, [PYTHON, "-c", script, str(tmp_path / "out")])
    assert run.stdout == b"3\n"
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_a_forked_child_says_who_it_is(library: Path) -> None:
    script = "import os\nfor i in range(5):\n    if os.fork() == 0:\n        os.stat('/etc/hosts'); os._exit(i)\n    os.wait()"
    run = recorded.record(library, [PYTHON, "-c", script])
    tids = [call.tid for call in run.calls if call.path == b"/etc/hosts"]
    assert len(set(tids)) == 5
    assert run.calls[0].tid not in tids


def test_all_is_plain_code_and_data(library: Path) -> None:
    """No libc, no TLS, no relocation but the constructor's and the weak symbol that tells a libc."""

    def said(*words: str) -> str:
        return subprocess.run([*words, str(library)], capture_output=True, text=True, check=True, timeout=60).stdout

    assert re.findall(r"\bw? ?(\w+)$", said("nm", "-D", "--undefined-only"), re.MULTILINE) == ["__libc_start_main"]
    assert len(re.findall(r"R_X86_64_\w+", said("readelf", "-rW"))) == 2
    assert "TLS" not in said("readelf", "-lW")
    assert "NEEDED" not in said("readelf", "-dW")
    assert library.stat().st_size < 40_000
    for line in said("readelf", "-lW").splitlines():
        assert not re.match(r"\s+(LOAD|GNU_STACK)\b.*\bRWE\b", line)


def test_each_source_says_its_invariants() -> None:
    for name in (
        *recorded.build.SOURCES,
        "kernel.h",
        "ring/ring.h",
        "calls.h",
        "rewriting/sites.h",
        "rewriting/elf.h",
        "ring/slot.h",
        "image.lds",
    ):
        assert (SOURCES / name).read_text().startswith("/*"), name
    told = sum((SOURCES / name).read_text().count("Invariant:") for name in recorded.build.SOURCES)
    assert told >= 15


def test_killed_at_any_moment_nothing_is_lost(library: Path, program: Program, tmp_path: Path) -> None:
    chance = random.Random(16)
    counter, n_calls = tmp_path / "counter", 0
    for _ in range(12):
        ring = recorded.scratch() / "kill"
        ringfile.create(str(ring), 1 << 18, 1 << 18)
        counter.write_bytes(bytes(8))
        with subprocess.Popen(
            [program("count"), str(counter)], env=ringfile.environment(dict(os.environ), str(library), str(ring))
        ) as process:
            time.sleep(0.03 + chance.random() * 0.05)
            process.kill()
        facts, quality = RingFacts(), ParseQuality()
        seen = sum(getattr(event, "path", b"") == b"/etc/passwd" for event in read(ring.read_bytes(), quality, facts))
        ring.unlink()
        done = int.from_bytes(counter.read_bytes(), "little")
        assert done <= seen <= done + 1
        assert facts.n_damaged == 0
        assert facts.n_lost <= 1
        n_calls += done
    assert n_calls > 10_000


def test_a_full_ring_loses_and_counts(library: Path) -> None:
    script = "import os\nfor i in range(20000): os.stat('/etc/hosts')"
    run = recorded.record(library, [PYTHON, "-c", script], slots=5000, most=5000)
    assert run.returncode == 0
    assert run.facts.n_lost > 15_000
    assert len(run.data) == ringfile.HEADER_BYTES + 5000 * 256
    assert run.facts.n_lost + run.facts.n_slots == int.from_bytes(run.data[64:72], "little")


@pytest.mark.alone
def test_a_ring_that_grows_loses_nothing(library: Path) -> None:
    script = "import os\nfor i in range(60000): os.stat('/etc/hosts')"
    run = recorded.record(library, [PYTHON, "-c", script], slots=16384, most=1 << 20, grow_s=0.005)
    assert run.facts.n_lost == 0
    assert run.paths().count(b"/etc/hosts") >= 60_000


@pytest.mark.parametrize("what", ["stat", "threads", "forks", "names"])
def test_where_the_recorder_comes_late_it_is_waited_for(library: Path, tmp_path: Path, what: str) -> None:
    """It looks each 50 ms, and each time the slots that it has allocated ahead are long used up."""
    script = {
        "stat": "for i in range(60000): os.stat('/etc/hosts')",
        "threads": "import threading\n"
        "def work():\n for i in range(15000): os.stat('/etc/hosts')\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "[one.start() for one in threads]; [one.join() for one in threads]",
        "forks": "for n in range(4):\n if os.fork() == 0: break\nfor i in range(12000): os.stat('/etc/hosts')\n"
        "while True:\n try: os.wait()\n except ChildProcessError: break",
        "names": f"os.chdir({str(tmp_path)!r})\nos.makedirs('{'d' * 200}/' * 4)\nos.chdir('{'d' * 200}/' * 4)\n"
        "for i in range(4000): os.access('x', 0)\nfor i in range(60000): os.stat('/etc/hosts')",
    }[what]
    run = recorded.record(library, [PYTHON, "-c", f"import os\n{script}"], slots=3000, grow_s=0.05)
    assert run.returncode == 0
    assert (run.facts.n_lost, run.facts.n_cut) == (0, 0)
    assert run.paths().count(b"/etc/hosts") >= 60_000


@pytest.mark.alone
def test_waiting_for_slots_is_no_time_of_a_call(library: Path) -> None:
    script = "import os\nfor i in range(40000): os.stat('/etc/hosts')"
    run = recorded.record(library, [PYTHON, "-c", script], slots=3000, grow_s=0.15)
    assert run.facts.n_lost == 0
    waits = [
        later.t_ns - call.t_ns
        for call, later in itertools.pairwise(call for call in run.calls if call.path == b"/etc/hosts")
        if call.t_ns is not None and later.t_ns is not None
    ]
    assert max(waits) > 60_000_000
    assert max(call.dur_ns or 0 for call in run.calls if call.path == b"/etc/hosts") < 60_000_000


@pytest.mark.alone
def test_a_recorder_that_is_gone_is_waited_for_once(library: Path) -> None:
    """By the first of two programs, and no longer than a fraction of a second."""
    script = (
        "import os, subprocess\nfor i in range(3000): os.stat('/etc/hosts')\nsubprocess.run(['ls', '/usr'], stdout=-3)"
    )
    begin = time.monotonic()
    run = recorded.record(library, [PYTHON, "-c", script], slots=1000, most=1 << 20)
    assert time.monotonic() - begin < 5
    assert run.returncode == 0
    assert run.facts.n_lost > 2000
    assert int.from_bytes(run.data[ringfile.STAYS_AT : ringfile.STAYS_AT + 8], "little") == 1


def test_a_ring_that_may_not_grow_says_so(library: Path, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ringfile.create(str(ring), 10, 1000)
    with ring.open("r+b") as file:
        file.seek(ringfile.NEXT_AT)
        file.write((20).to_bytes(8, "little"))
    flag = slice(ringfile.STAYS_AT, ringfile.STAYS_AT + 8)
    assert ringfile.grow(str(ring), 100, 1000, lambda n_bytes: False) == (20, 10)
    assert any(ring.read_bytes()[flag])
    assert ringfile.grow(str(ring), 100, 1000) == (20, 120)
    assert not any(ring.read_bytes()[flag])


def test_a_full_filesystem_harms_nobody(library: Path, tmp_path: Path) -> None:
    """A ring in a tmpfs that has no room to grow: what does not fit is lost, no page is touched that is not there."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ring = place / "ring"
        ringfile.create(str(ring), 4000, 1 << 20)
        (place / "filler").write_bytes(b"x" * 900_000)
        script = "import os\nfor i in range(20000): os.stat('/etc/hosts')"
        env = ringfile.environment(dict(os.environ), str(library), str(ring))
        with subprocess.Popen([PYTHON, "-c", script], env=env, stderr=subprocess.PIPE) as process:
            while process.poll() is None:
                ringfile.grow(str(ring), 16384)
                time.sleep(0.002)
            assert process.stderr is not None
            assert (process.returncode, process.stderr.read()) == (0, b"")
        facts = RingFacts()
        list(read(ring.read_bytes(), ParseQuality(), facts))
        assert facts.n_lost > 10_000
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_two_hundred_process_trees(library: Path) -> None:
    script = (
        "for i in $(seq 40); do for j in 1 2 3 4 5; do (cat /etc/hosts | wc -l) >/dev/null & done; wait; done; "
        "for i in 1 2 3 4 5; do bash -c 'for j in 1 2 3; do /bin/true & done; wait'; done"
    )
    run = recorded.record(library, ["bash", "-c", script], slots=200_000)
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.facts.unseen == []
    assert (run.facts.n_lost, run.facts.n_damaged) == (0, 0)


def test_locked_memory_locks_no_hole(library: Path) -> None:
    """mlockall of a program fills what is mapped: behind the ring's end there is nothing to fill."""
    script = "import ctypes, os; print(ctypes.CDLL(None).mlockall(3)); os.stat('/etc/hosts')"
    run = recorded.record(library, [PYTHON, "-c", script], slots=5000, most=1 << 22)
    assert run.returncode == 0
    recorded.need(run.stdout == b"0\n", "who may lock so much memory")
    assert b"/etc/hosts" in run.paths()
    assert len(run.data) == ringfile.HEADER_BYTES + 5000 * 256
    assert run.allocated_bytes <= len(run.data) + mmap.PAGESIZE


def test_a_limit_of_addresses_leaves_the_program_its_own(library: Path) -> None:
    """Of a ring that may grow to 256 MiB, what is used already and a 64th of the limit stays mapped; and calls go on to be noted."""
    script = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28,) * 2); os.stat('/etc/hosts')\n"
        "ends = [l.split()[0].split('-') for l in open('/proc/self/maps') if '/ring.' in l]\n"
        "print(sum(int(b, 16) - int(a, 16) for a, b in ends))"
    )
    run = recorded.record(library, [PYTHON, "-c", script])
    assert run.returncode == 0
    n_bytes = int(run.stdout)
    assert (1 << 28) // 64 < n_bytes < (1 << 28) // 64 + (run.facts.n_slots + 1) * 256 + ringfile.HEADER_BYTES + 8192
    assert b"/etc/hosts" in run.paths()


def test_a_program_that_is_started_below_a_deep_directory(library: Path, tmp_path: Path) -> None:
    """The directory's 2.9 kB stay in the room that was taken for them: no other call's slot is written over."""
    script = (
        "import os, subprocess\n"
        "for n in range(14): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
        "os.symlink('/bin/true', 'here')\n"
        "for n in range(3): subprocess.run(['./here', 'x' * 250]); os.stat('.')\n"
    )
    run = recorded.record(library, [PYTHON, "-c", script], cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, b"")
    assert (run.facts.n_damaged, run.facts.n_lost, run.facts.n_cut) == (0, 0, 0)
    here = b"/".join([os.fsencode(tmp_path), *[b"d" * 200] * 14, b"here"])
    assert [path for path in run.paths("execve") if path.endswith(b"/here")] == [here] * 3
    shutil.rmtree(tmp_path / ("d" * 200))
