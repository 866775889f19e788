"""Whose a path is does not depend on which paths of its directory were asked for before."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe.analysis.attribution import ownership
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.model.events import Mount

NAMES = [
    "lib", "lib64", "bin", "etc", "home", "python3.11", "python311.zip", "site-packages", "site-packages\n", "dist-packages", "pkg",
    "__pycache__", "__pycache__x", "pkg.cpython-311.pyc", "other.py", "x.libs", "a_b-1.2.dist-info", "c.egg-info", "y.pth", "z.so.1",
    "pyvenv.cfg", "\udcff", "\n", "",
]  # fmt: skip
SITE = "/opt/lib/python3.11/site-packages"
paths = st.tuples(st.sampled_from(["", "/", SITE + "/", "/home/"]), st.lists(st.sampled_from(NAMES), max_size=5)).map(
    lambda parts: os.fsencode(parts[0] + "/".join(parts[1]))
)


def _owners() -> Owners:
    facts = [{"path": ["/home", "/home/pkg"], "prefix": "/opt"}]
    return Owners(
        facts, {SITE: {"pkg": "Other_Name", "__pycache__x": "q"}}, b"/home/pkg", [b"/opt/lib/python3.11/os.py"]
    )


@given(st.lists(paths, min_size=2, max_size=30))
@settings(max_examples=40, deadline=None)
def test_owners_do_not_depend_on_what_was_asked_before(asked: list[bytes]) -> None:
    owners = _owners()
    assert [owners.of(path) for path in asked] == [_owners().of(path) for path in asked]
    # by the whole path, no directory taken for all that lies in it
    assert [owners.of(path) for path in asked] == [
        "(working directory)" if path == b"/home/pkg" else owners._of(path) for path in asked
    ]


def test_more_directories_than_are_remembered(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(ownership, "MAX_PATHS", 3)
    monkeypatch.setattr(ownership, "MAX_DIRECTORIES", 4)
    local = Mount(path=b"/", fstype="ext4", fs_class="local", source=b"/dev/x", options="rw")
    nfs = Mount(path=b"/nfs", fstype="nfs4", fs_class="network", source=b"s:/x", options="rw")
    mounts, owners = Mounts([local, nfs]), _owners()
    for number in [*range(20), *range(20)]:
        assert mounts.of(b"/nfs/%d/x" % number) is nfs
        assert mounts.of(b"/%d/x" % number) is local
        assert owners.of(os.fsencode(f"{SITE}/pkg{number}/x.py")) == f"pkg{number}"
        assert len(owners._of_all_in) <= 4
        assert len(mounts._known) <= 8
