"""The command line: one module per command, loaded when it is called."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence

import click

import fsprobe
from fsprobe.capture import shipped
from fsprobe.capture.options import RECORDING
from fsprobe.cli import hints
from fsprobe.cli.failures import (
    ignore_interrupts,
    is_interrupt,
    open_output,
    raise_when_interrupted,
    report_broken,
    report_error,
    report_interrupted,
    report_missing,
    say,
)
from fsprobe.cli.shared_options import complete
from fsprobe.errors import EXIT_USAGE, FsprobeError

# name -> (module, what `fsprobe --help` says). In the order in which a user meets them.
COMMANDS = {
    "run": ("run", "Trace a command and say where its filesystem calls come from."),
    "report": ("report", "Show a recording: in the terminal, as a page, as JSON, ..."),
    "attach": ("attach", "Trace a running program for a while and let it go."),
    "load": ("load", "Make a recording of strace logs made elsewhere."),
    "compare": ("compare", "Compare storage layouts: plain, copy, SquashFS, overlay."),
    "diff": ("diff", "Compare two recordings."),
    "fix": ("fix", "Try the cure: run again from an image of the environment."),
    "check": ("check", "Check that a run stays within limits, for tests of start-up."),
    "whatif": ("whatif", "Estimate start-up on other filesystems and on many nodes."),
    "recorder": ("recorder", "Write the recorder as one file, for containers and jobs."),
    "merge": ("merge", "Merge the recordings of a job's ranks."),
    "pack": ("pack", "Pack an environment into one SquashFS image."),
    "exec": ("exec_", "Run a command with an image mounted over a path."),
    "scan": ("scan", "Look at an environment without running anything."),
    "explain": ("explain", "Say what a finding means and where its threshold comes from."),
    "doctor": ("doctor", "Say what this machine allows, and which backend is taken."),
    "ticket": ("ticket", "Pack recordings for a support desk; names can be replaced."),
    "completion": ("completion", "Print what completes fsprobe's commands in your shell."),
    "salvage": ("salvage", "Make a recording of a run whose fsprobe was killed."),
}

PASSING_SIGNALS = ("run", "exec")
"""These pass signals on to the command that they start."""


SECTIONS = {
    "Trace, read, cure": ("run", "report", "fix", "explain"),
    "Compare and estimate": ("compare", "diff", "whatif", "check"),
    "Environments and images": ("scan", "pack", "exec"),
    "Jobs, containers, support": ("recorder", "merge", "attach", "load", "salvage", "ticket"),
    "This machine": ("doctor", "completion"),
}
"""How `fsprobe --help` groups them."""


class LazyGroup(click.Group):
    """Imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"fsprobe.cli.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        raise_when_interrupted(cmd_name in PASSING_SIGNALS)
        return command if cmd_name == "run" else complete(cmd_name, command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; of a word that is no command it says what may have been meant."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-"):
            raise FsprobeError(f"there is no command {word}", hints.for_word(args, COMMANDS), EXIT_USAGE)
        return super().resolve_command(ctx, args)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # its lines begin as this fsprobe was started, where there is room
        said = re.sub(r"(?m)^( *)fsprobe ", rf"\1{ctx.info_name} ", self.help or "")
        if max(len(line.strip()) for line in said.splitlines()[2:]) + 2 <= formatter.width:
            self.help = said
        super().format_help_text(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # from the table: `--help` imports no command
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:10}", COMMANDS[name][1]) for name in names])


@click.command(
    "fsprobe",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.version_option(fsprobe.__version__, "-V", "--version", prog_name="fsprobe")
def command() -> None:
    """Why is my Python job slow to start, is it the filesystem, and what do I do about it?

    \b
    fsprobe run -- python train.py   trace it, read why
    fsprobe help COMMAND             options of a command
    """


def main(words: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    open_output()
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    elif words[:1] == ["version"]:
        words = ["--version"]
    elif words and words[0].endswith(RECORDING):
        words = ["report", *words]
    try:
        return _main(words)
    except (click.Abort, KeyboardInterrupt):
        return report_interrupted()
    except RuntimeError as error:
        if not is_interrupt(error):
            raise
        return report_interrupted()
    finally:
        ignore_interrupts()


def _main(words: Sequence[str]) -> int:
    if any("\0" in word for word in words):
        say("an argument holds a NUL character, which no name can")
        return EXIT_USAGE
    try:
        try:
            status = command.main(args=list(words), prog_name=shipped.typed(), standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            status = EXIT_USAGE
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except FsprobeError as error:
        return report_error(error)
    except click.UsageError as error:
        return report_error(FsprobeError(hints.message_of(error), hints.for_usage(error), EXIT_USAGE))
    except click.ClickException as error:
        say(error.format_message())
        return EXIT_USAGE
    except BrokenPipeError:
        # the reader of our output has gone (`| head`): no reason to complain
        sys.stderr.close()
        return 0
    except ModuleNotFoundError as error:
        return report_missing(error)
    except (OSError, MemoryError) as error:
        return report_broken(error)
