"""Commands on a terminal that is narrower than they are: continued between words, and still what they were."""

from __future__ import annotations

import io
import shlex
import subprocess

import pytest

from fsprobe.report.terminal.console import Screen, continued, print_command

LINES = [
    "fsprobe compare --env /project/env --squashfs --label 'a b  c d' -- python \"x y $HOME\" train.py",
    "echo a\\ b 'it'\\''s' c\\\\ \"say \\\"no\\\" twice\" && echo x | tr x y",
    "mksquashfs /project/environment /project/environment.sqsh -comp zstd -processors 1 -no-xattrs",
]


def words_in_bash(text: str) -> str:
    shown = subprocess.run(
        ["bash", "-c", f"f() {{ printf '[%s]' \"$@\"; }}; f {text}"], capture_output=True, text=True, check=True
    )
    return shown.stdout


@pytest.mark.parametrize("line", LINES)
def test_a_shell_reads_the_same_words(line: str) -> None:
    whole = words_in_bash(line)
    for width in (12, 30, 60):
        lines = continued(line, width)
        assert words_in_bash("\n".join(lines)) == whole != ""
        assert len(lines) > 1
        # only a single word, with its indent and the backslash, may be wider
        assert all(len(piece) <= width or len(shlex.split(piece.removesuffix("\\"))) <= 1 for piece in lines[1:])


@pytest.mark.parametrize("line", ["#SBATCH --nodes=4 --ntasks-per-node=8", "echo 'no end of it", "short"])
def test_what_is_no_whole_command_stays_as_it_is(line: str) -> None:
    assert continued(line, 10) == [line]


def printed(line: str, width: int, *, is_terminal: bool) -> list[str]:
    out = io.StringIO()
    print_command(Screen(file=out, width=width, force_terminal=is_terminal, color_system=None), line, "  $ ")
    return out.getvalue().splitlines()


def test_in_a_pipe_a_command_is_one_line() -> None:
    assert printed(LINES[0], 40, is_terminal=False) == ["  $ " + LINES[0]]


def test_a_comment_that_has_no_room_stands_above() -> None:
    line = "dask config set distributed.worker.start-method fork  # in the job script, before the first worker starts"
    assert printed(line, 64, is_terminal=True) == [
        "    # in the job script, before the first worker starts",
        "  $ dask config set distributed.worker.start-method fork",
    ]


def test_python_has_no_prompt_of_a_shell_and_runs_as_printed() -> None:
    line = 'print("a", "b", "c"); print("d", "e",   "f")  # in Python, before the first worker'
    lines = printed(line, 30, is_terminal=True)
    assert not any("$" in one for one in lines)
    shown: list[str] = []
    code = compile("\n".join(one[4:] for one in lines), "printed", "exec")
    exec(code, {"print": lambda *words: shown.append(" ".join(words))})
    assert shown == ["a b c", "d e f"]
