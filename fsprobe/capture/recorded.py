"""What came of recording a run: the file, or why there is none.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fsprobe.capture.process.wait import Outcome


class Recorded:
    """What `record` gives back: the file, how the run ended, and lines that the user should read."""

    def __init__(self, path: "str", outcome: "Outcome", warnings: "list[str]", losses: "list[str]") -> "None":
        self.path = path
        self.outcome = outcome
        self.warnings = warnings
        self.losses = losses
        """What is not in the recording although it should be, or was left behind: to be said in any case."""


class NotRecorded(FsprobeError):
    """The command has run, and its recording could not be written."""

    def __init__(self, message: "str", hint: "str", outcome: "Outcome") -> "None":
        # its own end is what a script that started it must see
        status = outcome.exit_status
        super().__init__(message, hint, status if status >= 0 else 128 - status)
        self.exit_status = status
