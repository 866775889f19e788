"""Files of fsprobe that others read or run, also where fsprobe is one archive.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

HERE = os.path.dirname(__file__)  # as the import system wrote it: a zip importer knows its files by that


def read(*parts: "str") -> "str":
    """The text of a file of ours, named from the directory `capture`.

    Raises:
        OSError: it is not there.
    """
    return str(read_bytes(*parts), "utf-8")


def read_bytes(*parts: "str") -> "bytes":
    """What a file of ours holds, named from the directory `capture`.

    Raises:
        OSError: it is not there.
    """
    return bytes(globals()["__loader__"].get_data(path(*parts)))


def path(*parts: "str") -> "str":
    """The path of a file of ours, named from the directory `capture`; within an archive it is none for the kernel."""
    here, name = HERE, "/".join(parts)
    while name.startswith("../"):  # an archive has no such name
        here, name = os.path.dirname(here), name[3:]
    return os.path.join(here, name)


def archive() -> "str":
    """The archive that fsprobe runs from; "" where it is a directory of files."""
    path = getattr(globals()["__loader__"], "archive", "")
    return os.path.abspath(path) if path else ""


OWN_PROGRAM = "--own"


def program(module: "str", file: "str") -> "list[str]":
    """The words after an interpreter's that start a module of ours as a program: its file, or the archive that holds it."""
    return [archive(), OWN_PROGRAM, module] if archive() else [file]


def typed(is_whole: "bool" = False) -> "str":
    """What a user types to start this fsprobe: as it was started.

    Args:
        is_whole: for a line that goes into a script: a file of ours by its whole path.
    """
    import shlex
    import sys

    program = sys.argv[0]
    python = getattr(sys, "orig_argv", [""])[0] or "python3"
    if (
        archive() and "fsprobe.cli.travel" not in sys.modules
    ):  # what the recorder alone names is all of fsprobe, elsewhere
        return "%s %s" % (shlex.quote(python), shlex.quote(archive() if is_whole else program))
    if program.endswith("/fsprobe/__main__.py"):
        return "%s -m fsprobe" % shlex.quote(python)
    if os.path.basename(program) == "fsprobe" and os.path.isfile(program):
        # a venv that is not activated: the name alone would be another fsprobe, or none
        on_path = (os.path.join(place, "fsprobe") for place in os.environ.get("PATH", os.defpath).split(":") if place)
        first = next((path for path in on_path if os.path.isfile(path)), "")
        # (none is found: it has no real path, and to look for that of "" fails in a directory that is gone)
        if not first or os.path.realpath(first) != os.path.realpath(program):
            return shlex.quote(os.path.abspath(program) if is_whole else program)
    return "fsprobe"


def started(line: "str") -> "str":
    """A command of ours, `fsprobe ...`, as this fsprobe was started; another command as it is."""
    return typed() + line[len("fsprobe") :] if line.startswith("fsprobe ") else line


def retyped(sentence: "str") -> "str":
    """A sentence of ours whose commands, `fsprobe ...` in backquotes, begin as this fsprobe was started."""
    return sentence.replace("`fsprobe ", "`%s " % typed()) if "`fsprobe " in sentence else sentence
