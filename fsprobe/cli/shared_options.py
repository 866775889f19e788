"""Options that every command has where they mean something: --color, --format, --force; and what an output may be called."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click

from fsprobe import files
from fsprobe.capture import naming, shipped
from fsprobe.capture.options import COLORS, RECORDING
from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError

WRITES_RECORDINGS = ("attach", "load", "compare", "fix", "merge", "salvage")
"""Commands whose -o is a recording, a comparison or a job."""
OUTPUTS = ("output", "plot", "keep_image")
ENDINGS = {
    "ticket": (".zip", "an archive"),
    "pack": (".sqsh", "an image"),
    "recorder": (".pyz", "a program for Python"),
}
"""What other commands write, and what it is as a rule called."""
OTHERS = (
    RECORDING,
    ".html",
    ".htm",
    ".md",
    ".json",
    ".csv",
    ".txt",
    ".png",
    ".svg",
    ".zip",
    ".tar",
    ".tgz",
    ".gz",
    ".xz",
    ".sqsh",
    ".pyz",
    ".pdf",
    ".xml",
)
"""Endings that say something else, if they are none of the command's own."""
FLAGS = {"--json": "json", "--markdown": "md"}
"""Flags that say which format: `--format` says it too."""
EXAMPLES = {
    "report": ("report slow.fsprobe", "report slow.fsprobe -o slow.html"),
    "attach": ("attach 4242 --for 30",),
    "load": ("load trace.log -o old.fsprobe",),
    "compare": ("compare --env VENV --squashfs -- VENV/bin/python app.py", "compare before.fsprobe after.fsprobe"),
    "diff": ("diff before.fsprobe after.fsprobe",),
    "fix": ("fix slow.fsprobe --dry-run", "fix slow.fsprobe --yes"),
    "check": ("check slow.fsprobe --max-metadata 3000", "check new.fsprobe --baseline old.fsprobe --tolerance 5%"),
    "whatif": ("whatif slow.fsprobe --nodes 64 --ranks-per-node 8",),
    "recorder": ("recorder", "!python3 fsprobe-rec.pyz -o x.fsprobe -- python3 app.py"),
    "merge": ("merge recordings/ -o job.fsprobe",),
    "pack": ("pack --compile VENV -o env.sqsh",),
    "exec": ("exec --image env.sqsh --at VENV -- VENV/bin/python app.py",),
    "scan": ("scan VENV",),
    "explain": ("explain FSP001",),
    "doctor": ("doctor", "doctor --selftest -- python3 app.py"),
    "ticket": ("ticket slow.fsprobe --redact -o ticket.zip",),
    "completion": ("!source <(fsprobe completion bash)",),
    "salvage": ("salvage",),
}
"""Lines at the end of a command's help, without `fsprobe`; after a `!` as it stands."""
_FORCE, _FORMAT = f"{__name__}.force", f"{__name__}.format"


def complete(name: str, command: click.Command) -> click.Command:
    """Give a command the options that it does not have yet.

    Args:
        name: of the command.
        command: it; changed, once.
    """
    known = {opt for param in command.params for opt in param.opts}
    if "--color" in known or command.callback is None:
        return command
    outputs = [str(param.name) for param in command.params if param.name in OUTPUTS]
    if name == "pack":
        outputs.append("image")
    flags = {FLAGS[opt]: str(param.name) for param in command.params for opt in param.opts if opt in FLAGS}
    if outputs and "--force" not in known:
        command.params.append(
            click.Option(
                ["--force"], is_flag=True, expose_value=False, callback=_keep(_FORCE), help="Replace what is there."
            )
        )
    if flags and "--format" not in known:
        command.params.append(
            click.Option(
                ["--format"],
                type=click.Choice(["terminal", *flags]),
                default="terminal",
                show_default=True,
                expose_value=False,
                callback=_keep(_FORMAT),
            )
        )
    command.params.append(
        click.Option(
            ["--color"],
            type=click.Choice(COLORS),
            default="auto",
            show_default=True,
            expose_value=False,
            callback=_set_color,
            help="When to use colour.",
        )
    )
    lines = [line[1:] if line.startswith("!") else f"{shipped.typed()} {line}" for line in EXAMPLES.get(name, ())]
    if lines:
        command.epilog = "\b\n" + "\n".join([f"Example{'s' if lines[1:] else ''}:", *(f"  {line}" for line in lines)])
    for param in command.params:
        if isinstance(param, click.Option) and not param.metavar and not param.is_flag:
            param.metavar = _metavar(param)
    command.callback = _checked(name, command.callback, outputs, flags)
    return command


