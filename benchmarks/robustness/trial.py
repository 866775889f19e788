"""Makes each of a command's own I/O calls fail in turn, and says what came of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsprobe import capabilities
from fsprobe.errors import FsprobeError
from fsprobe.recording.file import Recording

FSPROBE = (sys.executable, "-I", "-m", "fsprobe")

RUN = ("run", "-q", "--record-only", "--tmp-dir", "TMP", "-o", "OUT")
TARGET = ("python3", "-c", "import json, sys; print(42); sys.exit(7)")
STATUS, OUTPUT = 7, b"42\n"
LIMIT_S = 30.0
LINES: dict[str, tuple[str, ...]] = {
    "strace": (*RUN, "--backend", "strace", "--", *TARGET),
    "ptrace": (*RUN, "--backend", "ptrace", "--", *TARGET),
    "audit": (*RUN, "--backend", "audit", "--", *TARGET),
    "inline": (*RUN, "--backend", "inline", "--", *TARGET),
    "stream": (*RUN, "--backend", "strace", "--stream", "--", *TARGET),
    "report": ("report", "IN", "--format", "json", "-o", "OUT"),
    "merge": ("merge", "IN", "IN", "-o", "OUT"),
    "ticket": ("ticket", "IN", "--redact", "-o", "OUT"),
    "pack": ("pack", "VENV", "-o", "OUT"),
}
"""fsprobe's arguments, with words for places: see `Faults`."""
SOURCE = Path(__file__).with_name("shim.c")
SCRATCH = "/fsprobe-"
"""What the path of each scratch directory holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one fault."""

    call: str
    """The call that failed, `open PATH`, with what differs from run to run left out."""
    problems: tuple[str, ...]


def forced(words: Sequence[str]) -> list[str]:
    """A command line that replaces what an earlier one of its kind has written: else it would be refused before it does anything."""
    first, *rest = words or [""]
    return [first, "--force", *rest] if "-o" in rest and first.isalpha() else list(words)


