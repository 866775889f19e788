"""The errors a user can meet. Anything else that is raised is a bug and shows its traceback.

This module also runs inside the recorder that travels (Python 3.6+), so it keeps to that syntax.
"""

EXIT_DONE = 0
EXIT_NO = 1  # the answer is no: a check failed, a difference was found
EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_MACHINE = 4  # this machine can't
EXIT_OWN_FAILURE = 125  # fsprobe's own failure while it runs somebody's command
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127


class FsprobeError(Exception):
    """One clear sentence, what to do now, and the exit code that scripts may rely on.

    Args:
        message: what happened, one line, no full stop needed.
        hint: what the user can do about it; may be empty.
        exit_code: see the EXIT_ constants of this module.
    """

    exit_code = EXIT_OWN_FAILURE

    def __init__(self, message: "str", hint: "str" = "", exit_code: "int | None" = None) -> "None":
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.__notes__ = [
                "hint: " + hint
            ]  # what a traceback shows from Python 3.11 on, of those who call us from Python
        if exit_code is not None:
            self.exit_code = exit_code


class BadInput(FsprobeError):
    """A file that was given can't be used: not ours, cut short, damaged, not readable."""

    exit_code = EXIT_BAD_INPUT


class MachineCannot(FsprobeError):
    """This machine (its kernel, policy or installed tools) does not allow what was asked."""

    exit_code = EXIT_MACHINE
