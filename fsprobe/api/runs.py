"""Recordings opened, and commands run, from Python."""

from __future__ import annotations

import codecs
import os
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from fsprobe.api.profile import Profile
from fsprobe.capture import naming
from fsprobe.capture.machine import ranks
from fsprobe.cli.report import load
from fsprobe.errors import EXIT_OWN_FAILURE, BadInput, FsprobeError
from fsprobe.model.profile import Profile as Value

LAST_LINES, LAST_BLOCKS = 5, 16


def open(file: str | os.PathLike[str]) -> Profile:
    """Open a recording, or the file of a job.

    Raises:
        BadInput: it can't be used, or is a comparison (`fsprobe.Comparison.open` reads those).
    """
    shown = load(os.fspath(file))
    if not isinstance(shown, Value):
        raise BadInput(f"{file} is a comparison", "open it with fsprobe.Comparison.open(FILE)")
    return Profile(shown, os.fspath(file))


def run(
    command: str | Sequence[str],
    output: str | os.PathLike[str] | None = None,
    *,
    backend: str = "auto",
    options: Sequence[str] = (),
    stdin: str | None = None,
) -> Profile:
    """Run a command under fsprobe and read what it did; the command's output appears as it comes.

    Args:
        command: its words, or a line as a shell would read it.
        output: where the recording goes; without it nothing is kept. In a rank of a job its name gets the rank, as with `-o`:
            the profile's `path` has it.
        backend: auto, strace, ptrace, audit or inline.
        options: more words of `fsprobe run`, such as `["--counters"]`.
        stdin: what the command reads; without it, what this process reads (in a notebook: nothing).

    Returns:
        The profile; `exit_code` says how the command ended. A command that fails raises nothing.

    Raises:
        FsprobeError: nothing was recorded, or a file is there already.
    """
    words = shlex.split(command) if isinstance(command, str) else [os.fspath(word) for word in command]
    if not words:
        raise BadInput("no command was given", 'for example fsprobe.run(["python", "train.py"])')
    rank = ranks.identify(os.environ)
    if output is not None:
        place = ranks.tagged(os.fspath(output), rank)
        is_there, why_not = naming.look(place)
        if is_there and "--force" not in options:
            raise naming.existing(place, "options=['--force'] replaces it; or name another")
        if why_not:
            raise BadInput(f"cannot write {place}: {why_not}", "name another")
    with tempfile.TemporaryDirectory(prefix="fsprobe-run-") as scratch:
        given = os.fspath(output) if output is not None else os.path.join(scratch, "run.fsprobe")
        own = ["run", "--quiet", "--record-only", "--backend", backend, "-o", given, *options, "--", *words]
        code, _, said = forward(own, stdin)
        path = ranks.tagged(given, rank)  # as `run` names it
        if not os.path.exists(path):  # 125 alone does not say so: the command may have ended with it
            raise error_of(said, code, "nothing was recorded")
        return open(path).named(path if output is not None else None)


def error_of(said: str, code: int, otherwise: str) -> FsprobeError:
    """The error that fsprobe ended with, by its last lines on stderr; `otherwise` where it said none."""
    prefix, hint = "fsprobe: ", "fsprobe: hint: "
    own = [line for line in said.splitlines() if line.startswith(prefix)]
    hints = [line[len(hint) :] for line in own[-1:] if line.startswith(hint)]
    messages = [line[len(prefix) :] for line in own[: len(own) - len(hints)]]
    return FsprobeError(
        messages[-1] if messages else said or otherwise, "".join(hints), code if code > 0 else EXIT_OWN_FAILURE
    )


def forward(words: Sequence[str], stdin: str | None = None, hides_output: bool = False) -> tuple[int, str, str]:
    """Run `fsprobe WORDS` in a process of its own.

    Where sys.stdout and sys.stderr are not this process's own (a notebook, a test), what comes is written to them as it comes.
    An interruption goes to the command, which is waited for.

    Returns:
        The exit code; what was printed on stdout, where that is hidden; and the last lines on stderr, so far as they passed
        through here.
    """
    is_own = sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__ and not hides_output
    with tempfile.TemporaryFile() as given:
        given.write((stdin or "").encode())
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "fsprobe", *words],
            stdin=None if is_own and stdin is None else given,
            stdout=None if is_own else subprocess.PIPE,
            stderr=None if is_own else subprocess.PIPE,
        )
    try:
        out, said = _pass_on(process, hides_output)
        return process.wait(), out, said
    except KeyboardInterrupt:
        # a terminal sends it to the command too, a notebook to this process alone
        if not is_own:
            process.send_signal(signal.SIGINT)
        process.wait()
        raise
    finally:
        if process.poll() is None:
            process.terminate()  # fsprobe hands it on to the command, and ends after it
            process.wait()


def _pass_on(process: subprocess.Popen[bytes], hides_output: bool) -> tuple[str, str]:
    if process.stdout is None or process.stderr is None:
        return "", ""
    out: list[str] = []
    err: list[str] = []
    with selectors.DefaultSelector() as ready, process.stdout, process.stderr:
        for pipe, stream, kept in (
            (process.stdout, None if hides_output else sys.stdout, out),
            (process.stderr, sys.stderr, err),
        ):
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            ready.register(pipe, selectors.EVENT_READ, (decoder, stream, kept))
        while ready.get_map():
            for key, _ in ready.select():
                decoder, stream, kept = key.data
                data = os.read(key.fd, 1 << 16)
                kept.append(decoder.decode(data, not data))
                if stream is not None:
                    stream.write(kept[-1])
                    stream.flush()
                    del kept[:-LAST_BLOCKS]
                if not data:
                    ready.unregister(key.fileobj)
    return "".join(out) if hides_output else "", "\n".join("".join(err).strip().splitlines()[-LAST_LINES:])
