"""Logs to read: a traced command in several formats, made as long as is asked; and processes to read them in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import clean_environment
from fsprobe.capture.backends.strace import installed


def run(words: list[str]) -> str:
    """What a process prints.

    Raises:
        RuntimeError: it failed.
    """
    # byte code is written and taken, as it is where fsprobe is installed
    environment = {**clean_environment(), "PYTHONPATH": str(evidence.REPOSITORY), "LC_ALL": "C"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ... {words[-2]} ended with {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def compile_all(python: str) -> None:
    """Write the byte code of fsprobe and of these readers, so that no figure has it made."""
    tree = [str(evidence.REPOSITORY / name) for name in ("fsprobe", "benchmarks")]
    subprocess.run([python, "-m", "compileall", "-q", *tree], check=True, env=clean_environment())


def write_log(base: list[bytes], n_lines: int, path: Path) -> None:
    """Repeat a log of one process with other pids."""
    pid = base[0].split()[0]
    with path.open("wb", 1 << 20) as target:
        n = copy = 0
        while n < n_lines:
            head = b"%d" % (int(pid) % 1000 + 1000 + copy)
            lines = base[: n_lines - n]
            target.writelines(head + line[len(pid) :] for line in lines)
            n += len(lines)
            copy += 1


def trace(python: str, words: list[str], scratch: Path, kind: str) -> Path:
    """Trace a command in one of the formats: own, tt (`-f -tt -T`), plain (`-f -ttt`)."""
    program = shutil.which("strace")
    assert program is not None, "needs strace"
    log = scratch / f"trace.{kind}"
    if kind == "own":
        line = installed.command_line(program, installed.version(program), str(log), words)
    else:
        options = ["-tt", "-T"] if kind == "tt" else ["-ttt"]
        line = [
            program,
            "-f",
            "-q",
            *options,
            "-s",
            "256",
            "-e",
            "trace=%file,getdents64",
            "-o",
            str(log),
            "--",
            *words,
        ]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(line, check=True, env=environment, stdout=subprocess.DEVNULL)
    return log
