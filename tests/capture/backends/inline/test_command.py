"""What would keep a command from starting, or from being seen, is found ahead, and the command is not run for that."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fsprobe.capture.backends.inline import command
from tests.capture.backends.inline import recorded

SAYS = '#include <stdio.h>\nint main(int c, char **v) { fclose(fopen("ran", "w")); }'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "says.c").write_text(SAYS)
    return tmp_path


def why_not(program: str | Path, library: Path) -> str:
    return command.why_not(str(program), str(library), os.environ)


def test_static_tls_of_the_command(library: Path, tmp_path: Path) -> None:
    """A program that is linked with more of it than the loader leaves, as with libtsan."""
    (tmp_path / "large.c").write_text(
        '__attribute__((tls_model("initial-exec"))) __thread char room[70000] = {1}; int here(void) { return room[1]; }'
    )
    recorded.compiled(tmp_path / "large.c", tmp_path / "liblarge.so", "-shared", "-fPIC")
    (tmp_path / "main.c").write_text("int here(void); int main(void) { return here(); }")
    program = recorded.compiled(
        tmp_path / "main.c", tmp_path / "program", f"-L{tmp_path}", "-llarge", f"-Wl,-rpath,{tmp_path}"
    )
    assert subprocess.run([program], timeout=60).returncode == 0
    under = subprocess.run([program], env=dict(os.environ, LD_AUDIT=str(library)), capture_output=True, timeout=60)
    why = why_not(program, library)
    assert (why != "") == (under.returncode == 127)
    if why:
        assert "static TLS" in why
    script = tmp_path / "script"
    script.write_text(f"#!{program}\n")
    script.chmod(0o755)
    assert why_not(script, library) == why, "as the script's interpreter"
    assert why_not("/bin/cat", library) == ""


def test_nothing_is_run(library: Path, place: Path) -> None:
    script = place / "script"
    script.write_text("#!/bin/sh\n: > ran\n")
    script.chmod(0o755)
    dynamic = recorded.compiled(place / "says.c", place / "dynamic")
    for program in (script, dynamic, place, place / "none"):
        assert why_not(program, library) == ""
    assert not (place / "ran").exists(), "it was loaded, not run"


def test_a_static_program_is_refused(library: Path, place: Path) -> None:
    static = recorded.compiled(place / "says.c", place / "static", "-static")
    assert "linked statically" in why_not(static, library)
    script = place / "script"
    script.write_text(f"#!{static}\n")
    script.chmod(0o755)
    assert "linked statically" in why_not(script, library)
    assert not (place / "ran").exists()


def test_a_loader_that_is_not_glibcs_is_not_asked(library: Path, place: Path) -> None:
    """Asked to trace it might run the program: musl's loader does not know the variable."""
    other = place / "ld-musl-x86_64.so.1"
    shutil.copy(os.path.realpath("/lib64/ld-linux-x86-64.so.2"), other)
    program = recorded.compiled(place / "says.c", place / "program", f"-Wl,--dynamic-linker={other}")
    assert "not glibc's loader" in why_not(program, library)
    assert not (place / "ran").exists()


def test_a_program_of_another_machine(library: Path, place: Path) -> None:
    program = recorded.compiled(place / "says.c", place / "program")
    data = bytearray(Path(program).read_bytes())
    for change in ({4: 1}, {18: 183}):  # 32 bits; aarch64
        other = place / "other"
        other.write_bytes(bytes(change.get(at, byte) for at, byte in enumerate(data)))
        other.chmod(0o755)
        assert "no program for x86_64" in why_not(other, library)


def test_scripts_in_a_circle_come_to_an_end(library: Path, place: Path) -> None:
    script = place / "script"
    script.write_text(f"#!{script}\n")
    script.chmod(0o755)
    assert why_not(script, library) == ""


def test_a_cut_or_odd_file_is_no_reason(library: Path, place: Path) -> None:
    data = Path(recorded.compiled(place / "says.c", place / "program")).read_bytes()
    odd = place / "odd"
    for content in (b"", b"\x7fELF", data[:20], data[:60], data[:64], data[:100], b"#!", b"#! \n"):
        odd.write_bytes(content)
        odd.chmod(0o755)
        assert isinstance(why_not(odd, library), str)


def test_valgrind_is_no_command_for_it() -> None:
    assert "valgrind" in command.why_not_outside(["/usr/bin/valgrind", "python"], {"PATH": os.environ["PATH"]})
    assert command.why_not_outside(["python", "valgrind"], {"PATH": os.environ["PATH"]}) == ""


@pytest.mark.parametrize("line", ["apptainer exec x.sif ls", "/usr/bin/docker run x", "bash {script}", "nice {script}"])
def test_a_container_is_for_the_inside(line: str, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\nsingularity --silent exec "$IMAGE" python "$@"\n')
    script.chmod(0o755)
    words = line.format(script=script).split()
    assert "run fsprobe inside" in command.why_not_outside(words, {"PATH": os.environ["PATH"]})
    assert command.why_not_outside(["python", "apptainer"], {"PATH": os.environ["PATH"]}) == ""
