from __future__ import annotations

import itertools

import pytest

from fsprobe.analysis.attribution import ownership
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.model.events import Mount

SITE = "/project/env/lib/python3.11/site-packages"
OWNERS = Owners(
    [{"path": ["/usr/lib/python3.11", SITE, "/work/app"]}],
    {SITE: {"sklearn": "scikit_learn", "numpy": "numpy"}},
    b"/home/me",
)


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (f"{SITE}/numpy/core/x.py", "numpy"),
        (f"{SITE}/sklearn/__pycache__/base.cpython-311.pyc", "scikit-learn"),
        (f"{SITE}/numpy.libs/libopenblas-1.so", "numpy"),
        (f"{SITE}/__pycache__/six.cpython-311.pyc", "six"),
        (f"{SITE}/six.py", "six"),
        (f"{SITE}/_cffi_backend.cpython-311-x86_64-linux-gnu.so", "_cffi_backend"),
        (f"{SITE}/scikit_learn-1.9.1.dist-info/METADATA", "scikit-learn"),
        (f"{SITE}/distutils-precedence.pth", ownership.SITE_DIRECTORY),
        (SITE, ownership.SITE_DIRECTORY),
        ("/usr/lib/python3.11/json/decoder.py", ownership.STDLIB),
        ("/usr/lib/python311.zip", ownership.STDLIB),
        ("/lib/x86_64-linux-gnu/libz.so.1", ownership.LIBRARIES),
        ("/etc/ld.so.cache", ownership.LIBRARIES),
        ("/etc/localtime", ownership.SYSTEM),
        ("/work/app/models/net.py", "models"),
        ("/project/env/bin/python", ownership.PROGRAM),
        ("/project/env/pyvenv.cfg", ownership.PROGRAM),
        ("/home/me", ownership.WORKING_DIRECTORY),
        ("/data/x.csv", ownership.OTHER),
    ],
)
def test_the_owner_of_a_path(path: str, owner: str) -> None:
    assert OWNERS.of(path.encode()) == owner


def test_odd_bytes_in_a_name_come_out_as_text() -> None:
    assert OWNERS.of(SITE.encode() + b"/od\xffd/x.py") == "od\\xffd"


def mount(path: bytes, fstype: str = "ext4", fs_class: str = "local") -> Mount:
    return Mount(path=path, fstype=fstype, fs_class=fs_class, source=b"x", options="")


def test_the_longest_mount_wins_and_the_last_hides_the_others() -> None:
    table = Mounts(
        [
            mount(b"/"),
            mount(b"/project"),
            mount(b"/project", "lustre", "network"),
            mount(b"/project/env", "squashfs", "image"),
        ]
    )
    for path, fstype in (
        (b"/projects/x", "ext4"),
        (b"/project/a", "lustre"),
        (b"/project/env/bin/python", "squashfs"),
        (b"/project/env", "squashfs"),
    ):
        found = table.of(path)
        assert found is not None
        assert found.fstype == fstype, path
    assert table.of(b"relative") is None
    assert Mounts([]).of(b"/x") is None


@pytest.mark.parametrize("path", [b"", b"relative", b"a/b", b"../x"])
def test_where_the_root_is_the_only_mount_every_path_is_on_it(path: bytes) -> None:
    found = Mounts([mount(b"/"), mount(b"/", "lustre", "network")]).of(path)
    assert found is not None
    assert found.fstype == "lustre"  # the last one at a place
    assert Mounts([mount(b"/"), mount(b"/project", "lustre", "network")]).of(path) is None
    assert Mounts([mount(b"/project")]).of(path) is None  # an incomplete table
    assert Mounts([]).of(path) is None


def test_what_is_known_of_the_root_does_not_depend_on_the_order_of_the_questions() -> None:
    paths = [b"", b"/top", b"relative", b"/", b"/pfs/x"]
    for order in itertools.permutations(paths):
        table = Mounts([mount(b"/"), mount(b"/pfs", "lustre", "network")])
        found = {path: table.of(path) for path in order}
        assert {path: row and row.fstype for path, row in found.items()} == {
            b"": None, b"relative": None, b"/": "ext4", b"/top": "ext4", b"/pfs/x": "lustre",
        }  # fmt: skip


def test_a_symlinked_project_directory_is_on_the_mount_that_it_leads_to() -> None:
    table = Mounts([mount(b"/"), mount(b"/pfs/lustrep2", "lustre", "network")])
    assert table.of(b"/project/me/env/a.py").fstype == "ext4"  # type: ignore[union-attr]
    table.learn(b"/project/me/env/lib/b.py", b"/pfs/lustrep2/me/env/lib/b.py")
    for path in (b"/project/me/env/a.py", b"/project/me/env/lib/missing.so", b"/project/other"):
        assert table.of(path).fstype == "lustre", path  # type: ignore[union-attr]
    assert table.of(b"/projects").fstype == "ext4"  # type: ignore[union-attr]
    assert table.real(b"/project/me/../you") == b"/pfs/lustrep2/you"


def test_a_circle_of_links_ends() -> None:
    table = Mounts([mount(b"/")])
    table.learn(b"/a/x", b"/b/x")
    table.learn(b"/b/x", b"/a/x")
    assert table.of(b"/a/y") is not None


@pytest.mark.parametrize("path", [b"/proj/b", b"//proj/b", b"///proj/b", b"/proj//c", b"//proj/./d/../e", b"//proj"])
def test_slashes_that_are_doubled_are_one(path: bytes) -> None:
    found = Mounts([mount(b"/"), mount(b"/proj", "nfs4", "network")]).of(path)
    assert found is not None
    assert found.fstype == "nfs4"


def test_a_link_that_was_opened_with_doubled_slashes_is_the_same_link() -> None:
    table = Mounts([mount(b"/"), mount(b"/pfs", "lustre", "network")])
    table.learn(b"//project/me/x", b"/pfs/me/x")
    assert table.of(b"/project/me/y").fstype == "lustre"  # type: ignore[union-attr]


def test_mounts_that_answer_alike_are_asked_as_one_and_others_are_not() -> None:
    def made(fstype: str, led_to: bytes) -> Mounts:
        mounts = Mounts([Mount(path=b"/sw", fstype=fstype, fs_class="network", source=b"s", options="")])
        mounts.learn(b"/opt/x", led_to)
        return mounts.or_equal()

    first = made("nfs4", b"/sw/x")
    assert made("nfs4", b"/sw/x") is first
    for fstype, led_to in (("lustre", b"/sw/x"), ("nfs4", b"/elsewhere/x")):
        other = made(fstype, led_to)
        assert other is not first
        found = other.of(b"/opt/x/y")
        assert (found is not None and found.fstype) == (fstype if led_to == b"/sw/x" else False)
        assert other.of(b"/opt/x/y") is found
