"""What somebody may have meant: of a word that is no command, and of an option that a command does not have."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

import click

from fsprobe.capture.machine import host
from fsprobe.capture.options import FORMATS, RECORDING, SCRIPTS, nearest
from fsprobe.cli.shared_options import EXAMPLES

OTHER_NAMES = {
    "run": "trace record profile start time stat strace",
    "report": "show view open print page results display summary stats statistics",
    "diff": "cmp difference delta",
    "fix": "cure repair",
    "check": "assert test guard",
    "whatif": "estimate predict scale simulate",
    "scan": "count du look inspect",
    "explain": "why findings finding code",
    "doctor": "info selftest status",
    "completion": "complete completions autocomplete",
    "attach": "pid",
    "pack": "squash squashfs image mksquashfs",
    "merge": "combine join aggregate",
    "salvage": "recover rescue restore clean cleanup",
}
"""What people type for a command, from other tools."""


def for_word(words: Sequence[str], commands: Mapping[str, object]) -> str:
    """What somebody may have meant who typed this after `fsprobe`."""
    word = words[0]
    if word == "import" and words[1:]:
        return f"did you mean `{shlex.join(['fsprobe', 'run', '-c', ' '.join(words)])}`?"
    if word == "live":
        return f"did you mean `{shlex.join(['fsprobe', 'run', '--live', *(words[1:] or ['CMD'])])}`?"
    if word in FORMATS:
        return f"did you mean `{shlex.join(['fsprobe', 'report', *words[1:], '--format', word])}`?"
    if os.path.isdir(word):
        is_environment = os.path.isfile(os.path.join(word, "pyvenv.cfg"))
        return f"did you mean `fsprobe {'scan' if is_environment else 'report'} {shlex.join(words)}`?"
    files = list(words[1:]) if all(map(os.path.exists, words[1:])) else []
    for name, others in OTHER_NAMES.items():
        if word.lower() in others.split():
            are_recordings = bool(files) and all(file.endswith(RECORDING) for file in files)
            if (name == "doctor" and files) or (name == "run" and are_recordings):
                name = "report"
            if name == "run" and words[1:] and not files:
                return f"did you mean `fsprobe run -- {shlex.join(words[1:])}`?"
            return f"did you mean `{shlex.join(['fsprobe', name, *files])}`?"
    near = nearest(word.lower(), commands)
    if near:
        return f"did you mean `{shlex.join(['fsprobe', near, *files])}`?"
    if word.endswith(SCRIPTS) or host.find_program(word, os.environ)[0] is not None:
        return f"did you mean `fsprobe run -- {shlex.join(words)}`?"
    return "`fsprobe --help` lists them"


_SHOWN_BY_REPORT = "what is written is a recording: `fsprobe report FILE --format FORMAT` shows it"
_NO_FORMAT = {
    "attach": _SHOWN_BY_REPORT,
    "load": _SHOWN_BY_REPORT,
    "salvage": _SHOWN_BY_REPORT,
    "fix": "-o FILE keeps the comparison: `fsprobe report FILE --format FORMAT` shows it",
    "ticket": "a ticket is a ZIP archive that holds the page, the JSON and the recording",
    "pack": "an image is SquashFS; --comp chooses the compressor",
    "recorder": "what is written is one program for Python",
    "exec": "CMD's output is its own",
    "completion": "name the shell: bash, zsh or fish",
}
"""Commands that have no --format, and why."""


def for_usage(error: click.UsageError) -> str:
    """The hint for a wrong word or option of a command."""
    ctx = error.ctx
    name = _command_of(error)
    if isinstance(error, click.MissingParameter) and name in EXAMPLES:
        example = EXAMPLES[name][0]
        return f"`{example[1:] if example.startswith('!') else f'fsprobe {example}'}`; see `fsprobe help {name}`"
    if not isinstance(error, click.NoSuchOption):
        return f"see `fsprobe help {name}`" if name else "`fsprobe --help` lists all commands"
    option = error.option_name
    if not name:
        if option in ("-m", "-c"):
            return f"did you mean `fsprobe run {option} ...`?"
        near = nearest(option, ("--help", "--version"))
        if near:
            return f"did you mean `fsprobe {near}`?"
        return f"options come after the command: `fsprobe run {option} ...`; `fsprobe --help` lists all commands"
    known = {opt for param in ctx.command.params for opt in param.opts} if ctx is not None else set()
    formats = {"--json": "json", "--html": "html", "--markdown": "md", "--md": "md"}
    if option in formats and "--format" in known:
        return f"did you mean --format {formats[option]}?"
    if (option in formats or option == "--format") and name in _NO_FORMAT:
        return _NO_FORMAT[name]
    if option == "--force" and not known & {"-o", "--output", "--plot"}:
        return f"`fsprobe {name}` replaces no file: leave --force out"
    near = nearest(option, sorted(known))
    return f"did you mean {near}?" if near else f"see `fsprobe help {name}`"


def _command_of(error: click.UsageError) -> str:
    """The command that an error is about; "" of fsprobe itself, which may be started by more words than one."""
    return error.ctx.info_name or "" if error.ctx is not None and error.ctx.parent is not None else ""


def message_of(error: click.UsageError) -> str:
    """What was wrong, in one line without click's own guesses."""
    if isinstance(error, click.NoSuchOption):
        return f"{_command_of(error) or 'fsprobe'} has no option {error.option_name}"
    return " ".join(error.format_message().split()).rstrip(".")
