"""What objdump says of an ELF file's system calls: an independent truth for the site finder."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*(?:\t(.*))?$")
_BRANCH = re.compile(r"(?:bnd |notrack )?(?:j\w+|call|loop\w*)(?:,p[nt])?\s+([0-9a-f]+)\b")
_SETS_EAX = re.compile(r",%[er]?ax$")


@dataclass(slots=True)
class Disassembly:
    """An object's instructions and what follows from them."""

    syscalls: dict[int, int | None] = field(default_factory=dict)
    """Address of each `syscall` -> its number; None where the instructions before it do not set it."""
    starts: set[int] = field(default_factory=set)
    """Where instructions begin."""
    targets: set[int] = field(default_factory=set)
    """Where direct branches lead."""


def disassemble(path: Path) -> Disassembly:
    """Read an object with objdump -d."""
    rows: list[tuple[int | None, str]] = []
    with subprocess.Popen(["objdump", "-d", str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            match = _LINE.match(line)
            if match is None:
                if line.rstrip().endswith(">:"):
                    rows.append((None, line))
            elif match.group(3):
                rows.append((int(match.group(1), 16), match.group(3).strip()))
    found = Disassembly()
    for i, (address, text) in enumerate(rows):
        if address is None:
            continue
        found.starts.add(address)
        branch = _BRANCH.match(text)
        if branch is not None:
            found.targets.add(int(branch.group(1), 16))
        if text.startswith("syscall"):
            found.syscalls[address] = _number(rows, i)
    return found


def _number(rows: list[tuple[int | None, str]], i: int) -> int | None:
    for address, text in reversed(rows[max(0, i - 14) : i]):
        if address is None:
            return None
        match = re.match(r"mov\s+\$0x([0-9a-f]+),%[er]ax", text)
        if match:
            return int(match.group(1), 16)
        if re.match(r"xor\s+%eax,%eax", text):
            return 0
        if _SETS_EAX.search(text) or text.startswith(("call", "ret")):
            return None
    return None
