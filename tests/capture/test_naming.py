"""What can be known of an output before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsprobe.capture import naming
from fsprobe.errors import EXIT_OWN_FAILURE, EXIT_USAGE, FsprobeError


def test_what_can_be_written_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("")
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("new")
    assert naming.look("new.fsprobe") == (False, "")
    assert naming.look(str(tmp_path / "new.fsprobe")) == (False, "")
    assert naming.look("there") == naming.look("link") == (True, "")
    assert naming.look("dangling") == (False, "")
    naming.check("new.fsprobe", "/dev/stdout")
    naming.check("there", "link", replaces=True)


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "none" / "x")
    assert naming.look(str(tmp_path / "nowhere")) == (False, f"no such directory: {tmp_path / 'none'}")


@pytest.mark.parametrize(
    ("name", "why_not"),
    [
        ("none/x", "no such directory: none"),
        ("directory", "it is a directory and no file"),
        ("pipe", "it is a pipe and no file"),
        ("loop", "Too many levels of symbolic links"),
        ("file/x", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why_not: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    assert naming.look(name) == (False, why_not)
    for words in ((name,), ("new.fsprobe", name)):
        with pytest.raises(FsprobeError, match="cannot write") as caught:
            naming.check(*words, replaces=True)
        assert (caught.value.exit_code, caught.value.message) == (
            EXIT_OWN_FAILURE,
            f"cannot write {name}: {why_not}",
        )


def test_a_directory_that_takes_no_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert naming.look(str(tmp_path / "x")) == (False, f"the directory {tmp_path} is not writable for you")
    monkeypatch.chdir(tmp_path)
    assert naming.look("x") == (False, "the directory . is not writable for you")


def test_a_working_directory_that_is_gone_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert naming.look("x") == (False, "the working directory is gone")


def test_a_file_that_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    for words in ((str(tmp_path / "there"),), (str(tmp_path / "new"), str(tmp_path / "there"))):
        with pytest.raises(FsprobeError, match="is there already") as caught:
            naming.check(*words)
        assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("stem", ["x", "x" * 247])
def test_a_name_that_was_taken_meanwhile_gets_a_number_however_long_it_is(tmp_path: Path, stem: str) -> None:
    taken = tmp_path / f"{stem}.fsprobe"
    warnings: list[str] = []
    assert naming.free_name(str(taken), warnings) == str(taken)
    found = []
    for number in (2, 3):
        (found[-1] if found else taken).write_text("a command's own")
        found.append(Path(naming.free_name(str(taken), warnings)))
        assert found[-1] == tmp_path / f"{stem[:245]}-{number}.fsprobe"
    assert len(warnings) == 2


def test_a_name_in_a_directory_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "link").symlink_to("rec")
    (tmp_path / "file").write_text("")
    found = naming.path_in(f"{tmp_path}/rec/", ["python"], "node", None)
    assert os.path.dirname(found) == f"{tmp_path}/rec"
    assert os.path.basename(found).startswith("python-node-")
    # made, followed or refused by what looks closer
    for other in ("rec", "new/", "link/", "file/", ""):
        assert naming.path_in(f"{tmp_path}/{other}" if other else "", ["python"], "node", None) == ""
    if os.geteuid():
        (tmp_path / "rec").chmod(0o500)
        assert naming.path_in(f"{tmp_path}/rec/", ["python"], "node", None) == ""
