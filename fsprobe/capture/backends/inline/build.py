"""Build the inline recorder: `python build.py [OUT]` (gcc, x86_64 Linux).

The wheel is built on a machine that has gcc, and carries the result as plain data: it needs no libc, no Python and no symbol
version, so one py3-none-linux wheel fits all. Where there is no compiler, or another architecture, the wheel is built without
it, and `fsprobe doctor` names the backend that is taken instead.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "fsprobe-inline.so"
"""The file's name: the code finds itself in LD_AUDIT by it (entry.c)."""
INJECTED = os.path.join(HERE, "injected")
FOLDERS = (INJECTED, os.path.join(INJECTED, "ring"), os.path.join(INJECTED, "rewriting"))
SOURCES = (
    "entry.c", "record.c", "followed.c", "exec.c", "mark.c", "threads.c", "calls.c", "ring/ring.c", "ring/clock.c",
    "rewriting/sites.c", "rewriting/stubs.c", "rewriting/elf.c",
)  # fmt: skip
FLAGS = (
    "-std=gnu11 -O2 -fPIC -shared -nostdlib -ffreestanding -fno-builtin -fno-stack-protector -fvisibility=hidden "
    "-fcf-protection=none -fno-asynchronous-unwind-tables -fno-jump-tables -fno-tree-loop-distribute-patterns "
    "-mno-red-zone -mno-avx -Wall -Wextra "
    "-Wl,-z,now,-z,noexecstack,-z,norelro -Wl,--hash-style=both -Wl,--build-id=none"
).split()


def command(compiler: str, out: str, defines: tuple[str, ...] = ()) -> list[str]:
    """The command line that makes `out`."""
    script = "-Wl,-T," + os.path.join(INJECTED, "image.lds")
    return [
        compiler,
        *FLAGS,
        *("-D" + name for name in defines),
        *("-I" + folder for folder in FOLDERS),
        script,
        "-o",
        out,
        *(os.path.join(INJECTED, name) for name in SOURCES),
    ]


def why_not() -> str:
    """Say why it can't be built here ("" when it can)."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the inline recorder is written for x86_64 Linux"
    return "" if shutil.which("gcc") else "there is no gcc"


def build(out: str, defines: tuple[str, ...] = ()) -> str:
    """Build it, and put it in place in one step: programs may have the old one mapped.

    Returns:
        "", or why it was not built.
    """
    why = why_not()
    if why:
        return why
    half = f"{out}.{os.getpid()}"
    done = subprocess.run(command("gcc", half, defines), capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip() or f"gcc ended with {done.returncode}"
    os.chmod(half, 0o755)
    os.replace(half, out)
    return ""


if __name__ == "__main__":
    package = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
    reason = build(sys.argv[1] if len(sys.argv) > 1 else os.path.join(package, NAME))
    if reason:
        sys.exit(reason)
