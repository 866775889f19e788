"""One log of what the processes noted: order, who started whom, and files that are cut or are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.capture import backends, options
from fsprobe.capture.backends import text_log
from fsprobe.capture.backends.audit import notes
from fsprobe.capture.backends.audit.backend import Audit
from fsprobe.capture.backends.protocol import Machine, Run
from fsprobe.capture.backends.ptrace.backend import Ptrace
from fsprobe.capture.directories import room
from fsprobe.capture.process.start import Launch
from fsprobe.capture.process.start import Process as Started
from fsprobe.capture.process.wait import Outcome
from fsprobe.errors import FsprobeError
from fsprobe.events.strace import parser
from fsprobe.model.events import Call, ParseQuality, Process

STAT = b'newfstatat(AT_FDCWD, "/%s", 0x0, 0) = 0'


def gather(tmp_path: Path, files: dict[str, list[bytes]], tail: bytes = b"") -> list[bytes]:
    place = tmp_path / "marks"
    place.mkdir()
    for name, lines in files.items():
        (place / f"calls.{name}").write_bytes(b"".join(line + b"\n" for line in lines) + tail)
    assert notes.gather(str(tmp_path), str(tmp_path / "log")) == ""
    return (tmp_path / "log").read_bytes().splitlines()


def birth(word: str, pid: int, parent: int, at: int, by: int = 0, by_at: int = 0) -> bytes:
    return b"!%s %d %d %d %d %d %d" % (word.encode(), pid, parent, pid, at, by, by_at)


def call(tid: int, at: int, name: bytes) -> bytes:
    return b"%d %d %s" % (tid, at, STAT % name)


def names(lines: list[bytes]) -> list[bytes]:
    return [line.split(b" ", 2)[2] for line in lines]


def test_processes_are_merged_by_time(tmp_path: Path) -> None:
    lines = gather(
        tmp_path,
        {
            "7.aa": [birth("begin", 7, 1, 100), call(7, 110, b"a"), call(7, 300, b"d")],
            "8.bb": [birth("begin", 8, 7, 200), call(8, 210, b"b"), call(8, 220, b"c")],
        },
    )
    assert [line for line in names(lines) if line.startswith(b"newf")] == [
        STAT % name for name in (b"a", b"b", b"c", b"d")
    ]
    events = list(parser.parse(iter(lines), quality := ParseQuality()))
    assert quality.n_unparsed == 0
    assert [(event.kind, event.tid, event.child) for event in events if isinstance(event, Process)] == [("fork", 7, 8)]
    stamps = [event.t_ns for event in events if isinstance(event, Call)]
    assert [later - stamps[0] for later in stamps if later is not None and stamps[0] is not None] == [0, 100, 110, 190]


def test_a_fork_is_placed_where_the_parent_forked_and_an_exec_is_no_birth(tmp_path: Path) -> None:
    lines = gather(
        tmp_path,
        {
            "7.aa": [birth("begin", 7, 1, 100), call(7, 150, b"before"), call(7, 170, b"after")],
            "9.bb": [birth("fork", 9, 7, 200, by=7, by_at=160), call(9, 210, b"child")],
            "9.cc": [birth("begin", 9, 7, 300), call(9, 310, b"image")],
        },
    )
    clones = [line for line in names(lines) if line.startswith(b"clone")]
    assert len(clones) == 1
    assert b"= 9" in clones[0]
    order = names(lines)
    assert order.index(STAT % b"before") < order.index(clones[0]) < order.index(STAT % b"after")


def test_a_stamp_that_goes_back_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    lines = gather(tmp_path, {"7.aa": [birth("begin", 7, 1, 100), call(7, 120, b"one"), call(10, 119, b"two")]})
    assert names(lines) == [STAT % b"one", STAT % b"two"]


@pytest.mark.parametrize("damage", ["no header", "cut header", "empty", "binary"])
def test_a_file_that_is_none_costs_itself_alone(damage: str, tmp_path: Path) -> None:
    bad = {
        "no header": [call(8, 5, b"x")],
        "cut header": [b"!begin 8 7"],
        "empty": [],
        "binary": [bytes(range(256)) * 9],
    }
    lines = gather(tmp_path, {"7.aa": [birth("begin", 7, 1, 100), call(7, 120, b"one")], "8.bb": bad[damage]})
    assert names(lines) == [STAT % b"one"]


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    lines = gather(tmp_path, {"7.aa": [birth("begin", 7, 1, 100), call(7, 120, b"one")]}, tail=b"7 130 newfst")
    assert names(lines) == [STAT % b"one"]


def test_a_place_that_was_taken_away_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "calls.7.aa").write_bytes(birth("begin", 7, 1, 100) + b"\n" + call(7, 120, b"one") + b"\n")
    notes.stop_writers(str(tmp_path))
    assert not (tmp_path / "marks").exists()
    assert notes.gather(str(tmp_path), str(tmp_path / "log")) == ""
    assert notes.gather(str(tmp_path), str(tmp_path / "log")) == "", "it can be done again"
    assert (tmp_path / "log").read_bytes().endswith(STAT % b"one" + b"\n")


def test_nothing_to_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        notes.gather(str(tmp_path), str(tmp_path / "log"))


@pytest.mark.parametrize("words", [["--no-markers"], ["--markers", "time"]])
def test_it_is_made_of_markers(words: list[str]) -> None:
    chosen = options.parse(["--backend", "audit", *words, "--", "true"])
    with pytest.raises(FsprobeError, match="markers"):
        backends.choose(chosen, Machine({"PATH": "/usr/bin"}))


def test_auto_takes_it_last_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ptrace, "why_not", lambda self, machine: "can't trace: Operation not permitted")
    (chosen,) = backends.choose(options.parse(["--", "true"]), Machine({"PATH": str(tmp_path)}))
    assert chosen.name == "audit"
    launch = Launch(["true"], {})
    assert isinstance(chosen, Audit)
    try:
        assert chosen.prepare(Run(["true"], {}), launch) is launch
    finally:
        assert chosen.witness is not None
        chosen.witness.close()
    assert "no strace" in chosen.why
    assert "Operation not permitted" in chosen.why


def test_notes_that_can_not_be_read_are_counted(tmp_path: Path) -> None:
    """Once more is tried; what fails for good is in the reason."""
    marks = tmp_path / "marks"
    marks.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_bytes(b"x")
    (marks / (room.NOTED + "1.aa")).symlink_to(tmp_path / "elsewhere")
    assert "1 files of what interpreters noted can't be read" in notes.gather(str(tmp_path), str(tmp_path / "log"))


def test_why_the_notes_were_cut_is_said_beside_what_is_missing(tmp_path: Path) -> None:
    """Both reasons: calls that had no room are not a reason instead of the cut."""
    marks = tmp_path / "marks"
    marks.mkdir(mode=0o700)
    (marks / (room.NOTED + "1.aa")).symlink_to(tmp_path)
    audit = Audit()
    audit.settle(str(tmp_path), str(tmp_path))
    audit.truncated = text_log.LOW_MEMORY
    audit.finish(Started(1, True), Outcome())
    assert audit.truncated == f"{text_log.LOW_MEMORY}; 1 files of what interpreters noted can't be read"


def test_what_is_missing_of_a_killed_run_is_said_too(tmp_path: Path) -> None:
    gather(tmp_path, {"7.aa": [birth("begin", 7, 1, 100), call(7, 120, b"one")]})
    (tmp_path / "marks" / (room.NOTED + "1.aa")).symlink_to(tmp_path)
    audit = Audit()
    audit.settle(str(tmp_path), str(tmp_path))
    assert audit.recover(str(tmp_path)) == "1 files of what interpreters noted can't be read"
