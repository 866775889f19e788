"""What a rank does that `--ranks` leaves out: become its command, before anything else is loaded.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.capture import options as run_options
from fsprobe.capture.machine import ranks
from fsprobe.errors import FsprobeError


def main(words: "list[str]") -> "int | None":
    """Run the command of `fsprobe run WORDS` untouched if this rank is left out.

    Returns:
        None when this rank is to be traced (or the words are wrong, which `run` will say); else an exit code, and only if
        the command could not be started.
    """
    try:
        options = run_options.parse(words)
    except (FsprobeError, run_options.HelpWanted):
        return None
    rank = ranks.identify(os.environ)
    if rank is None or not options.ranks or ranks.selects(options.ranks, rank):
        return None
    from fsprobe.capture.machine.environment import own_environment

    try:
        ranks.run_untouched(options.command, own_environment())
    except FsprobeError as error:
        from fsprobe.cli.failures import report_error

        return report_error(error)
    return None
