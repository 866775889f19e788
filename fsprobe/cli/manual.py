"""fsprobe's man page and the shells' completions as files, made of the command line itself: `python -m fsprobe.cli.manual share`."""

from __future__ import annotations

import sys
from pathlib import Path

import fsprobe
from fsprobe import errors
from fsprobe.cli import completion, group

EXIT_CODES = {
    errors.EXIT_DONE: "done; of run and exec: the command\u2019s own",
    errors.EXIT_NO: "the answer is no: a check failed, a difference was found",
    errors.EXIT_USAGE: "wrong usage, or a file is there that --force would replace",
    errors.EXIT_BAD_INPUT: "a file that was given can\u2019t be used",
    errors.EXIT_MACHINE: "this machine can\u2019t",
    errors.EXIT_OWN_FAILURE: "of run and exec: fsprobe\u2019s own failure",
    errors.EXIT_NOT_EXECUTABLE: "of run and exec: the command is not executable",
    errors.EXIT_NOT_FOUND: "of run and exec: the command was not found",
}


def files() -> dict[str, str]:
    """What is installed below `share/`: path -> text."""
    return {
        "man/man1/fsprobe.1": man_page(),
        "bash-completion/completions/fsprobe": completion.in_bash(),
        "zsh/site-functions/_fsprobe": completion.in_zsh(),
        "fish/vendor_completions.d/fsprobe.fish": completion.in_fish(),
    }


def man_page() -> str:
    """fsprobe(1): every command with its options."""
    lines = [
        f'.TH FSPROBE 1 "" "fsprobe {fsprobe.__version__}" "User Commands"',
        ".SH NAME",
        "fsprobe \\- say why a Python program is slow to start, and whether it is the filesystem",
        ".SH SYNOPSIS",
        ".B fsprobe",
        ".I COMMAND",
        "[OPTIONS] ...",
        ".SH DESCRIPTION",
        "Traces a program, counts what it asks of filesystems, says which imports caused it, and what to do about it. The first thing to type is",
        ".PP",
        ".RS",
        ".B fsprobe run \\-\\- python train.py",
        ".RE",
        ".SH COMMANDS",
    ]
    for name in group.COMMANDS:
        own = completion.context_of(name)
        found = own.command
        pieces = found.collect_usage_pieces(own)
        lines += [f".SS fsprobe {name} {_roff(' '.join(pieces))}"]
        for paragraph in (found.help or "").split("\n\n"):
            lines += [".PP", _roff(" ".join(paragraph.split()))]
        for param in found.get_params(own):
            record = param.get_help_record(own)
            if record is not None:
                lines += [".TP", f".B {_roff(record[0])}", _roff(record[1]) or "\\&"]
    lines += [".SH EXIT STATUS"]
    for code, words in EXIT_CODES.items():
        lines += [".TP", f".B {code}", _roff(words)]
    lines += [".SH SEE ALSO", ".BR strace (1),", ".BR mksquashfs (1)"]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("\u2019", "'")
    return "\\&" + text if text[:1] in (".", "'") else text


def main(words: list[str]) -> int:
    """Write the files below a directory."""
    for name, text in files().items():
        place = Path(words[0]) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
