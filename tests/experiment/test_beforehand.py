"""What can't be compared is refused before the command has run for the first time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe import experiment
from fsprobe.errors import FsprobeError
from fsprobe.experiment.plan import Image, Plan


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
