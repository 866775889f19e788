"""What a command line says of a program: how a report names it, and whether it can have run the hook."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_SHELLS = (b"sh", b"bash", b"dash", b"zsh", b"ksh")
PYTHON_NAME = re.compile(rb"^(?:python|pypy)[0-9.]*$")


def label_of(program: bytes, argv: Sequence[bytes]) -> str:
    """How a report names a program image: the program and, of an interpreter, what it was told to run; nothing more.

    Further arguments may hold what is nobody else's business.
    """
    words = [os.path.basename(program)]
    is_python = PYTHON_NAME.match(words[0]) is not None
    if is_python or words[0] in _SHELLS or words[0] == b"env":
        rest = iter(argv[1:])
        for word in rest:
            if word == b"-m" and is_python:
                words += [word, next(rest, b"")]
            elif is_python and word[:2] in (b"-W", b"-X"):
                if len(word) == 2:
                    next(rest, None)
                continue
            elif word.startswith(b"-") and not word.startswith(b"--") and b"c" in word and words[0] != b"env":
                words.append(b"-c")  # alone or among others (-ec): code follows
            elif (word.startswith(b"-") and len(word) > 1) or (words[0] == b"env" and b"=" in word):
                continue
            else:
                # `env -S` holds a whole command line in one word
                words.append(os.path.basename(word.split()[0] if word.split() else b""))
            break
        if any(b"multiprocessing" in word for word in argv[1:]):
            words.append(b"(multiprocessing)")
    return b" ".join(words).decode("utf-8", "backslashreplace")


def without_hook(argv: Sequence[bytes]) -> bool:
    """Whether an interpreter's options keep PYTHONPATH or site from it: -E, -I, -S, alone or among others."""
    rest = iter(argv[1:])
    for word in rest:
        if word in (b"-W", b"-X"):
            next(rest, None)
        elif not word.startswith(b"-") or word[:2] in (b"--", b"-m", b"-c") or word == b"-":
            return False
        elif set(word[1:]) & set(b"EIS") and word[1:2] not in (b"W", b"X"):
            return True
    return False
