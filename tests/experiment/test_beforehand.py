"""What can't be compared is refused before the command has run for the first time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fsprobe import experiment
from fsprobe.errors import BadInput, FsprobeError, MachineCannot
from fsprobe.experiment import beforehand
from fsprobe.experiment.beforehand import check
from fsprobe.experiment.plan import STARTING_S, Announcement, Image, Plan
from fsprobe.model.answers import Fix


def image(**values: object) -> tuple[Image, ...]:
    return (Image(label="squashfs", kind="squashfs", **values),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: {"copies": {"flash": place / "no"}}, "no such directory"),
        (lambda place: {"copies": {"flash": place / "env" / "bin"}}, "inside the environment"),
        (lambda place: {"existing": {"other": place}}, "is no environment"),
        (lambda place: {"images": image(image=place / "no.sqsh")}, "No such file"),
        (lambda place: {"images": image(image=place / "env" / "bin" / "run")}, "is not a SquashFS image"),
        (lambda place: {"images": image(way="foo")}, "no mount method 'foo'"),
        (lambda place: {"images": image(), "image_dir": place / "no", "copies": {"a": place}}, "no such directory"),
        (lambda place: {}, "nothing to compare with"),
    ],
)
def test_the_command_does_not_run(make: Callable[[Path], dict[str, object]], message: str, tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    ran = tmp_path / "ran"
    (tmp_path / "env" / "bin" / "run").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (tmp_path / "env" / "bin" / "run").chmod(0o755)
    plan = Plan(env=tmp_path / "env", command=["run"], **make(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(FsprobeError, match=message):
        experiment.run(plan)
    assert not ran.exists()


@pytest.mark.parametrize("image_dir", [None, "there", "no"])
def test_an_image_that_can_not_be_mounted_needs_no_place(
    image_dir: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out; but a directory that was named and is not there is a slip on any machine."""

    def cannot(image: Image) -> None:
        raise MachineCannot("no image can be mounted")

    monkeypatch.setattr(beforehand, "check_ways", cannot)
    env, _ = prepared(tmp_path)
    (tmp_path / "there").mkdir()
    place = tmp_path / image_dir if image_dir else None
    plan = Plan(env=env, command=["run"], images=image(), image_dir=place, copies={"flash": tmp_path})
    if image_dir == "no":
        with pytest.raises(BadInput, match="no such directory"):
            check(plan)
        return
    assert [kind for kind, _, _ in check(plan).needs] == ["copy"]


def prepared(place: Path) -> tuple[Path, Path]:
    """An environment whose one program notes each of its starts, and the file of its notes."""
    notes = place / "notes"
    (place / "env" / "bin").mkdir(parents=True)
    (place / "env" / "bin" / "run").write_text(f"#!/bin/sh\necho x >> {notes}\n")
    (place / "env" / "bin" / "run").chmod(0o755)
    (place / "env" / "more").write_bytes(b"x" * 1000)
    return place / "env", notes


@pytest.mark.parametrize("caches", [("cold",), ("warm", "cold")])
def test_cold_runs_without_a_way_to_make_them_are_refused(
    caches: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, notes = prepared(tmp_path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != "/proc/sys/vm/drop_caches" and access(path, mode))
    plan = Plan(env=env, command=["run"], copies={"flash": tmp_path}, caches=caches)
    with pytest.raises(MachineCannot, match="no cold runs") as caught:
        experiment.run(plan)
    assert caught.value.hint == "--make-cold CMD, or --cache warm"
    assert not notes.exists()
    assert check(plan, has_empty=True).caches == caches
    assert check(replace(plan, make_cold="remount")).caches == caches


@pytest.mark.parametrize(("free", "is_refused"), [(999, True), (10_000, False)])
def test_no_room_for_a_copy(free: int, is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env, notes = prepared(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    plan = Plan(env=env, command=["run"], copies={"flash": tmp_path})
    if not is_refused:
        check(plan)
        return
    with pytest.raises(MachineCannot, match="no room"):
        check(plan)
    assert not notes.exists()


def test_what_is_announced_is_what_happens(tmp_path: Path) -> None:
    env, notes = prepared(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(env, other)
    plan = Plan(
        env=env,
        command=["run"],
        copies={"flash": tmp_path},
        existing={"other": other},
        n_runs=1,
        caches=("cold", "warm"),
        make_cold="true",
        check_byte_code=False,
        output_dir=tmp_path / "out",
    )
    said: list[Announcement] = []

    def announce(what: Announcement) -> None:
        said.append(what)
        assert notes.exists() is (what.run_s is not None)

    result, _ = experiment.run(plan, announce=announce)
    assert {row.layout: row.is_made for row in result.rows} == {"plain": False, "flash": True, "other": False}
    assert {Path(row.where).parents[1] for row in result.rows if row.is_made} == {tmp_path}
    before, after = said
    assert len(notes.read_text().split()) == before.n_starts == 2 + 3 * (1 + 1 + 2)
    assert replace(after, run_s=None) == before
    assert 0 < (after.run_s or 0) < 60
    assert before.estimate_s == (0, 0)
    least_s, most_s = after.estimate_s
    assert least_s == pytest.approx((after.run_s or 0) * before.n_starts)
    assert most_s == pytest.approx(least_s + before.n_starts * STARTING_S)
    ((kind, place, n_bytes),) = before.needs
    assert (kind, place) == ("copy", Path(os.path.realpath(tmp_path)))
    assert n_bytes == 1000 + (env / "bin" / "run").stat().st_size
    assert (before.layouts, before.keeps) == (("plain", "flash", "other"), False)


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_a_fix_starts_the_command_as_often_as_its_comparison(cache: str, tmp_path: Path) -> None:
    env, _ = prepared(tmp_path)
    plan = Plan(env=env, command=["run"], copies={"flash": tmp_path}, n_runs=6, caches=(cache,), make_cold="true")
    fix = Fix(
        env=env, command=("run",), cwd=tmp_path, image=tmp_path / "i", n_runs=6, cache=cache, make_cold="true",
        n_files=1, n_bytes=1, n_to_compile=0, warnings=(),
    )  # fmt: skip
    assert fix.n_starts == check(plan).n_starts
