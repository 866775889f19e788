"""The environment as fsprobe was given it.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os


def own_environment() -> "dict[str, str]":
    """This process's environment without the LC_CTYPE that an interpreter sets for itself in the C locale.

    Source: PEP 538.
    """
    environment = dict(os.environ)
    environment.pop("", None)  # `=x` may be handed on to us, but no program that is written in Python can hand it on
    if environment.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        try:
            with open("/proc/self/environ", "rb", buffering=0) as source:
                given = source.read(1 << 24).split(b"\0")
        except OSError:
            return environment
        if not any(entry.startswith(b"LC_CTYPE=") for entry in given):
            del environment["LC_CTYPE"]
    return environment
