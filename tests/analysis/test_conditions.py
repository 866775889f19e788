"""What is said of two runs that were made under different conditions."""

from __future__ import annotations

import pytest

from fsprobe.analysis.limits import different_conditions
from fsprobe.model.manifest import Manifest, PythonFacts
from fsprobe.model.profile import Profile


def run(version: str | None) -> Profile:
    return Profile(manifest=Manifest(command=("x",), python=PythonFacts(version=version) if version else None))


@pytest.mark.parametrize(
    ("here", "there", "is_said"),
    [
        ("3.11.7", "3.11.7", False),
        ("3.11.7", "3.11.9", True),
        ("3.11.7", "3.12.1", True),
        # told by the paths of a run without a hook
        ("3.11", "3.11.7", False),
        ("3.1", "3.11.7", True),
        ("3.11", "3.12", True),
        # not observed is no difference
        (None, "3.11.7", False),
        (None, None, False),
    ],
)
def test_versions_of_python(here: str | None, there: str | None, is_said: bool) -> None:
    assert bool(different_conditions(run(here), run(there))) is is_said
