"""How fsprobe ends when the command it ran was ended by a signal.

Runs inside the recorder that travels too: syntax of Python 3.6.
"""

import os
import signal
import sys


def die_of(number: int) -> None:
    """End as the command did: by its signal, without a core file of our own."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass
    if sys.stderr is not None:
        sys.stderr.flush()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


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
