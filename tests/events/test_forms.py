"""Logs as they reach a support desk: with other columns, prefixes, encodings and packing they say what the plain log says."""

from __future__ import annotations

import bz2
import lzma
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe.errors import BadInput
from fsprobe.events.strace import parser, sources
from fsprobe.events.strace.arguments import open_flags
from fsprobe.model.events import Call, ParseQuality, Process
from tests.conftest import need
from tests.events.reading import mode_kind

DATA = Path(__file__).parent.parent / "data" / "strace"
LOGS = [DATA / "shell_own_command.log", DATA / "unshare_pid_namespace.log"]


def calls_of(path: Path) -> tuple[list[tuple[object, ...]], ParseQuality]:
    quality = ParseQuality()
    events = parser.parse(sources.read_logs([path]), quality)
    return [(e.tid, e.syscall, e.path, e.error, e.result) for e in events if isinstance(e, Call)], quality


def each_line(prefix: bytes) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(prefix + line for line in data.splitlines(keepends=True))


DRESSED: dict[str, Callable[[bytes], bytes]] = {
    "mail": each_line(b"> "),
    "mail twice": each_line(b">> "),
    "srun --label": each_line(b"  3: "),
    "mpirun --tag-output": each_line(b"[1,0]<stderr>:"),
    "journal": each_line(b"Nov 28 03:00:01 nid001234 train[77]: "),
    "journal of systemd-run": each_line(b"2026-11-28T03:00:01+0000 nid001234 strace[77]: "),
    "container log": each_line(b"2026-11-28T03:00:01.123456789Z stderr F "),
    "BOM": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode("latin-1").encode("utf-16"),
    "UTF-16 of the other end": lambda data: b"\xfe\xff" + data.decode("latin-1").encode("utf-16-be"),
    "DOS line ends": lambda data: data.replace(b"\n", b"\r\n"),
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "xz of a quoted mail": lambda data: lzma.compress(each_line(b"> ")(data)),
}


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
@pytest.mark.parametrize("how", DRESSED)
def test_a_dressed_log_says_the_same(log: Path, how: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(DRESSED[how](log.read_bytes()))
    wanted, plain = calls_of(log)
    found, quality = calls_of(tmp_path / "log")
    assert wanted
    assert found == wanted
    assert quality.n_unparsed == plain.n_unparsed


@pytest.mark.parametrize("options", [["-i"], ["-n"], ["-i", "-n"], ["-n", "-ttt", "-T", "-y"]], ids=" ".join)
def test_columns_that_strace_adds(options: list[str], strace_program: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    subprocess.run([strace_program, "-f", *options, "-o", str(log), sys.executable, "-S", "-c", "pass"], check=True)
    lines = log.read_bytes().splitlines()
    n_opens = sum(b"openat(" in line and b"resumed" not in line for line in lines)
    found, quality = calls_of(log)
    assert n_opens > 5
    assert sum(call[1] == "openat" for call in found) == n_opens
    assert quality.n_unparsed == 0


_FOR_NUMBERS = """
import os, threading
os.chdir("/usr"); os.stat("lib"); os.lstat("/bin"); os.fstat(0)
place = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY); other = os.dup(place); os.close(place)
os.stat("hostname", dir_fd=other); os.access("passwd", os.R_OK, dir_fd=other, follow_symlinks=False)
thread = threading.Thread(target=os.stat, args=("share",)); thread.start(); thread.join()
os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
os.close(os.open("/dev/null", os.O_WRONLY | os.O_NOFOLLOW))
"""


@pytest.mark.parametrize("options", [[], ["-y", "-T"]], ids=" ".join)
def test_numbers_in_the_place_of_names(options: list[str], strace_program: str, tmp_path: Path) -> None:
    found = []
    for form in ("abbrev", "raw"):
        log = tmp_path / form
        command = [strace_program, "-f", "-X", form, *options, "-o", str(log), sys.executable, "-S", "-c", _FOR_NUMBERS]
        subprocess.run(command, check=True)
        events = list(parser.parse(sources.read_logs([log]), ParseQuality()))
        calls = [
            (e.syscall, e.path, e.error, open_flags(e) - {"O_RDONLY", "AT_STATX_SYNC_AS_STAT"}, mode_kind(e))
            for e in events
            if isinstance(e, Call)
        ]
        # (when a thread's end is seen depends on who runs first)
        found.append((calls, sorted(e.kind for e in events if isinstance(e, Process))))
    assert b"AT_FDCWD" not in (tmp_path / "raw").read_bytes()
    assert {b"/usr/lib", b"/etc/hostname"} <= {call[1] for call in found[0][0]}
    assert found[1] == found[0]


@pytest.mark.parametrize("width", [60, 72, 78])
def test_lines_that_a_mail_folded(width: int, tmp_path: Path) -> None:
    folded = []
    for line in LOGS[0].read_text().splitlines():
        folded += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
    (tmp_path / "log").write_text("\n".join(folded) + "\n")
    wanted, _ = calls_of(LOGS[0])
    found, _ = calls_of(tmp_path / "log")
    # what was between two words of a string is not known again; which call, on what, with which result is
    assert [call[1:4] for call in found] == [call[1:4] for call in wanted]


def test_what_strace_wrote_and_shows_no_path_is_named(strace_program: str, tmp_path: Path) -> None:
    for options, words in (
        (["-c"], "summary that strace -c writes"),
        (["-e", "raw=all"], "shows addresses where paths stand"),
    ):
        log = tmp_path / "log"
        subprocess.run([strace_program, "-f", *options, "-o", str(log), "/bin/true"], check=True)
        with pytest.raises(BadInput, match=words):
            calls_of(log)


def test_a_log_with_its_summary_behind_it_is_a_log(strace_program: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    subprocess.run([strace_program, "-f", "-C", "-o", str(log), "/bin/true"], check=True)
    need(b"% time" in log.read_bytes(), "this strace appends no summary")
    assert calls_of(log)[0]


def test_damaged_xz_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "log.xz").write_bytes(lzma.compress(LOGS[0].read_bytes() * 200)[:-500])
    with pytest.raises(BadInput, match="damaged or cut short"):
        calls_of(tmp_path / "log.xz")
