"""The environment that benchmarks measure in: made once, at a path that says nothing about the machine.

    python -m benchmarks.environments       makes /tmp/fsprobe-bench/env, or brings fsprobe in it up to date

It holds fsprobe as a user has it (an installed wheel, not this checkout), the workloads' packages, and the tools that
fsprobe is set beside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.evidence import PLACE, REPOSITORY, say
from fsprobe.capture.directories import own_files

WORKLOAD_PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "matplotlib")
PEERS = ("py-spy", "pyinstrument", "tuna", "snaketrace", "stracetools", "importtime-waterfall", "strace-parser")


def prepare(place: Path = PLACE) -> Path:
    """Make the environment, or install this checkout's fsprobe in the one that is there.

    Returns:
        Its interpreter; the command `fsprobe` is beside it.
    """
    env = place / "env"
    python = env / "bin" / "python"
    place.mkdir(parents=True, exist_ok=True)
    try:
        os.close(own_files.open_directory(str(place)))  # its programs are run: nobody else may have put them there
    except OSError as error:
        raise SystemExit(f"{place} is not used: {error.strerror}") from error
    clean = clean_environment()
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = env / ".done"
    wanted = " ".join((*WORKLOAD_PACKAGES, *PEERS))
    is_new = not done.exists() or done.read_text() != wanted
    if is_new:
        say(f"making {env}: {wanted}")
        base = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        subprocess.run([base, "-m", "venv", "--clear", str(env)], check=True, env=clean)
        subprocess.run([*pip, *WORKLOAD_PACKAGES, *PEERS], check=True, env=clean)
        done.write_text(wanted)
    say("installing fsprobe from this checkout")
    with tempfile.TemporaryDirectory() as scratch:
        tree = copy_checkout(Path(scratch) / "fsprobe")
        subprocess.run([*pip, "--force-reinstall", "--no-deps", str(tree)], check=True, env=clean)
        if is_new:
            subprocess.run([*pip, str(tree)], check=True, env=clean)
    return python


def copy_checkout(tree: Path) -> Path:
    """What pip builds fsprobe from, as it is in the working tree, committed or not: building there would leave build/ behind."""
    tree.mkdir()
    words = ["git", "-C", str(REPOSITORY), "ls-files", "-co", "--exclude-standard", "-z", "--"]
    words += ["fsprobe", "share", "setup.py", "pyproject.toml", "packaging/bin", "README.md", "LICENSE"]
    names = subprocess.run(words, check=True, capture_output=True).stdout.split(b"\0")
    for name in (os.fsdecode(name) for name in names if name):
        if (REPOSITORY / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((REPOSITORY / name).read_bytes())
    return tree


def clean_environment() -> dict[str, str]:
    """The one to install in: byte code is written."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}


def fsprobe_of(python: str | Path) -> list[str]:
    """The command line of fsprobe that goes with an interpreter: the installed command, else `-m`."""
    command = Path(python).parent / "fsprobe"
    return [str(command)] if command.exists() else [str(python), "-m", "fsprobe"]


if __name__ == "__main__":
    print(prepare())