def _metavar(option: click.Option) -> str | None:
    """What stands for the value in the help, where click would name a type of its own."""
    if option.name == "output":
        return "FILE"
    return "N" if isinstance(option.type, click.IntRange) else None


def is_forced() -> bool:
    """Whether --force was given to the command that runs."""
    return bool(click.get_current_context().meta.get(_FORCE))


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        ctx.meta[key] = value
        return value

    return keep


def _set_color(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value != "auto":
        from fsprobe.report.terminal import console

        console.set_color(value)
    return value


def _checked(name: str, callback: Callable[..., Any], outputs: list[str], flags: dict[str, str]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def checked(*args: Any, **given: Any) -> Any:
        meta = click.get_current_context().meta
        for output in outputs:
            path = given.get(output)
            if not path:
                continue
            if output == "plot":
                check_picture_name(path)
            if output == "output" and name in WRITES_RECORDINGS:
                check_recording_name(path)
            if output in ("output", "image") and name in ENDINGS:
                check_ending(path, *ENDINGS[name])
            if output != "image":
                check_place(name, output, path, bool(meta.get(_FORCE) or given.get("force")))
        flag = flags.get(meta.get(_FORMAT, "terminal"))
        if flag is not None:
            given[flag] = True
        return callback(*args, **given)

    return checked


def check_place(name: str, output: str, path: str, replaces: bool) -> None:
    """A file that can't be written, or that is there, is told before anything is done.

    Args:
        name: of the command.
        output: of its parameter.
        path: the file.
        replaces: whether one that is there may be replaced.

    Raises:
        FsprobeError: it is there (exit code 2).
        BadInput: it can't be written.
    """
    if (name == "report" and files.is_stream(path)) or (
        name == "salvage" and (path.endswith("/") or os.path.isdir(path))
    ):
        return
    is_there, why_not = naming.look(path)
    if is_there and not replaces:
        raise naming.existing(path, "--force replaces it; or name another place")
    if not why_not:
        try:
            files.check(path)
        except OSError as error:
            why_not = str(error.strerror)
    if why_not:
        option = "--" + output.replace("_", "-") if output != "output" else "-o"
        raise BadInput(f"cannot write {path}: {why_not}", f"name another place with {option}")


def check_ending(path: str, ending: str, what: str) -> None:
    """The end of a name does not say something else than what is written.

    Raises:
        FsprobeError: it does.
    """
    stem, suffix = os.path.splitext(path)
    if suffix.lower() in OTHERS and suffix.lower() != ending and not files.is_stream(path):
        raise FsprobeError(
            f"{path}: what is written is {what}, not a file of {suffix}", f"-o {stem}{ending}", EXIT_USAGE
        )


def check_picture_name(path: str) -> None:
    """The end of a picture's name says its format.

    Raises:
        FsprobeError: it says none.
    """
    if os.path.splitext(path)[1].lower() not in (".png", ".svg"):
        raise FsprobeError(f"{path} ends in neither .png nor .svg", "name the picture NAME.png or NAME.svg", EXIT_USAGE)


def check_recording_name(path: str) -> None:
    """A recording is called NAME.fsprobe, or has a name without a suffix.

    Raises:
        FsprobeError: its name says that it is something else.
    """
    stem, suffix = os.path.splitext(path)
    if suffix and suffix.lower() != RECORDING and not files.is_stream(path) and not os.path.isdir(path):
        raise FsprobeError(
            f"{path}: what is written is a recording, not a file of {suffix}",
            f"-o {stem}{RECORDING}; then `fsprobe report {stem}{RECORDING} -o FILE` in another format",
            EXIT_USAGE,
        )
