"""What exec says when an image is used elsewhere than it was packed for."""

from __future__ import annotations

import json
import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest

from fsprobe.layouts.pack import side_file
from fsprobe.layouts.pack.build import pack
from fsprobe.layouts.pack.side_file import mismatches
from tests.layouts.environments import need


@pytest.fixture
def image(venv: Path, tmp_path: Path) -> Path:
    need("mksquashfs", "unsquashfs")
    return pack(str(venv), str(tmp_path / "env.sqsh"), environment={}).image


def change(image: Path, section: str, **values: Any) -> None:
    side = image.with_name(image.name + ".json")
    content = json.loads(side.read_text())
    content[section].update(values)
    side.write_text(json.dumps(content))


def test_at_home_nothing_is_said(image: Path, venv: Path) -> None:
    assert mismatches(str(image), str(venv), {}) == []


def test_without_a_side_file_nothing_is_known(image: Path, venv: Path) -> None:
    image.with_name(image.name + ".json").unlink()
    assert mismatches(str(image), str(venv), {}) == []


def test_another_container(image: Path, venv: Path) -> None:
    (line,) = mismatches(str(image), str(venv), {"SINGULARITY_CONTAINER": "/images/b.sif"})
    assert line == "the image was packed in no container, this is /images/b.sif"


def test_another_path(image: Path, venv: Path, tmp_path: Path) -> None:
    (line,) = mismatches(str(image), str(tmp_path), {})
    assert f"packed from {venv}" in line


def test_another_interpreter(image: Path, venv: Path) -> None:
    change(image, "python", program="/opt/gone/python3")
    assert "does not exist here" in mismatches(str(image), str(venv), {})[0]


def test_only_a_version_makes_another_interpreter(image: Path, venv: Path) -> None:
    change(image, "python", program_identity=[1, 2])  # rebuilt, or copied to another machine
    assert mismatches(str(image), str(venv), {}) == []
    change(image, "python", version="3.1.4")
    assert "was packed for Python 3.1.4" in mismatches(str(image), str(venv), {})[0]


def test_what_the_side_file_names_is_never_run(image: Path, venv: Path, tmp_path: Path) -> None:
    for name in ("evil", "bin/python3.11", "bin/python3"):
        program = tmp_path / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\necho 3.11.1\n")
        program.chmod(0o755)
        change(image, "python", program=str(program), program_identity=[1, 2], version="3.11.1")
        lines = mismatches(str(image), str(venv), {})
        assert len(lines) <= 1
        assert not (tmp_path / "ran").exists()
    change(image, "python", program=str(tmp_path / "evil"))
    assert mismatches(str(image), str(venv), {}) == [
        f"the image was packed for Python 3.11.1; {tmp_path}/evil is another file here, whose version can't be told"
    ]


@pytest.mark.parametrize(
    ("name", "header", "packed", "said"),
    [
        ("python3.11", "3.11.9", "3.11.9", ""),
        ("python3.11", "3.11.9+", "3.11.9", ""),
        ("python3.11", "3.11.9", "3.11.2", "Python 3.11.2; {program} is 3.11.9 here"),
        ("python3.11", "", "3.11.2", ""),
        ("python3.11", "", "3.12.1", "Python 3.12.1; {program} is 3.11 here"),
        ("python", "3.12.1", "3.12.1.final.0", ""),
        ("python", "", "3.12.1", "Python 3.12.1; {program} is another file here, whose version can't be told"),
        ("sh", "3.12.1", "3.12.1", "Python 3.12.1; {program} is another file here, whose version can't be told"),
    ],
)
def test_the_version_is_read_from_what_lies_beside_the_interpreter(
    image: Path, venv: Path, tmp_path: Path, name: str, header: str, packed: str, said: str
) -> None:
    program = tmp_path / "opt/bin" / name
    program.parent.mkdir(parents=True)
    program.write_text("")
    if header:
        minor = ".".join(header.split(".")[:2])
        for path, text in (
            (f"include/python{minor}/patchlevel.h", f'#define PY_VERSION      \t"{header}"\n'),
            (f"lib/python{minor}/os.py", ""),
        ):
            (tmp_path / "opt" / path).parent.mkdir(parents=True)
            (tmp_path / "opt" / path).write_text(text)
    change(image, "python", program=str(program), program_identity=[1, 2], version=packed)
    expected = [f"the image was packed for {said.format(program=program)}"] if said else []
    assert mismatches(str(image), str(venv), {}) == expected


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("python", "version", 3),
        ("python", "program", 5),
        ("python", "program", ["/bin/sh"]),
        ("python", "program", "/bin/\0sh"),
        ("python", "program_identity", "12"),
        ("python", "program_identity", {"0": 1}),
        ("image", "n_bytes", "4096"),
        ("platform", "machine", 5),
        ("platform", "machine", {}),
    ],
)
def test_a_field_of_another_kind_is_one_line(image: Path, venv: Path, section: str, field: str, value: Any) -> None:
    change(image, section, **{field: value})
    (line,) = mismatches(str(image), str(venv), {})
    said = f"{image.name}.json can't be used ({section}.{field}); it can't be told what the image was packed for"
    assert line == said


@pytest.mark.parametrize("kind", ["deep list", "deep table", "huge", "pipe", "directory", "device", "socket"])
def test_a_side_file_that_is_none_is_one_line_and_nobody_waits(image: Path, venv: Path, kind: str) -> None:
    side = image.with_name(image.name + ".json")
    content = side.read_bytes()
    side.unlink()
    if kind == "pipe":
        os.mkfifo(side)
    elif kind == "directory":
        side.mkdir()
    elif kind == "device":
        side.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(side))
    else:
        side.write_bytes(
            {"deep list": b"[" * 100_000, "deep table": b'{"a":' * 5000, "huge": content + b" " * 70_000}[kind]
        )
    (line,) = mismatches(str(image), str(venv), {})
    assert line.startswith(f"{side.name} can't be used (")


def test_a_side_file_of_another_image(image: Path, venv: Path) -> None:
    change(image, "image", n_bytes=1)
    assert "belongs to another image" in mismatches(str(image), str(venv), {})[0]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"image": 5}', "\udcff"])
def test_a_damaged_side_file_is_no_traceback(image: Path, venv: Path, content: str) -> None:
    image.with_name(image.name + ".json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert "can't be used" in mismatches(str(image), str(venv), {})[0]


def test_without_room_for_it_the_image_is_not_there_either(tmp_path: Path) -> None:
    part, image = tmp_path / "env.part", tmp_path / "env.sqsh"
    part.write_bytes(b"new")
    image.write_bytes(b"old")

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            side_file.write({"format": 1}, side_file.side_file_of(image), part, image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert image.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env.part", "env.sqsh"]
