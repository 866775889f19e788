"""What exec says when an image is used elsewhere than it was packed for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fsprobe.layouts.pack import pack
from fsprobe.layouts.sidefile import mismatches
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


def test_a_side_file_of_another_image(image: Path, venv: Path) -> None:
    change(image, "image", n_bytes=1)
    assert "belongs to another image" in mismatches(str(image), str(venv), {})[0]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"image": 5}', "\udcff"])
def test_a_damaged_side_file_is_no_traceback(image: Path, venv: Path, content: str) -> None:
    image.with_name(image.name + ".json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert "can't be used" in mismatches(str(image), str(venv), {})[0]
