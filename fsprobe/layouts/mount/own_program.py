"""The command line of fsprobe's own program that enters a mount, or starts a command inside one; see `namespace.main`."""

from __future__ import annotations

import sys
from pathlib import Path

import fsprobe

_OWN_CODE = "import sys; sys.path.append(sys.argv.pop(1)); from fsprobe.layouts.mount.namespace import main; main()"


def own_program() -> list[str]:
    """A prefix that runs `namespace.main` with this interpreter; the words that follow are its arguments."""
    # -I -S: neither the user's environment nor site-packages may change what runs between fsprobe and the command
    root = str(Path(fsprobe.__file__).resolve().parent.parent)
    return [sys.executable, "-I", "-S", "-c", _OWN_CODE, root]


def start_argv() -> list[str]:
    """A prefix that says which process becomes the command; `{start_fd}` is filled in by the supervisor."""
    return [*own_program(), "start", "{start_fd}"]
