"""fsprobe completion: what completes commands, options and their values in a shell. No Python is started for it at each TAB."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from fsprobe.cli import group


@click.command("completion", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what completes fsprobe's commands in a shell.

    An installed fsprobe has the same in share/ below its prefix, with its man page.
    """
    click.echo(SHELLS[shell](), nl=False)
    sys.stdout.flush()


def context_of(name: str) -> click.Context:
    """A command with its settings, as if it were called."""
    above = click.Context(group.command, info_name="fsprobe", **group.command.context_settings)
    found = group.command.get_command(above, name)
    assert found is not None
    return click.Context(found, info_name=name, parent=above, **found.context_settings)


def options_of(name: str) -> dict[str, tuple[str, tuple[str, ...], bool]]:
    """The options of a command.

    Returns:
        Each as it is typed: what its help says in its first sentence, the values it takes (empty: a file or anything), and
        whether it takes one at all.
    """
    found = context_of(name)
    options: dict[str, tuple[str, tuple[str, ...], bool]] = {}
    for param in found.command.get_params(found):
        if isinstance(param, click.Option) and not param.hidden:
            choices = tuple(map(str, param.type.choices)) if isinstance(param.type, click.Choice) else ()
            words = (param.help or "").partition(". ")[0].rstrip(".")
            for opt in param.opts:
                options[opt] = (words, choices, not param.is_flag)
    return options


def in_bash() -> str:
    """For bash 4 and later; files where an option takes one, or where no option can stand."""
    lines = [
        "# bash completion of fsprobe",
        "_fsprobe() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="${COMP_WORDS[1]}" options="" i',
        "    COMPREPLY=()",
        '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f'        COMPREPLY=($(compgen -W "{" ".join([*group.COMMANDS, "help"])} --help --version" -- "$word"))',
        "        return",
        "    fi",
        "    for ((i = 2; i < COMP_CWORD; i++)); do",
        '        [ "${COMP_WORDS[i]}" = -- ] && return',
        "    done",
        '    case "$command $before" in',
    ]
    for name in group.COMMANDS:
        for option, (_, choices, _) in options_of(name).items():
            if choices:
                lines.append(
                    f'        "{name} {option}") COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "$word")); return ;;'
                )
    shells = " ".join(SHELLS)
    lines += [
        f'        "completion completion") COMPREPLY=($(compgen -W "{shells}" -- "$word")); return ;;',
        f'        "help help") COMPREPLY=($(compgen -W "{" ".join(group.COMMANDS)}" -- "$word")); return ;;',
        "    esac",
        '    case "$command" in',
    ]
    for name in group.COMMANDS:
        lines.append(f'        {name}) options="{" ".join(options_of(name))}" ;;')
    lines += [
        "    esac",
        '    case "$word" in',
        '        -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;',
        "    esac",
        "}",
        "complete -o default -F _fsprobe fsprobe",
    ]
    return "\n".join(lines) + "\n"


def in_zsh() -> str:
    """For zsh, where it lies on fpath or is sourced."""
    lines = ["#compdef fsprobe", "_fsprobe() {", "    local -a commands options"]
    lines += [
        "    commands=(",
        *(f"        {_quoted(name + ':' + words)}" for name, (_, words) in group.COMMANDS.items()),
        "    )",
    ]
    lines += ["    if (( CURRENT == 2 )); then", "        _describe command commands", "        return", "    fi"]
    lines += ["    if (( ${words[(I)--]} )); then _normal; return; fi", '    case "$words[2]" in']
    for name in group.COMMANDS:
        specs = []
        for option, (words, choices, has_value) in options_of(name).items():
            value = f":value:({' '.join(choices)})" if choices else ":value:_files" if has_value else ""
            said = words.replace("[", "(").replace("]", ")").replace(":", " -")
            specs.append(_quoted(f"{option}[{said}]{value}"))
        lines.append(f"        {name}) _arguments {' '.join(specs)} '*:file:_files' ;;")
    lines += ["        help) _describe command commands ;;", "    esac", "}"]
    lines += ['if [ "$funcstack[1]" = _fsprobe ]; then _fsprobe "$@"; else compdef _fsprobe fsprobe; fi']
    return "\n".join(lines) + "\n"


def in_fish() -> str:
    """For fish."""
    first = "not __fish_seen_subcommand_from " + " ".join(group.COMMANDS)
    lines = ["# fish completion of fsprobe"]
    lines += [
        f"complete -c fsprobe -f -n {_quoted(first)} -a {name} -d {_quoted(words)}"
        for name, (_, words) in group.COMMANDS.items()
    ]
    for name in group.COMMANDS:
        for option, (words, choices, has_value) in options_of(name).items():
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            value = f" -x -a {_quoted(' '.join(choices))}" if choices else " -r" if has_value else ""
            when = _quoted(f"__fish_seen_subcommand_from {name}")
            lines.append(f"complete -c fsprobe -n {when} {kind}{value} -d {_quoted(words)}")
    return "\n".join(lines) + "\n"


def _quoted(words: str) -> str:
    return "'" + words.replace("'", "\u2019") + "'"


SHELLS: dict[str, Callable[[], str]] = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}
