"""How fsprobe ends where its interpreter would wait for lines to be typed.

Runs inside the recorder that travels too: syntax of Python 3.6.
"""

import os
import sys


def end_without_prompt(status: int) -> None:
    """End where PYTHONINSPECT is set: it is meant for the command, and our own interpreter would ask for lines from its input."""
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(status)
