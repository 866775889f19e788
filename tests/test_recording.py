"""The recording file: what goes in comes out, all or nothing is written, every damage is noticed."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe import foreign_json
from fsprobe.errors import BadInput, FsprobeError
from fsprobe.model import formats
from fsprobe.recording import file
from fsprobe.recording.file import Recording

MANIFEST = json.dumps({"command": ["x"]}).encode()


def write(path: Path, log: bytes = b"1 x\n2 y\n") -> bytes:
    file.write(str(path), "recording", [("manifest", MANIFEST), ("log", iter([log[:3], b"", log[3:]])), ("marks", b"")])
    return path.read_bytes()


def test_format_is_the_model_s() -> None:
    assert file.FORMAT == formats.FORMAT


@given(log=st.binary(max_size=3000), marks=st.lists(st.binary(max_size=50), max_size=5))
@settings(max_examples=60)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, log: bytes, marks: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("r") / "x"
    file.write(str(path), "recording", [("manifest", MANIFEST), ("log", log), ("marks", iter(marks))])
    opened = Recording(str(path))
    opened.verify()
    assert opened.kind == "recording"
    assert opened.manifest == {"command": ["x"]}
    assert opened.names() == ["manifest", "log", "marks"]
    assert b"".join(opened.section("log")) == log
    assert b"".join(opened.section("marks")) == b"".join(marks)
    assert opened.size_bytes("log") == len(log)
    lines = list(opened.lines("log"))
    assert b"".join(lines) == log
    assert all(line.count(b"\n") <= 1 and (line.endswith(b"\n") or line is lines[-1]) for line in lines)


def test_lines_across_blocks(tmp_path: Path) -> None:
    log = b"".join(b"%d %s\r\n" % (k, b"\r" * (k % 3) + b"x" * 200) for k in range(60000))
    write(tmp_path / "x", log)
    assert list(Recording(str(tmp_path / "x")).lines("log")) == [piece + b"\n" for piece in log.split(b"\n")[:-1]]


def test_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "x")
    opened = Recording(str(tmp_path / "x"))
    assert list(opened.section("none")) == []
    assert opened.size_bytes("none") == 0


def test_head_of_the_file_tells_what_it_is(tmp_path: Path) -> None:
    data = write(tmp_path / "x")
    assert data.startswith(b"fsprobe 2 recording\n")
    assert MANIFEST in data


def test_no_byte_can_change_unnoticed(tmp_path: Path) -> None:
    data = write(tmp_path / "x")
    for place in range(len(data)):
        for bit in (0, 3, 7):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            (tmp_path / "x").write_bytes(damaged)
            with pytest.raises(BadInput) as caught:
                Recording(str(tmp_path / "x"))
            assert caught.value.hint


def test_no_cut_goes_unnoticed(tmp_path: Path) -> None:
    data = write(tmp_path / "x")
    for size in range(len(data)):
        (tmp_path / "x").write_bytes(data[:size])
        with pytest.raises(BadInput):
            Recording(str(tmp_path / "x"))


def forged(sections: list[tuple[bytes, bytes, bytes, int]]) -> bytes:
    """A file with right checksums and wrong content: (name, how, stored bytes, stated size)."""
    data = b"fsprobe 1 recording\n"
    crc = zlib.crc32(data)
    for name, how, stored, n_raw in sections:
        head = b"%-32s %-4s %020d %020d %08x\n" % (name, how, len(stored), n_raw, zlib.crc32(stored))
        crc = zlib.crc32(head, crc)
        data += head + stored + b"\n"
    return data + b"end %d %08x\n" % (len(sections), crc)


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b"\xff", b"[" * 100000, b'{"a": 1e999999', b"null"],
    ids=lambda value: repr(value[:8]),
)
def test_forged_manifest(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / "x").write_bytes(forged([(b"manifest", b"raw", manifest, len(manifest))]))
    with pytest.raises(BadInput, match="damaged"):
        Recording(str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("stored", "n_raw"),
    [
        (zlib.compress(bytes(50 << 20)), 10),  # unpacks to far more than it states
        (zlib.compress(b"abc"), 4),
        (zlib.compress(b"abc"), 2),
        (zlib.compress(b"abc" * 1000)[:-9], 3000),
        (b"no zlib at all", 5),
        (b"", 1),
    ],
)
def test_forged_section(tmp_path: Path, stored: bytes, n_raw: int) -> None:
    whole = [(b"manifest", b"raw", MANIFEST, len(MANIFEST)), (b"log", b"zlib", stored, n_raw)]
    (tmp_path / "x").write_bytes(forged(whole))
    opened = Recording(str(tmp_path / "x"))
    blocks: list[bytes] = []
    with pytest.raises(BadInput, match="damaged"):
        blocks.extend(opened.section("log"))
    assert sum(map(len, blocks)) <= max(n_raw, 3000)


def test_a_newer_format_says_what_to_do(tmp_path: Path) -> None:
    for first, hint in (
        (b"fsprobe 3 recording\n", "upgrade"),
        (b"fsprobe 1 dream\n", "upgrade"),
        (b"1 execve()\n", "load"),
    ):
        (tmp_path / "x").write_bytes(first)
        with pytest.raises(BadInput) as caught:
            Recording(str(tmp_path / "x"))
        assert hint in caught.value.hint


def test_a_failing_body_leaves_nothing(tmp_path: Path) -> None:
    def body() -> Iterator[bytes]:
        yield b"x" * 5000
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "x").write_text("old")
    with pytest.raises(FsprobeError, match="Input/output error"):
        file.write(str(tmp_path / "x"), "recording", [("manifest", MANIFEST), ("log", body())])
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def body() -> Iterator[bytes]:
        yield b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        file.write(str(tmp_path / "x"), "recording", [("log", body())])
    assert os.listdir(tmp_path) == []


def test_json_with_more_values_than_anybody_writes_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreign_json, "MAX_PARTS", 100)
    assert foreign_json.loads("[" + "1," * 50 + "1]") == [1] * 51
    for text in ("[" + "1," * 100 + "1]", "[" + "[]," * 60 + "1]", ("[" + "{}," * 60 + "1]").encode()):
        with pytest.raises(ValueError, match="more values"):
            foreign_json.loads(text)


def test_a_section_that_is_larger_than_what_is_made_of_it_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "x.fsprobe")
    file.write(path, "recording", [("manifest", b"{}"), ("mounts", b"x" * 1000)])
    recording = Recording(path)
    assert recording.whole("mounts", 1000) == b"x" * 1000
    with pytest.raises(BadInput, match="section mounts unpacks to"):
        recording.whole("mounts", 999)


def test_scripts_find_the_class_and_the_writer_in_the_package() -> None:
    from fsprobe import recording as package
    from fsprobe.recording import file

    assert (package.Recording, package.write) == (file.Recording, file.write)
    with pytest.raises(AttributeError):
        package.nonsense  # noqa: B018