def build(place: Path) -> Path | None:
    """Compile the shim; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    made = place / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl"], check=True, timeout=60)
    return made


class Faults:
    """One command line of fsprobe, tried again and again below `place`.

    Args:
        shim: from `build`.
        place: an empty directory.
        words: fsprobe's arguments, with OUT for the output, TMP for a place of the scratch, IN for a recording, VENV for an environment.
        is_run: it runs `TARGET`, whose output and exit code must stay.
    """

    def __init__(self, shim: Path, place: Path, words: Sequence[str], *, is_run: bool) -> None:
        self.shim, self.place, self.is_run = shim, place, is_run
        self.output = place / "out" / ("r.fsprobe" if is_run else "made")
        self.notes = place / "notes"
        paths = {
            "OUT": str(self.output),
            "TMP": str(place / "tmp"),
            "IN": str(place / "in.fsprobe"),
            "VENV": str(place / "venv"),
        }
        self.command = [*FSPROBE, *(paths.get(word, word) for word in words)]
        self.cache = place / "cache"
        self.cache.mkdir(mode=0o700)
        if "VENV" in words:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", paths["VENV"]], check=True, timeout=LIMIT_S)
        elif not is_run:
            made = [*FSPROBE, "run", "-q", "--record-only", "-o", paths["IN"], "--", *TARGET]
            subprocess.run(made, check=False, capture_output=True, timeout=LIMIT_S)

    def calls(self) -> list[str]:
        """The calls of a run without a fault."""
        self._run(0, 5, False)
        return [self._named(line) for line in self.notes.read_text("utf-8", "replace").splitlines()]

    def kinds(self) -> list[int]:
        """The number of the first and of the last call of each kind: what a call does, to which file."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for number, call in enumerate(self.calls(), start=1):
            first.setdefault(call, number)
            last[call] = number
        return sorted({*first.values(), *last.values()})

    def try_one(self, at: int, error_number: int, *, for_good: bool) -> Trial:
        """Let the call number `at` fail, or it and all later ones."""
        done = self._run(at, error_number, for_good)
        lines = self.notes.read_text("utf-8", "replace").splitlines() if self.notes.exists() else []
        call = next((self._named(line) for line in lines if line.endswith(" FAULT")), "(not reached)")
        if done is None:
            return Trial(call=call, problems=("it hangs",))
        return Trial(call=call, problems=tuple(self._problems(done, call, for_good)))

    def _run(self, at: int, error_number: int, for_good: bool) -> subprocess.CompletedProcess[bytes] | None:
        for name in ("out", "tmp"):
            shutil.rmtree(self.place / name, ignore_errors=True)
            (self.place / name).mkdir(mode=0o700)
        self.notes.unlink(missing_ok=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name != "_"}
        env.update(
            LD_PRELOAD=str(self.shim),
            FAULT_AT=str(at),
            FAULT_ERROR=str(error_number),
            FAULT_PLACES=f"{SCRATCH}:{self.place}/out:{self.place}/in.",
            FAULT_NOTES=str(self.notes),
            TMPDIR=str(self.place / "tmp"),
            XDG_CACHE_HOME=str(self.cache),
        )
        if for_good:
            env["FAULT_FOR_GOOD"] = "1"
        try:
            return subprocess.run(
                self.command, env=env, cwd=self.place, capture_output=True, check=False, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return None

    def _named(self, line: str) -> str:
        line = line.removesuffix(" FAULT").replace(str(self.place), "")
        return re.sub(r"fsprobe-[0-9a-f]+(/[0-9a-f])*|\d+\.[0-9a-f]{6,}|\b[0-9a-f]{12}\b|\d{2,}", "*", line)

    def _problems(self, done: subprocess.CompletedProcess[bytes], call: str, for_good: bool) -> Iterator[str]:
        said = done.stderr.decode("utf-8", "replace")
        if "Traceback" in said or "Exception ignored" in said:
            yield f"a traceback: {said.strip().splitlines()[-1]}"
        if self.is_run:
            yield from self._problems_of_run(done, said)
        elif done.returncode not in (0, 1, 3, 4):
            yield f"exit code {done.returncode}: {said}"
        elif done.returncode != 0 and not said:
            yield f"exit code {done.returncode} and nothing said"
        elif done.returncode == 0 and not self.output.exists():
            yield "exit code 0 and no output"
        is_part = any(path.endswith(".part") for path in os.listdir(self.place / "out"))
        if is_part and not for_good and not call.startswith("unlink"):
            yield "part of an output left"
        if os.listdir(self.place / "tmp") and not for_good and self.is_run and "fsprobe-" not in said:
            yield "scratch left, and nothing said"

    def _problems_of_run(self, done: subprocess.CompletedProcess[bytes], said: str) -> Iterator[str]:
        has_run = done.stdout != b""
        if not has_run:
            if done.returncode != 125 or not said.startswith("fsprobe: "):
                yield f"the command was not run, exit code {done.returncode}: {said}"
            return
        if done.returncode != STATUS:
            yield f"the command ran, exit code {done.returncode}: {said}"
        if done.stdout != OUTPUT:
            yield f"output {done.stdout!r}"
        try:
            recording = Recording(str(self.output))
            recording.verify()
        except FsprobeError as error:
            if "fsprobe: " not in said:
                yield f"{error.message}, and nothing said"
            return
        manifest = recording.manifest
        if manifest["exit_code"] != STATUS:
            yield f"exit code {manifest['exit_code']} in the manifest"
        is_excused = "log" not in recording.names() or manifest["log_truncated"]
        # hooks inside the interpreters see no process end: there the last import stands for it
        is_traced = capabilities.FOREIGN_PROGRAMS in manifest["capabilities"]
        wanted = b"+++ exited with 7 +++" if is_traced else b'"fsprobe<json"'
        if not is_excused and wanted not in b"".join(recording.section("log")):
            yield "the log has no end, and nothing is said of that"
        is_said = manifest["no_hook"] or manifest.get("n_hook_files_unread") or manifest["log_truncated"]
        has_marks = "tally" in recording.names() or b"@marks." in b"".join(recording.section("marks"))
        if not is_said and not has_marks:
            yield "marks are missing, and nothing is said of that"
