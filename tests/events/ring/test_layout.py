"""The ring's layout is written in slot.h; its Python readers and writers say the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from fsprobe.events.ring import slots, spelling
from fsprobe.events.strace.syscalls import SHAPES
from fsprobe.model.events import OP_OF_SYSCALL
from tests.capture.backends.inline import recorded


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What a C program that includes slot.h prints: offsets, sizes, constants."""
    place = tmp_path_factory.mktemp("layout")
    names = [name for name, _ in slots.FIELDS]
    lines = [f'printf("{name} %zu\\n", offsetof(struct slot, {name}));' for name in names]
    lines += [f'printf("{name}.bytes %zu\\n", sizeof(((struct slot *)0)->{name}));' for name in names]
    for name in ("cap", "max", "drained", "next"):
        lines.append(f'printf("header.{name} %zu\\n", offsetof(struct header, {name}));')
    lines.append('printf("header.bytes %zu\\n", sizeof(struct header));')
    for name in (
        "RING_MAGIC RING_VERSION HEADER_BYTES SLOT_BYTES SLOT_MAGIC TEXT_BYTES LONG_TEXT_AT SPAN_SHIFT CALL NEWTID START TEXT OBJECT MARK BEGUN DONE "
        "HAS_SECOND HAS_SAME HAS_BASE HAS_LONG HAS_CUT HAS_BASE_2 HAS_NO_USAGE HAS_HANDED_ON"
    ).split():
        lines.append(f'printf("{name} %llu\\n", (unsigned long long){name});')
    lines.append('printf("n_slots.at %zu\\n", offsetof(struct long_text, n_slots));')
    source = place / "layout.c"
    source.write_text(
        '#include "slot.h"\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n' + "\n".join(lines) + "\n}\n"
    )
    program = recorded.compiled(source, place / "layout", *recorded.INCLUDES)
    out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in out.splitlines())}


def test_slot(said: dict[str, int]) -> None:
    at = 0
    sizes = {"B": 1, "H": 2, "I": 4, "Q": 8, "q": 8, "4Q": 32, "120s": 120}
    for name, kind in slots.FIELDS:
        assert (said[name], said[f"{name}.bytes"]) == (at, sizes[kind]), name
        at += sizes[kind]
    assert at == slots.SLOT.size == slots.SLOT_BYTES == said["SLOT_BYTES"]
    assert slots.Slot._fields == tuple(
        one for name, _ in slots.FIELDS for one in (("arg0", "arg1", "arg2", "arg3") if name == "arg" else (name,))
    )


def test_constants(said: dict[str, int]) -> None:
    assert said["RING_MAGIC"] == slots.MAGIC == recorded.ringfile.MAGIC
    assert said["RING_VERSION"] == slots.VERSION == recorded.ringfile.VERSION
    assert said["HEADER_BYTES"] == slots.HEADER_BYTES == recorded.ringfile.HEADER_BYTES
    assert said["SLOT_BYTES"] == recorded.ringfile.SLOT_BYTES
    for name in "SLOT_MAGIC TEXT_BYTES LONG_TEXT_AT SPAN_SHIFT CALL NEWTID START TEXT OBJECT MARK BEGUN DONE".split():
        assert said[name] == getattr(slots, name), name
    for name in [name for name in said if name.startswith("HAS_")]:
        assert said[name] == getattr(slots, name), name
    assert said["n_slots.at"] == 3


def test_header(said: dict[str, int]) -> None:
    assert said["header.next"] == slots.NEXT_AT == recorded.ringfile.NEXT_AT
    assert said["header.cap"] == recorded.ringfile.CAP_AT == 16
    assert (said["header.max"], said["header.drained"]) == (24, 32)
    assert slots.HEAD.format == recorded.ringfile.HEAD.format
    assert slots.HEAD.size == 40
    assert said["header.bytes"] <= slots.HEADER_BYTES


def test_table_in_the_comment_is_the_struct(said: dict[str, int]) -> None:
    text = (recorded.SOURCES / "ring/slot.h").read_text()
    rows = re.findall(r"^ \* +(\d+) +(\d+)  (\w+)", text, re.MULTILINE)
    assert {name for _, _, name in rows} == {name for name, _ in slots.FIELDS}
    for offset, size, name in rows:
        assert (said[name], said[f"{name}.bytes"]) == (int(offset), int(size)), name


def test_calls_are_those_of_the_strace_parser() -> None:
    """Each call that the parser makes a `Call` of, and that x86_64 has, has its shape in calls.c, and its name in the reader."""
    text = (recorded.SOURCES / "calls.c").read_text()
    rows = re.findall(r"^    \[(\d+)\] = (SHAPE(?:_2)?\([^)]*\)|NO_PATH), +/\* (\w+)", text, re.MULTILINE)
    named = {int(number): name for number, shape, name in rows if shape != "NO_PATH"}
    assert named == dict(spelling.NAMES)
    old = {name.decode() for name in SHAPES if re.search(rb"64$|32$|^old", name) and name != b"getdents64"} | {
        "utimensat_time64",
        "umount",
    }
    assert set(named.values()) == {name.decode() for name in SHAPES} - old
    for number, shape, name in rows:
        if shape == "NO_PATH":
            continue
        words = [int(word) for word in re.findall(r"\d+", shape.partition("(")[2])]
        expected = SHAPES[name.encode()]
        assert words[0] - 1 == expected.path_at, name
        assert words[1] - 1 == expected.dirfd_at, name
        assert spelling.OPS[int(number)] is expected.op is OP_OF_SYSCALL.get(name, expected.op)


def test_numbers_are_the_kernels() -> None:
    """The numbers are those of the machine's own headers."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    recorded.need(header.exists(), "the kernel's headers say which number is which call")
    known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
    for number, name in spelling.NAMES.items():
        assert known.get(name, number) == number, name
    kernel = (recorded.SOURCES / "kernel.h").read_text()
    for name, number in re.findall(r"NR_(\w+) = (\d+)", kernel):
        assert known.get(name, int(number)) == int(number), name
