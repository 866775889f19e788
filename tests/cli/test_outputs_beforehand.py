"""Whatever a command writes: what can't be written is told before anything is read or run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.cli import group

COMMANDS = {
    "report": ["report", "missing.fsprobe", "-o", "OUT.json"],
    "merge": ["merge", "missing.fsprobe", "-o", "OUT.fsprobe"],
    "ticket": ["ticket", "missing.fsprobe", "-o", "OUT.zip"],
    "load": ["load", "missing.log", "-o", "OUT.fsprobe"],
    "fix": ["fix", "missing.fsprobe", "-o", "OUT.fsprobe"],
    "recorder": ["recorder", "-o", "OUT.pyz"],
    "attach": ["attach", "1", "-o", "OUT.fsprobe"],
    "compare": ["compare", "--env", "missing", "--squashfs", "-o", "OUT.fsprobe", "--", "true"],
    "plot": ["compare", "--env", "missing", "--squashfs", "--plot", "OUT.svg", "--", "true"],
    "image": ["compare", "--env", "missing", "--squashfs", "--keep-image", "OUT.sqsh", "--", "true"],
    "whatif": ["whatif", "missing.fsprobe", "--plot", "OUT.png"],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", ["no directory", "directory"])
def test_an_output_that_cannot_be_written_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    stem = "none/x" if kind == "no directory" else "x"
    words = [word.replace("OUT", stem) for word in COMMANDS[name]]
    output = next(word for word in words if word.startswith(f"{stem}."))
    if kind == "directory":
        (tmp_path / output).mkdir()
    assert group.main(words) == 3
    printed = capsys.readouterr()
    why_not = "no such directory: none" if kind == "no directory" else "it is a directory and no file"
    assert printed.out == ""
    message, hint = printed.err.splitlines()
    assert message == f"fsprobe: cannot write {output}: {why_not}"
    assert hint == f"fsprobe: hint: name another place with {words[words.index(output) - 1]}"


def test_what_goes_with_an_environment_is_refused_for_two_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("-o", "--plot", "--keep-image", "--flash"):
        assert group.main(["compare", option, "x.svg" if option == "--plot" else "x", "a.fsprobe", "b.fsprobe"]) == 2
        assert f"{option} goes with --env" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plot", "whatif"])
@pytest.mark.parametrize(("ending", "is_known"), [(".txt", False), ("", False), (".PNG", True)])
def test_a_picture_whose_name_says_no_format_is_told_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, ending: str, is_known: bool
) -> None:
    picture = str(tmp_path / f"x{ending}")
    assert group.main([picture if word.startswith("OUT.") else word for word in COMMANDS[name]]) == (
        3 if is_known else 2
    )
    assert ("ends in neither .png nor .svg" in capsys.readouterr().err) is not is_known
