"""What fsprobe reads and removes of its own directories: the caller's own alone, reached by no link."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsprobe.capture import salvage
from fsprobe.capture.directories import own_files, scratch
from fsprobe.errors import EXIT_BAD_INPUT, BadInput
from fsprobe.experiment import janitor
from fsprobe.layouts.scan.walk import remove_tree
from fsprobe.recording.file import MAGIC, Recording
from tests.conftest import FSPROBE, need, run_plain

OTHER = 12345


def give_away(*paths: Path) -> None:
    need(os.geteuid() == 0, "only root can give a file to somebody else")
    for path in paths:
        os.chown(path, OTHER, OTHER, follow_symlinks=False)


# ---- removing ------------------------------------------------------------------------------------------------------

REMOVERS: dict[str, Callable[[str], object]] = {
    "own_files": own_files.remove,
    "scratch": scratch.remove,
    "layouts": remove_tree,
    "janitor": lambda path: janitor.remove(os.fsencode(path)),
}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "outside"
    (place / "inner").mkdir(parents=True)
    (place / "inner" / "precious").write_text("x")
    (place / "inner").chmod(0o500)
    yield place
    assert (place / "inner" / "precious").read_text() == "x"
    assert stat.S_IMODE((place / "inner").stat().st_mode) == 0o500
    (place / "inner").chmod(0o700)


@pytest.mark.parametrize("remover", REMOVERS)
def test_all_of_it_goes_and_nothing_that_links_lead_to(tmp_path: Path, outside: Path, remover: str) -> None:
    place = tmp_path / "made"
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "file").write_text("")
    os.mkfifo(place / "a" / "pipe")
    (place / "a" / "link").symlink_to(outside)
    (place / "a" / "b" / "link").symlink_to(outside / "inner")
    (place / "dangling").symlink_to("nowhere")
    (place / "a" / "b").chmod(0o500)
    (place / "a").chmod(0)
    REMOVERS[remover](str(place))
    assert not place.exists()


@pytest.mark.parametrize("remover", REMOVERS)
def test_a_link_in_its_place_is_left_alone(tmp_path: Path, outside: Path, remover: str) -> None:
    (tmp_path / "made").symlink_to(outside)
    try:
        REMOVERS[remover](str(tmp_path / "made"))
    except OSError:
        assert remover == "layouts"
    assert (tmp_path / "made").is_symlink()


@pytest.mark.needs_root
@pytest.mark.parametrize("remover", REMOVERS)
def test_another_user_s_is_left_alone(tmp_path: Path, remover: str) -> None:
    place = tmp_path / "made"
    place.mkdir(mode=0o755)
    (place / "x").write_text("x")
    give_away(place)
    try:
        REMOVERS[remover](str(place))
    except OSError:
        assert remover == "layouts"
    assert (place / "x").exists()


@pytest.mark.needs_root
def test_another_user_s_directory_in_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "made" / "theirs").mkdir(parents=True)
    (tmp_path / "made" / "theirs" / "x").write_text("x")
    (tmp_path / "made" / "ours").write_text("")
    give_away(tmp_path / "made" / "theirs")
    assert not own_files.remove(str(tmp_path / "made"))
    assert sorted(os.listdir(tmp_path / "made")) == ["theirs"]
    assert (tmp_path / "made" / "theirs" / "x").exists()


def test_a_directory_that_is_swapped_for_a_link_meanwhile(tmp_path: Path) -> None:
    """A walk by names would go on in the directory that the link leads to."""
    place, outside = tmp_path / "made", tmp_path / "precious"
    for directory in (place / "d", outside):
        directory.mkdir(parents=True)
        for i in range(3000):
            (directory / f"f{i}").write_text("")
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            try:
                if len(os.listdir(place / "d")) < 3000:
                    os.rename(place / "d", place / "e")
                    os.symlink(outside, place / "d")
                    return
            except OSError:
                return

    thread = threading.Thread(target=swap)
    thread.start()
    own_files.remove(str(place))
    ended.set()
    thread.join()
    assert len(os.listdir(outside)) == 3000


def test_deeper_than_it_goes_is_left_and_told(tmp_path: Path) -> None:
    deep = tmp_path / "made"
    for _ in range(own_files.MAX_DEPTH + 5):
        deep /= "d"
    os.makedirs(deep)
    assert not own_files.remove(str(tmp_path / "made"))


# ---- salvage -------------------------------------------------------------------------------------------------------


def left_behind(place: Path, **state: object) -> Path:
    """What a killed fsprobe leaves."""
    (place / scratch.MARKS).mkdir(parents=True)
    place.chmod(0o700)
    (place / scratch.LOG).write_bytes(b'5 1.0 execve("/bin/x", ["x"], 0x1) = 0\n5 2.0 +++ exited with 0 +++\n')
    (place / scratch.MARKS / "marks.5.x").write_bytes(b"1 5 >json\n")
    facts = {"command": ["x"], "host": "h", "exit_code": None, "fsprobe_pid": 0, "backend": "strace", **state}
    (place / scratch.STATE).write_text(json.dumps(facts))
    return place


def refused(place: Path, tmp_path: Path) -> str:
    done = run_plain([*FSPROBE, "salvage", str(place), "-o", str(tmp_path / "out")])
    assert done.status == EXIT_BAD_INPUT
    assert b"Traceback" not in done.err
    assert not (tmp_path / "out").exists()
    return done.err.decode()


@pytest.mark.needs_root
def test_another_user_s_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    victim = tmp_path / "victim.fsprobe.99999999.part"
    victim.write_bytes(MAGIC)
    place = left_behind(tmp_path / "fsprobe-x", output=str(tmp_path / "victim.fsprobe"), fsprobe_pid=99999999)
    give_away(place)
    before = sorted(path.name for path in place.rglob("*"))
    assert f"is not taken: it belongs to user id {OTHER}, you are 0" in refused(place, tmp_path)
    assert victim.exists()
    assert sorted(path.name for path in place.rglob("*")) == before
    place.chmod(0o755)
    assert str(place) not in scratch.left_behind({"TMPDIR": str(tmp_path)})


def test_one_that_others_can_write_to_or_that_is_a_link_is_refused(tmp_path: Path) -> None:
    place = left_behind(tmp_path / "fsprobe-x")
    (tmp_path / "fsprobe-link").symlink_to(place)
    assert "it is no directory" in refused(tmp_path / "fsprobe-link", tmp_path)
    place.chmod(0o777)
    assert "others may write in it" in refused(place, tmp_path)
    assert scratch.left_behind({"TMPDIR": str(tmp_path)}).count(str(place)) == 0


@pytest.mark.parametrize("name", ["marks/marks.1.x", "marks/mounts.1", "log", "state.json", "complaints"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    place = left_behind(tmp_path / "fsprobe-x")
    (tmp_path / "secret").write_text((place / name).read_text() if (place / name).exists() else "5 1.0 SECRET\n")
    (tmp_path / "secret").chmod(0o600)
    (place / name).unlink(missing_ok=True)
    if kind == "link":
        (place / name).symlink_to(tmp_path / "secret")
    else:
        os.mkfifo(place / name)
    if name in ("log", "state.json"):
        refused(place, tmp_path)
        assert place.exists()
    else:
        salvage.salvage(str(place), str(tmp_path / "out"))
        made = Recording(str(tmp_path / "out"))
        assert not any(b"SECRET" in b"".join(made.section(section)) for section in made.names())
        assert b"1 5 >json\n" in b"".join(made.section("marks"))
        assert not place.exists()
    assert (tmp_path / "secret").exists()


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["marks/marks.5.x", "log", "state.json"])
def test_a_file_of_another_user_is_not_read(tmp_path: Path, name: str) -> None:
    place = left_behind(tmp_path / "fsprobe-x")
    give_away(place / name)
    if name.startswith("marks"):
        salvage.salvage(str(place), str(tmp_path / "out"))
        assert b"".join(Recording(str(tmp_path / "out")).section("marks")) == b""
    else:
        refused(place, tmp_path)


@pytest.mark.parametrize(
    ("content", "goes"),
    [(MAGIC + b"1 recording\n", True), (b"", True), (b"keep", False), (b"fsprobe", True), (b"fsprobes", False)],
)
def test_what_was_half_written_goes_and_nothing_else(tmp_path: Path, content: bytes, goes: bool) -> None:
    part = tmp_path / "y.fsprobe.99999999.part"
    part.write_bytes(content)
    place = left_behind(tmp_path / "fsprobe-x", output=str(tmp_path / "y.fsprobe"), fsprobe_pid=99999999)
    salvage.salvage(str(place), str(tmp_path / "out"))
    assert part.exists() is not goes


@pytest.mark.parametrize(
    "kind", ["link", "directory", "pipe", pytest.param("another user's", marks=pytest.mark.needs_root)]
)
def test_what_looks_half_written_and_is_not_stays(tmp_path: Path, kind: str) -> None:
    part = tmp_path / "y.fsprobe.99999999.part"
    (tmp_path / "own.fsprobe").write_bytes(MAGIC)
    if kind == "link":
        part.symlink_to(tmp_path / "own.fsprobe")
    elif kind == "directory":
        part.mkdir()
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.write_bytes(MAGIC)
        give_away(part)
    place = left_behind(tmp_path / "fsprobe-x", output=str(tmp_path / "y.fsprobe"), fsprobe_pid=99999999)
    salvage.salvage(str(place), str(tmp_path / "out"))
    assert os.path.lexists(part)
    assert (tmp_path / "own.fsprobe").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"fsprobe_pid": "x"},
        {"fsprobe_pid": [1]},
        {"fsprobe_pid": 1e400},
        {"command": "text"},
        {"command": []},
        {"host": 5},
        {"job": [1]},
        {"job": "x"},
    ],
    ids=str,
)
def test_a_state_of_another_shape_is_one_line(tmp_path: Path, change: dict[str, object]) -> None:
    assert "is no scratch directory of fsprobe" in refused(left_behind(tmp_path / "fsprobe-x", **change), tmp_path)


@pytest.mark.parametrize("output", [5, None, [], "relative", "/nowhere/x", "a\0b", "/a\0b"])
def test_an_output_of_another_shape_names_nothing(tmp_path: Path, output: object) -> None:
    place = left_behind(tmp_path / "fsprobe-x", output=output, fsprobe_pid=99999999)
    salvage.salvage(str(place), str(tmp_path / "out"))
    assert Recording(str(tmp_path / "out")).manifest["salvaged"]


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    place = left_behind(tmp_path / "fsprobe-x")
    (tmp_path / "file").write_text("")
    done = run_plain([*FSPROBE, "salvage", str(place), "-o", f"{tmp_path}/file/d/"])
    assert done.status == EXIT_BAD_INPUT
    assert done.err.startswith(b"fsprobe: cannot make the directory ")
    assert place.exists()


def test_a_deep_state_is_one_line(tmp_path: Path) -> None:
    place = left_behind(tmp_path / "fsprobe-x")
    (place / scratch.STATE).write_text("[" * 100_000)
    with pytest.raises(BadInput, match="is no scratch directory"):
        salvage.salvage(str(place), str(tmp_path / "out"))


def test_what_is_known_to_be_there_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "own"
    (place / "marks").mkdir(parents=True)
    for name in ("state", "marks/a"):
        (place / name).write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda _: pytest.fail("listed"))
        assert own_files.remove(str(place), [("", "state"), ("marks", "a")])
    assert not place.exists()


@pytest.mark.parametrize("known", [[("", "gone")], [("marks", "a")], [("none", "a"), ("", "state")]])
def test_what_is_not_as_it_was_known_goes_too(tmp_path: Path, known: list[tuple[str, str]]) -> None:
    place = tmp_path / "own"
    (place / "marks").mkdir(parents=True)
    for name in ("state", "marks/a", "marks/b"):
        (place / name).write_text("")
    assert own_files.remove(str(place), known)
    assert not place.exists()


def test_a_known_file_is_taken_through_no_link(tmp_path: Path) -> None:
    place, other = tmp_path / "own", tmp_path / "other"
    for made in (place, other):
        made.mkdir()
    (other / "a").write_text("precious")
    (place / "marks").symlink_to(other)
    assert own_files.remove(str(place), [("marks", "a")])
    assert (other / "a").read_text() == "precious"
    assert not place.exists()
