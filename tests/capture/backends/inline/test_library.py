"""Where the .so may be named in an environment that outlives the run: where nobody else can ever make a file of that name."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from fsprobe.capture import shipped
from fsprobe.capture.backends.inline import library as place_of
from tests.capture.directories.test_hook_place import no_other_home, own

__all__ = ["no_other_home", "own"]


@pytest.fixture
def installed(library: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = own / "site" / place_of.NAME
    path.parent.mkdir(mode=0o755)
    shutil.copy(library, path)
    monkeypatch.setattr(shipped, "path", lambda *parts: str(path))
    monkeypatch.setattr(shipped, "read_bytes", lambda *parts: path.read_bytes())
    return path


def find(own: Path, **more: str) -> tuple[str, str]:
    return place_of.find({"HOME": str(own), **more})


def test_the_installed_file_where_it_is_safe(installed: Path, own: Path) -> None:
    assert find(own) == (os.path.realpath(installed), "")
    assert not (own / ".cache").exists()


@pytest.mark.parametrize("spoil", ["directory", "file", "character"])
def test_a_copy_where_it_is_not(spoil: str, installed: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if spoil == "directory":
        installed.parent.chmod(0o777)
    elif spoil == "file":
        installed.chmod(0o777)
    else:
        other = installed.parent.with_name("with space") / installed.name
        other.parent.mkdir()
        shutil.copy(installed, other)
        monkeypatch.setattr(shipped, "path", lambda *parts: str(other))
    path, why = find(own)
    assert why == ""
    assert Path(path).is_relative_to(own / ".cache" / "fsprobe")
    assert Path(path).read_bytes() == installed.read_bytes()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    before = os.stat(path)
    assert find(own) == (path, ""), "it is there already"
    assert os.stat(path).st_ino == before.st_ino
    Path(path).write_bytes(b"damaged")
    assert find(own) == (path, "")
    assert Path(path).read_bytes() == installed.read_bytes()


def test_never_where_it_would_not_last(installed: Path, own: Path) -> None:
    """A runtime directory goes with the session, TMPDIR with the job: programs would then complain of LD_AUDIT on stderr."""
    installed.parent.chmod(0o777)
    runtime = own / "runtime"
    runtime.mkdir(mode=0o700)
    path, why = find(own, XDG_RUNTIME_DIR=str(runtime), TMPDIR=str(runtime))
    assert why == ""
    assert not Path(path).is_relative_to(runtime)
    cache = own / "cache"
    cache.mkdir(mode=0o700)
    path, _ = find(own, XDG_CACHE_HOME=str(cache))
    assert Path(path).is_relative_to(cache)


def test_no_place_at_all(installed: Path, own: Path) -> None:
    installed.parent.chmod(0o777)
    shared = own / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    path, why = find(shared)
    assert path == ""
    assert "others can write" in why


def test_not_built(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "path", lambda *parts: str(own / "none.so"))
    assert find(own) == ("", place_of.NOT_BUILT)
