"""Compile sources with the interpreter of an environment, which need not be the one that runs fsprobe."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence

from fsprobe.errors import BadInput

# Runs in the environment's own interpreter: 3.6+. Always by mtime: SOURCE_DATE_EPOCH must not choose for us.
_PROGRAM = r"""
import py_compile, sys
write = sys.argv[1] == "write"
mode = {"invalidation_mode": py_compile.PycInvalidationMode.TIMESTAMP} if sys.version_info >= (3, 7) else {}
names = sys.stdin.buffer.read().split(b"\0")[:-1]
out = sys.stdout.buffer
for source, shown in zip(names[::2], names[1::2]):
    source = source.decode(sys.getfilesystemencoding(), "surrogateescape")
    shown = shown.decode(sys.getfilesystemencoding(), "surrogateescape")
    answer = b"+"
    try:
        if write:
            py_compile.compile(source, dfile=shown, doraise=True, **mode)
        else:
            with open(source, "rb") as file:
                compile(file.read(), shown, "exec", dont_inherit=True)
    except OSError:
        raise
    except Exception:
        answer = b"-"
    out.write(answer)
    out.flush()
"""


def compile_sources(
    interpreter: str,
    pairs: Sequence[tuple[bytes, bytes]],
    *,
    write: bool,
    progress: Callable[[int, int], None] | None = None,
) -> list[bytes]:
    """Compile each source; with `write` into the __pycache__ beside it, else only to see whether it can be.

    Args:
        interpreter: runs with -I -S.
        pairs: (source, path that tracebacks shall show).
        write: make the .pyc files.
        progress: called with the number done and the number of all.

    Returns:
        The sources that are no valid Python for this interpreter (templates, Python 2, test data).

    Raises:
        BadInput: the interpreter can't be run here, or a file can't be read or written.
    """
    n_workers = max(1, min(len(os.sched_getaffinity(0)), 8, len(pairs) // 50 + 1))
    shares = [pairs[first::n_workers] for first in range(n_workers)]
    refused: list[bytes] = []
    workers: list[subprocess.Popen[bytes]] = []
    n_done = 0
    try:
        for share in shares:
            workers.append(_start(interpreter, share, write))
        for worker, share in zip(workers, shares, strict=True):
            assert worker.stdout is not None
            assert worker.stderr is not None
            for source, _ in share:
                answer = worker.stdout.read(1)
                if not answer:
                    last = os.fsdecode(worker.stderr.read()).strip().rpartition("\n")[2]
                    raise BadInput(
                        f"compiling with {interpreter} failed: {last or 'it ended'}",
                        "run fsprobe where that interpreter works: in the container that made the environment",
                    )
                if answer == b"-":
                    refused.append(source)
                n_done += 1
                if progress:
                    progress(n_done, len(pairs))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return sorted(refused)


def _start(interpreter: str, share: Sequence[tuple[bytes, bytes]], write: bool) -> subprocess.Popen[bytes]:
    names = b"".join(source + b"\0" + shown + b"\0" for source, shown in share)
    read = os.memfd_create("sources")  # a pipe could block both sides
    try:
        with open(os.dup(read), "wb") as file:
            file.write(names)
        os.lseek(read, 0, os.SEEK_SET)
        return subprocess.Popen(
            [interpreter, "-I", "-S", "-W", "ignore", "-c", _PROGRAM, "write" if write else "check"],
            stdin=read,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        )
    except OSError as error:
        raise BadInput(
            f"{interpreter} can't be run here: {error.strerror}",
            "run fsprobe where that interpreter works: in the container that made the environment",
        ) from error
    finally:
        os.close(read)
