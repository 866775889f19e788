"""plain, copied, squashfs, overlay: what `compare` uses; each is seen at the environment's own path and cleaned up."""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from fsprobe.errors import BadInput
from fsprobe.layouts.copied import copied
from fsprobe.layouts.overlay import overlay
from fsprobe.layouts.plain import Layout, plain
from fsprobe.layouts.squashfs import squashfs
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


def each(venv: Path, to: Path) -> dict[str, AbstractContextManager[Layout]]:
    return {
        "plain": plain(venv),
        "copy": copied(venv, to),
        "squashfs": squashfs(venv, image_dir=to),
        "overlay": overlay(venv, image_dir=to),
    }


@pytest.mark.parametrize("kind", ["plain", "copy", "squashfs", "overlay"])
def test_each_layout_lies_at_the_environments_path(venv: Path, tmp_path: Path, kind: str) -> None:
    to = tmp_path / "to"
    to.mkdir()
    before = snapshot(venv)
    core = site_of(venv) / "apples" / "core.py"
    with each(venv, to)[kind] as layout:
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
    with squashfs(venv) as layout:
        assert layout.mount_how in ("squashfs", "fuse.squashfuse_ll")
        line = [*layout.enter, "grep", f" {venv} ", "/proc/self/mountinfo"]
        assert f" - {layout.mount_how} " in subprocess.run(line, capture_output=True, text=True).stdout
    with overlay(venv) as layout:
        assert layout.mount_how.startswith("overlay on ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["venv"]


def test_a_copy_is_equal_and_can_be_kept(venv: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    with copied(venv, tmp_path, keep=True, progress=lambda *step: steps.append(step)) as layout:
        assert snapshot(layout.where) == snapshot(venv)
    assert layout.where.is_dir()
    assert steps[-1][0] == steps[-1][1] == len(snapshot(venv))


def test_a_copy_is_writable_and_the_original_stays(venv: Path, tmp_path: Path) -> None:
    before = snapshot(venv)
    with copied(venv, tmp_path) as layout:
        subprocess.run([*layout.enter, "touch", str(venv / "new")], check=True)
        assert (layout.where / "new").exists()
    assert snapshot(venv) == before


def test_an_image_that_is_given_stays(venv: Path, tmp_path: Path) -> None:
    with squashfs(venv, keep=True) as kept:
        pass
    assert kept.where.is_file()
    with squashfs(venv, image=kept.where) as layout:
        assert layout.where == kept.where
    assert kept.where.is_file()


def test_failures_clean_up(venv: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (site_of(venv) / "fresh.py").write_text("x = 1\n")  # has no .pyc
    with pytest.raises(BadInput, match="no valid .pyc"), squashfs(venv, image_dir=to):
        pass
    assert list(to.iterdir()) == []
    with pytest.raises(RuntimeError), copied(venv, to):
        raise RuntimeError
    assert list(to.iterdir()) == []
    with pytest.raises(BadInput, match="no such directory"), copied(venv, tmp_path / "none"):
        pass
    with pytest.raises(BadInput, match="inside the environment"), copied(venv, venv / "lib"):
        pass
    with squashfs(venv, image_dir=to, compile_missing=True) as layout:
        assert seen(layout, venv).startswith("image")
