"""`python -m fsprobe` and the command `fsprobe`."""

import sys


def main() -> int:
    """Run the command line; `run` takes a short way that does not import click."""
    words = sys.argv[1:]
    # the directory of the script is searched for each module, and never holds one: a stat per import less
    if sys.path and sys.path[0] and sys.argv[0].startswith(sys.path[0] + "/"):
        del sys.path[0]
    if words[:1] == ["run"]:
        if any(word.startswith("--ranks") for word in words):
            from fsprobe.cli import untraced

            status = untraced.main(words[1:])
            if status is not None:
                return status
        from fsprobe.cli import run

        return run.main(words[1:])
    from fsprobe.cli import group

    return group.main(words)


if __name__ == "__main__":
    sys.exit(main())
