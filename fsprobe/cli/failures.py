"""How an error reaches the user: one line, a hint, the documented exit code.

Runs inside the recorder that travels too: syntax of Python 3.6.
"""

import os
import sys

from fsprobe.errors import FsprobeError


def printable(message: str) -> str:
    """Foreign text on one line of a terminal: no control characters, no surrogates."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)


def say(message: str) -> None:
    """A line of ours on stderr; that stderr is closed is no reason to fail, and no reason to write elsewhere."""
    if sys.stderr is None:
        return
    try:
        print(f"fsprobe: {printable(message)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        # the interpreter would try once more to write it at its end, fail, and exit with 120
        sys.stderr = open(os.devnull, "w")


def report_error(error: FsprobeError) -> int:
    """Print an error and return its exit code."""
    say(error.message)
    if error.hint:
        say(f"hint: {error.hint}")
    return error.exit_code
