"""Packing: what is refused, what is warned about, and what the image must equal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError, MachineCannot
from fsprobe.layouts.image import read_listing
from fsprobe.layouts.pack import build as packing
from fsprobe.layouts.pack.build import check, pack, verify
from fsprobe.layouts.scan import venv as environments
from fsprobe.layouts.scan.environment import scan_environment
from fsprobe.layouts.scan.walk import walk
from tests.layouts.environments import clean_environment, need, site_of, snapshot


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("mksquashfs", "unsquashfs")


def test_an_image_equals_its_environment(venv: Path, tmp_path: Path) -> None:
    before = snapshot(venv)
    steps: set[str] = set()
    packed = pack(str(venv), str(tmp_path / "env.sqsh"), progress=lambda stage, *_: steps.add(stage))
    assert snapshot(venv) == before
    assert {"reading the environment", "packing", "verifying"} <= steps
    listing = read_listing(str(packed.image))
    assert set(listing.entries) == set(walk(str(venv)).nodes)
    assert (packed.n_pycs, packed.n_compiled, packed.warnings) == (3, 0, ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env.sqsh", "env.sqsh.json", "venv"]
    side = json.loads(packed.side_file.read_text())
    assert side["environment"] == str(venv)
    assert side["image"]["n_bytes"] == packed.image.stat().st_size
    assert side["container"] == ""


def test_the_container_is_named(venv: Path, tmp_path: Path) -> None:
    packed = pack(str(venv), str(tmp_path / "i"), environment={"APPTAINER_CONTAINER": "/images/a.sif"})
    assert json.loads(packed.side_file.read_text())["container"] == "/images/a.sif"


def test_missing_pycs_are_refused_then_compiled_in_a_copy(venv: Path, tmp_path: Path) -> None:
    site = site_of(venv)
    shutil.rmtree(site / "apples" / "__pycache__")
    os.utime(site / "pears.py", (1_500_000_000, 1_500_000_000))
    before = snapshot(venv)
    target = tmp_path / "env.sqsh"
    with pytest.raises(BadInput, match="3 sources have no valid .pyc") as caught:
        pack(str(venv), str(target))
    assert "--compile" in caught.value.hint
    assert not target.exists()
    packed = pack(str(venv), str(target), compile_missing=True, staging=str(tmp_path))
    assert snapshot(venv) == before
    assert (packed.n_pycs, packed.n_compiled) == (3, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env.sqsh", "env.sqsh.json", "venv"]
    unpacked = tmp_path / "unpacked"
    subprocess.run(["unsquashfs", "-q", "-n", "-d", unpacked, target], check=True, capture_output=True)
    read = environments.read_venv(str(unpacked))
    assert read is not None
    assert read.magic is not None
    pycs = environments.check_pycs(walk(str(unpacked)), read, read.magic)
    assert (pycs.n_sources, pycs.missing, pycs.stale) == (3, (), ())
    shown = subprocess.run(
        [
            str(venv / "bin/python"),
            "-c",
            "import marshal, sys; print(marshal.loads(sys.stdin.buffer.read()[16:]).co_filename)",
        ],
        input=next(unpacked.rglob("pears.*.pyc")).read_bytes(),
        capture_output=True,
        env=clean_environment(),
        check=True,
    )
    assert shown.stdout.decode().strip() == str(site / "pears.py")  # not the copy's path


def test_sources_that_are_no_python_need_no_pyc(venv: Path, tmp_path: Path) -> None:
    (site_of(venv) / "template.py").write_text("import {{ name }}\n")
    (site_of(venv) / "zeros.py").write_bytes(b"\0\0")
    packed = pack(str(venv), str(tmp_path / "i"))
    assert packed.n_pycs == 3
    assert any("2 sources are no valid Python" in line for line in packed.warnings)


def test_links_out_and_nowhere_are_told(venv: Path, tmp_path: Path) -> None:
    (venv / "out").symlink_to("/etc")
    (venv / "dead").symlink_to("nothing")
    warnings = " ".join(pack(str(venv), str(tmp_path / "i")).warnings)
    assert "1 symlinks lead out" in warnings
    assert "1 dangling symlinks" in warnings
    assert "bin/python" not in warnings


@pytest.mark.parametrize("n_bytes", [235, 240, 250])
def test_the_longest_names_can_be_packed_to(venv: Path, tmp_path: Path, n_bytes: int) -> None:
    image = tmp_path / ("i" * n_bytes)
    assert pack(str(venv), str(image)).image == image
    assert sorted(path.name for path in tmp_path.iterdir()) == [image.name, f"{image.name}.json", "venv"]


def test_what_is_no_environment_is_refused(tmp_path: Path, venv: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(BadInput, match="not a virtual environment"):
        check(str(tmp_path / "plain"), str(tmp_path / "i"))
    with pytest.raises(BadInput, match="no such directory"):
        check(str(tmp_path / "none"), str(tmp_path / "i"))
    with pytest.raises(BadInput, match="not a directory"):
        check(str(venv / "pyvenv.cfg"), str(tmp_path / "i"))


def test_bad_places_are_refused(venv: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="inside the environment"):
        check(str(venv), str(venv / "lib" / "i"))
    (tmp_path / "way-in").symlink_to(venv)
    with pytest.raises(BadInput, match="inside the environment"):
        check(str(venv), str(tmp_path / "way-in" / "i"))
    with pytest.raises(BadInput, match="no such directory"):
        check(str(venv), str(tmp_path / "none" / "i"))
    with pytest.raises(BadInput, match="is a directory"):
        check(str(venv), str(tmp_path))


def test_only_force_replaces_and_only_an_image(venv: Path, tmp_path: Path) -> None:
    target = tmp_path / "i"
    first = pack(str(venv), str(target))
    inode = first.image.stat().st_ino
    with pytest.raises(FsprobeError, match="is there already") as refused:
        pack(str(venv), str(target))
    assert refused.value.exit_code == EXIT_USAGE
    assert pack(str(venv), str(target), force=True).image.stat().st_ino != inode
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    with pytest.raises(BadInput, match="not a SquashFS image"):
        pack(str(venv), str(precious), force=True)
    assert precious.read_text() == "years of work"


def test_no_room_is_said_before(venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(MachineCannot, match="no room"):
        check(str(venv), str(tmp_path / "i"))


def test_an_unknown_bytecode_is_refused(venv: Path, tmp_path: Path) -> None:
    config = venv / "pyvenv.cfg"
    config.write_text(config.read_text() + "implementation = PyPy\n")
    with pytest.raises(BadInput, match="not known"):
        check(str(venv), str(tmp_path / "i"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-all-time", "0"], "3 of 3 .pyc files would be stale"),
        (["-e", "pyvenv.cfg"], "pyvenv.cfg is missing in the image"),
        (["-p", "extra d 755 0 0"], "extra is only in the image"),
    ],
)
def test_an_image_that_is_not_the_environment_is_refused(
    venv: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    target = tmp_path / "i"
    subprocess.run(["mksquashfs", venv, target, "-quiet", "-no-progress", *options], check=True, capture_output=True)
    with pytest.raises(BadInput, match=words):
        verify(read_listing(str(target)), walk(str(venv)), check(str(venv), str(tmp_path / "other")))


def test_a_change_while_packing_is_noticed(venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = packing.run_mksquashfs

    def meddle(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        (site_of(venv) / "pears_data" / "big.bin").write_text("changed")

    monkeypatch.setattr(packing, "run_mksquashfs", meddle)
    with pytest.raises(BadInput) as caught:
        pack(str(venv), str(tmp_path / "i"))
    assert "changed the environment while" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["venv"]


@pytest.mark.parametrize("comp", ["gzip", "lz4"])
def test_other_compressors(venv: Path, tmp_path: Path, comp: str) -> None:
    packed = pack(str(venv), str(tmp_path / "i"), comp=comp)
    assert json.loads(packed.side_file.read_text())["image"]["comp"] == comp


def test_the_leavings_of_a_killed_pack_go_with_the_next(venv: Path, tmp_path: Path) -> None:
    old = tmp_path / ".i.abcdef.part"
    old.write_text("half")
    foreign = tmp_path / ".other.abcdef.part"
    foreign.write_text("not ours")
    pipe = tmp_path / ".i.pipe.part"
    os.mkfifo(pipe)  # nobody writes to it: to open it would wait for ever
    (tmp_path / "linked").write_text("precious")
    link = tmp_path / ".i.link.part"
    link.symlink_to(tmp_path / "linked")
    pack(str(venv), str(tmp_path / "i"))
    assert not old.exists()
    assert foreign.exists()
    assert pipe.exists()
    assert link.is_symlink()
    assert (tmp_path / "linked").exists()


@pytest.mark.parametrize("name", ["i", "i.json"])
@pytest.mark.parametrize("force", [False, True])
def test_a_pipe_in_the_place_of_the_image_is_refused_before_the_work(
    venv: Path, tmp_path: Path, name: str, force: bool
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(BadInput, match="it is a pipe and no file"):
        pack(str(venv), str(tmp_path / "i"), force=force)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "venv"]


def test_pipes_in_an_environment_are_not_waited_for(venv: Path, tmp_path: Path) -> None:
    (site,) = venv.glob("lib/python*/site-packages")
    info = site / "odd-1.0.dist-info"
    info.mkdir()
    for place in (info / "RECORD", info / "direct_url.json", site / "odd.pth"):
        os.mkfifo(place)
    assert [package.name for package in scan_environment(str(venv), {}).packages if package.name == "odd"]
