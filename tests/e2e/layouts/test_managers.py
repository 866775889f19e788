"""Plain, copy, SquashFS, overlay, made as `compare` makes them; each is seen at the environment's own path and cleaned up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fsprobe.errors import BadInput
from fsprobe.experiment.build import directory
from fsprobe.layouts.copied import copy_of
from fsprobe.layouts.mount.spec import Spec
from fsprobe.layouts.plain import Layout, plain
from fsprobe.layouts.squashfs import image_for, mounted
from tests.layouts.environments import clean_environment, left_behind, make_venv, need, site_of, snapshot


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("mksquashfs", "unsquashfs", "squashfuse_ll", root=True)


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return make_venv(tmp_path / "venv")


def seen(layout: Layout, venv: Path) -> str:
    code = "import apples.core as c; print(c.kind, c.__file__)"
    line = [*layout.enter, str(venv / "bin" / "python"), "-c", code]
    return subprocess.run(line, capture_output=True, text=True, check=True, env=clean_environment()).stdout


@contextmanager
def laid_out(kind: str, venv: Path, to: Path) -> Iterator[Layout]:
    if kind == "plain":
        with plain(venv) as layout:
            yield layout
    elif kind == "copy":
        with copy_of(venv, to) as copy:
            yield directory(venv, copy, kind).layout
    else:
        with image_for(venv, to) as image:
            yield mounted(Spec(kind=kind, source=str(image), at=str(venv)), kind)


@pytest.mark.parametrize("kind", ["plain", "copy", "squashfs", "overlay"])
def test_each_layout_lies_at_the_environments_path(venv: Path, tmp_path: Path, kind: str) -> None:
    to = tmp_path / "to"
    to.mkdir()
    before = snapshot(venv)
    core = site_of(venv) / "apples" / "core.py"
    with laid_out(kind, venv, to) as layout:
        assert layout.kind == kind
        assert bool(layout.enter) is (kind != "plain")
        assert layout.fstype
        assert seen(layout, venv) == f"image {core}\n"
        if kind != "plain":
            assert to in layout.where.parents
            core.write_text("kind = 'changed'\n")
            assert seen(layout, venv).startswith("image ")  # it is not the directory that is seen
            core.unlink()
    assert list(to.iterdir()) == []
    assert left_behind(str(to)) == []
    if kind == "plain":
        assert snapshot(venv) == before


def test_how_it_is_mounted_is_said(venv: Path, tmp_path: Path) -> None:
    with image_for(venv) as image:
        layout = mounted(Spec(kind="squashfs", source=str(image), at=str(venv)), "")
        assert layout.mount_how in ("squashfs", "fuse.squashfuse_ll")
        line = [*layout.enter, "grep", f" {venv} ", "/proc/self/mountinfo"]
        assert f" - {layout.mount_how} " in subprocess.run(line, capture_output=True, text=True).stdout
        assert mounted(Spec(kind="overlay", source=str(image), at=str(venv)), "").mount_how.startswith("overlay on ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["venv"]


def test_a_copy_is_equal_and_can_be_kept(venv: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    with copy_of(venv, tmp_path, keep=True, progress=lambda *step: steps.append(step)) as copy:
        assert snapshot(copy) == snapshot(venv)
    assert copy.is_dir()
    assert steps[-1][0] == steps[-1][1] == len(snapshot(venv))


def test_a_copy_is_writable_and_the_original_stays(venv: Path, tmp_path: Path) -> None:
    before = snapshot(venv)
    with laid_out("copy", venv, tmp_path) as layout:
        subprocess.run([*layout.enter, "touch", str(venv / "new")], check=True)
        assert (layout.where / "new").exists()
    assert snapshot(venv) == before


def test_an_image_can_be_kept(venv: Path) -> None:
    with image_for(venv, keep=True) as image:
        pass
    assert image.is_file()


def test_failures_clean_up(venv: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (site_of(venv) / "fresh.py").write_text("x = 1\n")  # has no .pyc: made in the image alone
    with pytest.raises(RuntimeError), image_for(venv, to):
        raise RuntimeError
    assert list(to.iterdir()) == []
    with pytest.raises(RuntimeError), copy_of(venv, to):
        raise RuntimeError
    assert list(to.iterdir()) == []
    with pytest.raises(BadInput, match="no such directory"), copy_of(venv, tmp_path / "none"):
        pass
    with pytest.raises(BadInput, match="no such directory"), image_for(venv, tmp_path / "none"):
        pass
    with pytest.raises(BadInput, match="inside the environment"), copy_of(venv, venv / "lib"):
        pass
