"""What the kernel opens for a program that is started: the interpreter of a script, the loader of an ELF file.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe import files

MAX_PROGRAMS = 12


class Budget:
    """Counts what was asked of the filesystem, and what was not."""

    n_calls = 0
    n_left = 0


def look_at_programs(
    queue: "list[bytes]", programs: "dict[str, str | None]", sizes: "dict[str, int]", budget: "Budget"
) -> "None":
    """Look at programs, and at what they name in turn: what the kernel opens after each, and its size."""
    for path in queue:
        following, size = names_in_program(path, budget)
        programs[os.fsdecode(path)] = None if following is None else os.fsdecode(following)
        if size is not None:
            sizes[os.fsdecode(path)] = size
        if following is not None and following not in queue and len(queue) < MAX_PROGRAMS:
            queue.append(following)


def names_in_program(path: "bytes", budget: "Budget") -> "tuple[bytes | None, int | None]":
    """What the kernel opens after a program (the interpreter of a script, the loader of an ELF file), and its own size."""
    budget.n_calls += 1
    try:
        with files.open_regular(path) as source:
            status = os.fstat(source.fileno())
            size = status.st_size
            head = source.read(4096)
    except OSError:
        return None, None
    if not status.st_mode & 0o111:
        return None, size
    if head[:2] == b"#!":
        words = head[2:256].split(b"\n", 1)[0].split()
        return words[0] if words and words[0][:1] == b"/" else None, size
    return _loader(head) if head[:4] == b"\x7fELF" else None, size


def _loader(head: "bytes") -> "bytes | None":
    # ELF header and program headers; PT_INTERP is 3 (elf(5)). `import struct` would cost a dozen metadata calls
    order = "little" if head[5:6] == b"\x01" else "big"
    is_64 = head[4:5] == b"\x02"

    def number(at: "int", n_bytes: "int") -> "int":
        return int.from_bytes(head[at : at + n_bytes], order)  # type: ignore[arg-type]

    word = 8 if is_64 else 4
    table = number(32 if is_64 else 28, word)
    size, n_headers = number(54 if is_64 else 42, 2), number(56 if is_64 else 44, 2)
    for at in range(table, table + n_headers * size, size or 1):
        if at + 2 * word + 4 > len(head):
            return None
        if number(at, 4) == 3:
            offset = number(at + (8 if is_64 else 4), word)
            end = head.find(b"\0", offset)
            return head[offset:end] if 0 <= offset < end else None
    return None
