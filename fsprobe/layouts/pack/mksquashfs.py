"""Run mksquashfs on a tree: its options, its progress, and what its failures mean."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from fsprobe.errors import MachineCannot
from fsprobe.layouts.mount.starting import started
from fsprobe.layouts.scan.walk import Tree

COMPRESSORS = ("zstd", "gzip", "lz4", "lzo", "xz")
ZSTD_LEVEL = 3
"""Of 401 MiB: level 3 takes 4.2 s for 126 MiB, level 15 54 s; gzip, mksquashfs' own default, 71 s."""
BLOCK = "128K"
"""1M blocks read slower: one page of a module costs a whole block."""


def run_mksquashfs(tree: Tree, image: Path, comp: str, progress: Callable[[int, int], None] | None = None) -> None:
    """Pack a tree into `image`, which holds nothing yet.

    Args:
        tree: its root is packed; how many names it has is what progress counts up to.
        image: the file to write.
        comp: one of COMPRESSORS.
        progress: told (names done, of all).

    Raises:
        MachineCannot: no room, or mksquashfs failed.
    """
    line = ["mksquashfs", os.fsdecode(tree.root), str(image), "-noappend", "-comp", comp, "-b", BLOCK]
    if comp == "zstd":
        line += ["-Xcompression-level", str(ZSTD_LEVEL)]
    # -info prints a line for each name: the only progress that can be read by a program
    line += ["-no-xattrs", "-no-recovery", "-no-progress", "-quiet", "-info"]
    line += ["-processors", str(len(os.sched_getaffinity(0)))]
    if os.geteuid() != 0:
        # one owner, who is mapped in a user namespace: with another, nothing in a writable overlay can be changed
        line += ["-force-uid", str(os.geteuid()), "-force-gid", str(os.getegid())]
    last: list[bytes] = []
    with started(
        line,
        _kill,
        deadly=signal.SIGKILL,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        n_done, total = 0, len(tree.nodes)
        with process.stdout:
            for said in process.stdout:
                if said.startswith((b"file ", b"directory ", b"symbolic link ")):
                    n_done += 1
                    if progress:
                        progress(min(n_done, total), total)
                elif said.strip():
                    last = [*last[-4:], said.strip()]
        code = process.wait()
    if code:
        words = os.fsdecode(b"; ".join(last))
        if "No space left" in words or "quota" in words.lower():
            raise MachineCannot(f"no room for the image in {image.parent}", "choose another place with -o")
        hint = "try another --comp" if "ompressor" in words else "see what mksquashfs said"
        raise MachineCannot(f"mksquashfs ended with {code}: {words}", hint)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
