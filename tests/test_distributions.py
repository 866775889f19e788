"""Which distribution owns a name: told by the environment when a recording is read, where it is still there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsprobe.capture.lookups import collect
from fsprobe.recording import distributions, file
from fsprobe.recording.distributions import completed, decided, open_names
from fsprobe.recording.file import Recording
from tests.conftest import need


def plant(site: Path, entry: str, **contents: str) -> None:
    (site / entry).mkdir(parents=True)
    for name, text in contents.items():
        (site / entry / name.replace("_txt", ".txt")).write_text(text)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    place = tmp_path / "site-packages"
    for name in ("sklearn", "yaml", "numpy"):
        (place / name).mkdir(parents=True)
    (place / "six.py").touch()
    plant(place, "scikit_learn-1.5.dist-info", top_level_txt="sklearn\n")
    plant(place, "PyYAML-6.0.dist-info", RECORD="_yaml/__init__.py,,\nyaml/__init__.py,,\n")
    plant(place, "numpy-2.0.dist-info", top_level_txt="numpy\n")
    plant(place, "six-1.16.dist-info", top_level_txt="six\n")
    return place


def looked_up(site: Path) -> dict[str, object]:
    names = {"sklearn", "yaml", "numpy", "six", "not_there"}
    return collect.distributions({str(site): names})


def test_the_recorder_leaves_open_what_names_do_not_tell(site: Path) -> None:
    found = looked_up(site)
    assert found["distributions"] == {str(site): {"numpy": "numpy", "six": "six"}}
    among = ["PyYAML-6.0.dist-info", "scikit_learn-1.5.dist-info"]
    assert found["undecided"] == {str(site): {"names": ["sklearn", "yaml"], "among": among}}
    assert found["n_calls"] == 3


def test_the_environment_tells_it_to_who_reads(site: Path) -> None:
    found = decided(looked_up(site))
    assert found["distributions"] == {
        str(site): {"numpy": "numpy", "six": "six", "sklearn": "scikit_learn", "yaml": "PyYAML"}
    }
    assert "undecided" not in found


def test_another_version_or_no_environment_tells_nothing(site: Path) -> None:
    found = looked_up(site)
    (site / "scikit_learn-1.5.dist-info").rename(site / "scikit_learn-1.6.dist-info")
    (site / "PyYAML-6.0.dist-info").rename(site / "x")
    assert decided(found)["distributions"] == {str(site): {"numpy": "numpy", "six": "six"}}


def test_a_recording_names_no_other_directory(tmp_path: Path, site: Path) -> None:
    plant(tmp_path, "elsewhere-1.dist-info", top_level_txt="sklearn\n")
    among = [
        "../elsewhere-1.dist-info",
        "/etc",
        "",
        ".dist-info",
        "scikit_learn-1.5.dist-info/../../elsewhere-1.dist-info",
    ]
    found = decided({"undecided": {str(site): {"names": ["sklearn"], "among": among}}})
    assert found["distributions"] == {str(site): {}}


def test_only_the_owner_of_a_recording_reads_what_it_names(site: Path, tmp_path: Path) -> None:
    """A recording of somebody else's may name any directory, one that is mounted when it is looked at among them."""
    need(os.geteuid() == 0, "takes root: a file is given away")
    recording = tmp_path / "x.fsprobe"
    file.write(str(recording), "recording", [("manifest", b"{}")])
    assert completed(Recording(str(recording)), looked_up(site))["distributions"][str(site)]["yaml"] == "PyYAML"
    os.chown(recording, 12345, -1)
    assert completed(Recording(str(recording)), looked_up(site)) == looked_up(site)


@pytest.mark.parametrize("left", [{}, {"names": None}, {"names": ["a"], "among": None}])
def test_what_is_not_there_is_nothing(left: dict[str, object]) -> None:
    assert decided({"undecided": {"/no/site-packages": left}}) == {"distributions": {"/no/site-packages": {}}}
    assert decided({"links": {}}) == {"links": {}}


def test_what_nobody_could_tell_stays_open(site: Path) -> None:
    found = looked_up(site)
    assert open_names(decided(found)) == {}  # they were told
    site.rename(site.with_name("gone"))
    distributions._read.clear()
    gone = decided(found)
    assert open_names(gone) == {str(site): ["sklearn", "yaml"]}
    assert open_names({**gone, "distributions": {str(site): {"yaml": "PyYAML"}}}) == {str(site): ["sklearn"]}
