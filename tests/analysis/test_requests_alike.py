"""Runs that did the same are counted once, and any other run for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fsprobe.analysis.attribution.attribute import NO_IMPORT
from fsprobe.analysis.requests.alike import Alike
from fsprobe.analysis.requests.dentries import DIRECTORY, SPECIAL
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.model.events import OP_OF_SYSCALL, Call, Mount

ROOT = Mount(path=b"/", fstype="ext4", fs_class="local", source=b"/dev/vda", options="rw")
NFS = Mount(path=b"/n", fstype="nfs4", fs_class="network", source=b"server:/n", options="rw,vers=4.2")
OWN = ("/dev/shm/fsprobe-{}", "/run/fsprobe/fsprobe-0/{}/hook")


def a_call(
    syscall: str, path: bytes, *, error: str = "", args: bytes = b"", result: bytes = b"0", t_ns: int = 0
) -> Call:
    return Call(7, t_ns, syscall, OP_OF_SYSCALL[syscall], path, error, 5, args, result)


def calls(t_ns: int = 0) -> list[Call]:
    """A start: a name that is missing, a file that is opened, a directory that is listed."""
    return [
        a_call("stat", b"/a/none", error="ENOENT", result=b"-1 ENOENT", t_ns=t_ns),
        a_call("openat", b"/a/x", args=b'AT_FDCWD, "/a/x", O_RDONLY', result=b"3</a/x>", t_ns=t_ns + 10),
        a_call("getdents64", b"/a", args=b"4</a>, 0x0 /* 3 entries */, 32768", result=b"80", t_ns=t_ns + 20),
        a_call("getdents64", b"/a", args=b"4</a>, 0x0 /* 0 entries */, 32768", result=b"0", t_ns=t_ns + 30),
    ]


def lookups(token: str, **more: Any) -> dict[str, Any]:
    """As a recorder makes them: its own directories are among them, with names of this run."""
    links: dict[str, str | None] = {
        "/a": None,
        f"/dev/shm/fsprobe-{token}": None,
        f"/run/fsprobe/fsprobe-0/{token}": ".",
    }
    return {
        "links": {**links, **more.pop("links", {})},
        "files": [f"/run/fsprobe/fsprobe-0/{token}/hook/x.pyc"],
        **more,
    }


class Run:
    """One run and what is known of it."""

    def __init__(
        self, made: list[Call], found: Mapping[str, Any], token: str, mounts: tuple[Mount, ...] = (ROOT,),
        sizes: Mapping[bytes, tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        self.made, self.found, self.mounts, self.sizes = made, found, mounts, dict(sizes or {})
        self.own = tuple(place.format(token) for place in OWN)

    def model(self) -> RequestModel:
        model = RequestModel(self.mounts, self.found, keeps_order=False)
        for call in self.made:
            model.add(call)
        model.sizes.update(self.sizes)
        return model

    def counted(self, alike: Alike) -> object:
        requests = alike.count(self.model(), self.mounts, self.found, self.own)
        assert requests == self.model().count()
        return requests


FIRST = Run(calls(), lookups("aa"), "aa", sizes={b"/a/x": (4, 300_000)})


def test_the_same_at_another_time_with_directories_of_its_own_is_counted_once() -> None:
    alike = Alike()
    other = Run(calls(10**9), lookups("bb"), "bb", sizes={b"/a/x": (4, 300_000), b"/dev/shm/fsprobe-bb": (3, 80)})
    assert FIRST.counted(alike) is other.counted(alike)
    assert len(alike.kept) == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Run(calls()[:-1], lookups("bb"), "bb", sizes=FIRST.sizes), id="a call less"),
        pytest.param(Run([*calls(), calls()[1]], lookups("bb"), "bb", sizes=FIRST.sizes), id="an open more"),
        pytest.param(Run(calls(), lookups("bb"), "bb", sizes={b"/a/x": (4, 100)}), id="another size"),
        pytest.param(Run(calls(), lookups("bb"), "bb"), id="no size"),
        pytest.param(Run(calls(), lookups("bb", links={"/a": "/b"}), "bb", sizes=FIRST.sizes), id="a link"),
        pytest.param(Run(calls(), lookups("bb", missing=["/a/x"]), "bb", sizes=FIRST.sizes), id="a missing name"),
        pytest.param(Run(calls(), lookups("bb", sizes={"/a/y": 3}), "bb", sizes=FIRST.sizes), id="a size looked up"),
        pytest.param(
            Run(calls(), lookups("bb"), "bb", (ROOT, Mount(path=b"/a", fstype="tmpfs", fs_class="memory", source=b"", options="")),
                sizes=FIRST.sizes), id="a mount",
        ),
    ],
)  # fmt: skip
def test_what_differs_is_counted_for_itself(other: Run) -> None:
    alike = Alike()
    assert FIRST.counted(alike) is not other.counted(alike)
    assert len(alike.kept) == 2


def test_who_reads_one_directory_at_once_is_counted_for_himself() -> None:
    """Then it depends on the times who had to ask."""
    alike, made = Alike(), calls()
    made[3] = made[3]._replace(tid=8, t_ns=21)
    run = Run(made, lookups("aa"), "aa")
    assert run.counted(alike) is not run.counted(alike)


def test_a_program_that_looks_at_the_recorders_own_directories_is_counted_for_itself() -> None:
    alike = Alike()
    run = Run([*calls(), a_call("stat", b"/dev/shm/fsprobe-aa/marks")], lookups("aa"), "aa")
    assert run.counted(alike) is not run.counted(alike)


def test_a_link_to_the_recorders_own_directories_is_counted_for_itself() -> None:
    alike = Alike()
    run = Run([*calls(), a_call("stat", b"/x/hook")], lookups("aa", links={"/x": "/run/fsprobe/fsprobe-0/aa"}), "aa")
    assert run.counted(alike) is not run.counted(alike)


def test_a_name_that_is_like_the_one_of_the_recorders_hook_is_none_of_it() -> None:
    """`torch/utils/hooks.py`, and what the hook's own import looked for."""
    alike, made = Alike(), [*calls(), a_call("stat", b"/a/hooks.py")]
    first, other = (
        Run(made, lookups(token, missing=["/run/fsprobe/fsprobe-0/hook/__pycache__"]), token) for token in ("aa", "bb")
    )
    assert first.counted(alike) is other.counted(alike)


def test_on_a_mount_with_a_client_of_its_own_times_count() -> None:
    alike = Alike()
    run = Run(calls(), lookups("aa"), "aa", (ROOT, NFS))
    assert run.counted(alike) is not run.counted(alike)


def test_a_name_that_is_something_else_meanwhile_is_looked_at_again() -> None:
    """Looks that came before tell nothing new, unless another one has found something else there."""
    as_directory = a_call("stat", b"/a/y", args=b'"/a/y", {st_mode=S_IFDIR|0755, st_size=80, ...}')
    as_socket = a_call("stat", b"/a/y", args=b'"/a/y", {st_mode=S_IFSOCK|0755, st_size=0, ...}')
    model = RequestModel((ROOT,), {}, keeps_order=False)
    kinds = []
    for call in (as_directory, as_directory, as_directory, as_socket, as_directory, as_directory, as_socket):
        model.add(call)
        kinds.append(model.taken.steps[0].kind)
    assert kinds == [DIRECTORY] * 3 + [SPECIAL] + [DIRECTORY] * 2 + [SPECIAL]
    assert len(model.taken.steps) == 1
    assert model.taken.steps[0].callers == {NO_IMPORT: 7}
