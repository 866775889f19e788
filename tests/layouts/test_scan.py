"""Scanning: every number is one that the test planted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsprobe.cli.scan import command as command_of_scan
from fsprobe.errors import BadInput
from fsprobe.layouts.scan import environment as scans
from fsprobe.layouts.scan.environment import SMALL_BYTES, Scan, as_json, quota_shares, scan_environment
from tests.layouts.environments import plant, site_of, snapshot

Planter = Callable[[str, str], Path]


def scan(path: Path, **environment: str) -> Scan:
    return scan_environment(str(path), environment)


def test_totals_are_those_of_find(venv: Path) -> None:
    before = snapshot(venv)
    seen = scan(venv)
    everything = [venv, *venv.rglob("*")]
    files = [path for path in everything if path.is_file() and not path.is_symlink()]
    assert seen.n_files == len(files)
    assert seen.n_symlinks == sum(path.is_symlink() for path in everything)
    assert seen.n_directories == sum(path.is_dir() and not path.is_symlink() for path in everything)
    assert seen.n_inodes == len(everything)
    assert seen.n_bytes == sum(path.stat().st_size for path in files)
    assert seen.n_small == sum(path.stat().st_size < SMALL_BYTES for path in files)
    assert sum(row.n_files for row in seen.packages) == seen.n_files
    assert sum(row.n_bytes for row in seen.packages) == seen.n_bytes
    assert snapshot(venv) == before


def test_files_belong_to_their_distribution(venv: Path) -> None:
    rows = {row.name: row for row in scan(venv).packages}
    # two sources, their two .pyc (which RECORD does not name), METADATA and RECORD
    assert (rows["apples"].n_files, rows["apples"].version) == (6, "1.0")
    assert rows["pears"].n_files == 5
    assert rows["pears"].n_bytes > 70_000


def test_a_hard_link_is_one_inode(venv: Path) -> None:
    before = scan(venv)
    os.link(site_of(venv) / "pears.py", site_of(venv) / "plums.py")
    after = scan(venv)
    assert (after.n_files, after.n_inodes) == (before.n_files + 1, before.n_inodes)


def test_quota_shares(venv: Path) -> None:
    seen = replace(scan(venv), n_inodes=50_000)
    assert quota_shares(seen) == {"home": 0.5, "project": 0.5, "scratch": 0.025, "flash": 0.05}
    assert quota_shares(seen, 25_000) == {"quota": 2.0}


def test_pth_editable_and_dead_paths(venv: Path, tmp_path: Path) -> None:
    site = site_of(venv)
    (tmp_path / "alive").mkdir()
    (site / "mixed.pth").write_text(f"# comment\n{tmp_path}/alive\n{tmp_path}/gone\nimport sys; sys.x = 1\n\n")
    (site / "__editable__.plums-1.0.pth").write_text(f"{tmp_path}/alive\n")
    (site / ".hidden.pth").write_text("/nowhere\n")
    plant(site, "plums", "1.0", {})
    (site / "plums-1.0.dist-info" / "direct_url.json").write_text(
        '{"url": "file:///x", "dir_info": {"editable": true}}'
    )
    seen = scan(venv, PYTHONPATH=f"{tmp_path}/alive::{tmp_path}/lost")
    mixed = next(pth for pth in seen.pths if pth.path.endswith(b"mixed.pth"))
    assert (mixed.n_code_lines, len(mixed.directories), mixed.editable) == (1, 2, False)
    assert [pth.editable for pth in seen.pths if b"plums" in pth.path] == [True]
    assert len(seen.pths) == 2
    assert [row.name for row in seen.packages if row.editable] == ["plums"]
    assert [entry for _, entry in seen.dead_paths] == [
        os.fsencode(tmp_path) + b"/gone",
        os.fsencode(tmp_path) + b"/lost",
    ]


def test_pycs_are_judged(venv: Path) -> None:
    assert scan(venv).pycs is not None
    shutil.rmtree(site_of(venv) / "apples" / "__pycache__")
    os.utime(site_of(venv) / "pears.py", (5, 5))
    pycs = scan(venv).pycs
    assert pycs is not None
    assert (len(pycs.missing), len(pycs.stale), pycs.n_sources) == (2, 1, 3)


def test_what_the_base_has(venv: Path, tmp_path: Path) -> None:
    """A base made by the test: one distribution equal, one in another version, one of its own."""
    read = scans.environments.read_venv(str(venv))
    assert read is not None
    assert read.minor is not None
    base = tmp_path / "base"
    site = base / "lib" / "python{}.{}".format(*read.minor) / "site-packages"
    site.mkdir(parents=True)
    for name, version in (("Apples", "1.0"), ("pears", "2.0"), ("quinces", "1.0")):
        plant(site, name, version, {})
    config = venv / "pyvenv.cfg"
    config.write_text(config.read_text().replace(f"home = {read.home}", f"home = {base}/bin"))
    found = {one.name: one.same for one in scan(venv).duplicates}
    assert found == {"apples": True, "pears": False}


@pytest.mark.parametrize(
    ("name", "command"), [("pip", "--system-site-packages --without-pip`"), ("figs", "--system-site-packages`")]
)
def test_the_command_that_saves_what_the_base_has(venv: Path, tmp_path: Path, name: str, command: str) -> None:
    """`python -m venv` puts a pip into each new environment unless it is told not to."""
    base = tmp_path / "base"
    read = scans.environments.read_venv(str(venv))
    assert read is not None
    assert read.minor is not None
    site = base / "lib" / "python{}.{}".format(*read.minor) / "site-packages"
    site.mkdir(parents=True)
    for where in (site, site_of(venv)):
        plant(where, name, "1.0", {f"{name}/__init__.py": ""})
    config = venv / "pyvenv.cfg"
    config.write_text(config.read_text().replace(f"home = {read.home}", f"home = {base}/bin"))
    said = " ".join(CliRunner().invoke(command_of_scan, [str(venv)]).output.split())
    assert f"1 package of the same version ({name})" in said
    assert said.count(f"would be saved by a venv with `{command}") == 1


def test_it_fits_here_or_says_why_not(venv: Path) -> None:
    assert scan(venv).misfits == ()
    config = venv / "pyvenv.cfg"
    right = config.read_text()
    read = scans.environments.read_venv(str(venv))
    assert read is not None
    config.write_text(right.replace(f"home = {read.home}", "home = /opt/gone/bin"))
    assert any("/opt/gone/bin does not exist" in reason for reason in scan(venv).misfits)
    config.write_text(right)
    for link in (venv / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/opt/gone/bin/python3")
    assert any("leads to no interpreter" in reason for reason in scan(venv).misfits)


def test_a_moved_environment_is_noticed(venv: Path, plant_file: Planter) -> None:
    plant_file("bin/tool", f"#!{venv}/bin/python\nprint()\n")
    assert scan(venv).misfits == ()
    moved = venv.rename(venv.parent / "elsewhere")
    assert any("was moved" in reason for reason in scan(moved).misfits)


def test_a_patch_release_is_another_interpreter(venv: Path) -> None:
    read = scans.environments.read_venv(str(venv))
    assert read is not None
    base = scans.environments.find_base(read)
    if not base.version:
        pytest.skip("the base interpreter has no headers to read its version from")
    config = venv / "pyvenv.cfg"
    config.write_text(
        config.read_text().replace(f"version = {read.version}", "version = {}.{}.99".format(*read.minor or ()))
    )
    assert any("99" in reason for reason in scan(venv).misfits)


def test_any_directory_can_be_counted(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x" * 100)
    seen = scan(tmp_path)
    assert (seen.is_venv, seen.n_files, seen.n_bytes, seen.pycs) == (False, 1, 100, None)
    with pytest.raises(BadInput, match="no such directory"):
        scan(tmp_path / "none")
    with pytest.raises(BadInput, match="not a directory"):
        scan(tmp_path / "data")


def test_json_holds_foreign_names(venv: Path) -> None:
    odd = os.path.join(os.fsencode(site_of(venv)), b"dead\xff.pth")
    with open(odd, "wb") as file:
        file.write(b"/gone\xfe\n")
    row = json.loads(json.dumps(as_json(scan(venv), 1000)))
    assert row["dead_paths"] == [
        {"where": f"{os.path.relpath(site_of(venv), venv)}/dead\\xff.pth", "path": "/gone\\xfe"}
    ]
    assert (row["kind"], row["small_bytes"], list(row["quota_shares"])) == ("scan", SMALL_BYTES, ["quota"])
    assert row["pycs"]["n_sources"] == 3


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pyvenv.cfg", b"home = /us\0r/bin\nversion = 3.11.2\n"),
        ("pyvenv.cfg", b"home = /usr/bin\nversion = " + b"9" * 5000 + b".1\n"),
        ("bin/tool", b"#!/x\0y/bin/python3\n"),
        ("SITE/x.pth", b"/a\0b\n"),
        ("SITE/odd-1.dist-info/RECORD", b"a\0b,,\n"),
        ("SITE/odd-1.dist-info/direct_url.json", b"[" * 100_000),
    ],
    ids=str,
)
def test_foreign_text_is_no_path_and_no_number(venv: Path, name: str, data: bytes) -> None:
    path = site_of(venv) / name[5:] if name.startswith("SITE/") else venv / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    seen = scan(venv)
    assert seen.n_files == sum(one.is_file() and not one.is_symlink() for one in venv.rglob("*"))
    assert json.dumps(as_json(seen))


def test_a_source_that_is_no_python_is_none_without_a_pyc(venv: Path) -> None:
    site = site_of(venv)
    (site / "good.py").write_text("x = 1\n")
    (site / "bad.py").write_text("def f(:\n")
    os.mkfifo(site / "pipe.fifo")
    (site / "pipe.py").symlink_to("pipe.fifo")  # to open it would wait for ever
    pycs = scan(venv).pycs
    assert pycs is not None
    names = {path.rpartition(b"/")[2] for path in pycs.missing}
    assert {b"good.py", b"bad.py"} <= names
    assert b"pipe.py" not in names
    assert [path.rpartition(b"/")[2] for path in pycs.not_python] == [b"bad.py"]


def test_a_base_that_is_reached_by_a_link_has_its_library_where_it_lies(venv: Path, tmp_path: Path) -> None:
    """The interpreter of a venv whose `home` holds but a link to it starts, so the environment does fit here."""
    read = scans.environments.read_venv(str(venv))
    assert read is not None
    links = tmp_path / "links" / "bin"
    links.mkdir(parents=True)
    (links / "python3").symlink_to(os.path.realpath(venv / "bin" / "python"))
    config = venv / "pyvenv.cfg"
    config.write_text(config.read_text().replace(f"home = {read.home}", f"home = {links}"))
    assert [reason for reason in scan(venv).misfits if "standard library" in reason] == []
