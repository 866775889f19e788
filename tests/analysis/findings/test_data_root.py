"""The directory of a data set, whatever the paths look like."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fsprobe.analysis.findings.data import data_root
from tests.analysis.findings.evidence import LOCAL, fact, make

PATHS = st.lists(st.lists(st.sampled_from([b"/", b"a", b"b", b".", b"project"]), max_size=7).map(b"".join), min_size=1)


@pytest.mark.parametrize(
    ("paths", "root"),
    [
        ([b"/d/x/1", b"/d/x/2", b"/d/y/3"], b"/d"),
        ([b"/d//x/1", b"//d/x/2"], b"/d/x"),
        # the root directory itself, listed
        ([b"//."], b"/"),
        # the file system of everything is no data set: its largest directory is
        ([b"/d/1", b"/d/2", b"/e/3"], b"/d"),
        ([b"no/place"], b"/"),
        ([b"no/place", b"/d/x/1"], b"/d/x"),
    ],
)
def test_known_places(paths: list[bytes], root: bytes) -> None:
    assert data_root(make({}, facts=[fact()]), paths) == root


@given(PATHS)
@example([b"/", b"//"])
@example([b"//."])
def test_it_ends_with_a_directory(paths: list[bytes]) -> None:
    root = data_root(make({}, facts=[fact()], mounts=(LOCAL,)), paths)
    assert root.startswith(b"/")
    assert b"//" not in root
