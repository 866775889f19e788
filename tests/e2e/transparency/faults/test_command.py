"""A command that can't be run, or not from here: one clear line, the exit code of a shell, nothing left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE, ROOT, Fsprobe, clean_environment, run_plain
from tests.e2e.transparency.faults.command import assert_one_clear_line, n_missing, work


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
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + code
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
    assert done.out == b""
    assert_one_clear_line(done, status=125, says="the working directory is gone")
    assert run_fsprobe.left() == []
