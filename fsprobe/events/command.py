"""What a log that was made elsewhere shows of the command: its words, and the variables it was given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fsprobe.events.strace.arguments import exec_argv, exec_environment, is_argv_cut
from fsprobe.model.events import Call, Op

_PYTHON = re.compile(rb"(?:python|pypy)[0-9.]*t?")


@dataclass(slots=True)
class Command:
    """The command of a log; filled by `note` from its first successful exec, its variables from the first interpreter's."""

    words: list[str] | None = None
    is_cut: bool = False
    """Whether strace left out a part of them."""
    variables: dict[str, str] | None = None
    """None where the log does not show them."""
    is_python: bool = False

    def note(self, call: Call, names: Iterable[str]) -> None:
        """Take in a call; `names` are the variables that may be kept."""
        if call.op is not Op.EXEC or call.error or self.is_python:
            return
        self.is_python = _PYTHON.fullmatch(os.path.basename(call.path)) is not None
        if self.words is None:
            self.words, self.is_cut = [os.fsdecode(word) for word in exec_argv(call)], is_argv_cut(call)
        if self.variables is None or self.is_python:
            self.variables = exec_environment(call, names)
