"""The finder of fsprobe's archives: it finds what Python's own would, and opens the archive once."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
import zipimport
from pathlib import Path
from typing import Any

import pytest

from fsprobe import archived

FILES = {
    "top.py": "VALUE = 1\n",
    "house/__init__.py": "",
    "house/words.py": "TEXT = 'grün'\n",
    "house/room/__init__.py": "from house import words\n",
    "house/room/chair.py": "import house.room\n",
    "house/room/data.txt": "data\n",
    "bare/inside.py": "",
}
NAMES = ("top", "house", "house.words", "house.room", "house.room.chair")


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "a.pyz"
    with path.open("wb") as target:
        target.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(target, "w", request.param) as made:
            for name, text in FILES.items():
                made.writestr(name, text)
    return path


@pytest.fixture
def finder(archive: Path, monkeypatch: pytest.MonkeyPatch) -> archived.Archive:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path", [str(archive), *sys.path])
    archived.install(zipimport.zipimporter(str(archive)))
    (found,) = (one for one in sys.meta_path if isinstance(one, archived.Archive))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_what_python_finds(archive: Path, finder: archived.Archive, name: str) -> None:
    above = os.path.join(str(archive), *name.split(".")[:-1])
    found = finder.find_spec(name, None if above == str(archive) else [above])
    expected = zipimport.zipimporter(above).find_spec(name)
    assert found is not None
    assert expected is not None
    mine, theirs = importlib.util.module_from_spec(found), importlib.util.module_from_spec(expected)
    for attribute in ("__name__", "__file__", "__package__", "__path__"):
        assert getattr(mine, attribute, None) == getattr(theirs, attribute, None), attribute
    for say in ("get_source", "get_filename", "is_package", "get_code"):
        assert getattr(found.loader, say)(name) == getattr(expected.loader, say)(name), say
    assert getattr(found.loader, "archive", "") == str(archive)


def test_what_is_not_in_it_is_left_to_others(archive: Path, finder: archived.Archive, tmp_path: Path) -> None:
    for name, path in (
        ("json", None),
        ("house.none", [f"{archive}/house"]),
        ("words", None),
        ("words", [str(tmp_path)]),
        ("words", [f"{archive}x/house"]),
        ("bare", None),
        ("top", []),
    ):
        assert finder.find_spec(name, path) is None, name
    with pytest.raises(OSError, match="not in the archive"):
        finder.read("none.py")


def test_data_is_read_and_damage_is_an_error(archive: Path, finder: archived.Archive) -> None:
    spec = finder.find_spec("house.room", [f"{archive}/house"])
    assert spec is not None
    loader: Any = spec.loader
    assert loader.get_data(f"{archive}/house/room/data.txt") == b"data\n"
    place = finder.entries["house/room/data.txt"][4]
    with archive.open("r+b") as target:
        target.seek(place)
        target.write(b"QQ")
    with pytest.raises(OSError, match="can't be read"):
        finder.read("house/room/data.txt")


def test_another_loader_changes_nothing(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.meta_path)
    monkeypatch.setattr(sys, "meta_path", before)
    archived.install(None)
    archived.install(zipimport.zipimporter(str(archive)))  # not the first on sys.path: not what was started
    assert sys.meta_path == before
    assert not any(isinstance(one, archived.Archive) for one in before)


def test_it_is_opened_once_and_may_be_replaced_meanwhile(tmp_path: Path) -> None:
    """A program in an archive that installs the finder, and then finds another archive at that path."""
    package = Path(archived.__file__).read_bytes()
    code = (
        "import os, sys, archived\narchived.install(__loader__)\n"
        "os.replace(sys.argv[1], sys.argv[0])\n"
        "opened = []\nsys.addaudithook(lambda what, words: opened.append(words[0]) if what == 'open' else None)\n"
        "import house.room.chair, top\nprint(top.VALUE, house.words.TEXT == 'gr\\xfcn', sys.argv[0] in map(str, opened))\n"
    )
    path, other = tmp_path / "a.pyz", tmp_path / "b.pyz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in {**FILES, "archived.py": package, "__main__.py": code}.items():
            made.writestr(name, text)
    other.write_bytes(b"something else")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path), str(other)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1 True False\n", "", 0)
