"""NFS's and Lustre's rules one by one, on logs that are written out; the source of each is the kernel's code that it cites."""

from __future__ import annotations

import pytest

from fsprobe.analysis.requests.model import RequestModel
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Mount, ParseQuality

MISS = "= -1 ENOENT (No such file or directory)"
FILE = "{st_mode=S_IFREG|0644, st_size=30, ...}"
DIRECTORY = "{st_mode=S_IFDIR|0755, st_size=30, ...}"


def asked(log: str, fstype: str, options: str = "", apart_s: float = 0.001) -> tuple[dict[str, int], dict[str, int]]:
    """(operations on a fresh mount, operations of the same calls at once again); a call a line, `apart_s` apart."""
    mounts = [
        Mount(path=b"/", fstype="ext4", fs_class="local", source=b"x", options="rw"),
        Mount(path=b"/m", fstype=fstype, fs_class="network", source=b"x", options=options),
    ]
    model = RequestModel(mounts)
    nanoseconds = int(apart_s * 1e9)
    stamp = b"%6d.%09d" % divmod(nanoseconds, 1_000_000_000)
    lines = [b"7 1795506711.169777 (+" + stamp + b") " + line.strip().encode() for line in log.strip().splitlines()]
    for event in parse(lines, ParseQuality(), cwd=b"/", on_status=model.add_status):
        if isinstance(event, Call):
            model.add(event)
    row = model.count().by_mount()["/m"]
    return row.operations, {} if row.further is None else row.further.operations


def cold(log: str, fstype: str, options: str = "") -> dict[str, int]:
    return asked(log, fstype, options)[0]


STAT = f'newfstatat(AT_FDCWD</>, "/m/d/x", {FILE}, 0) = 0'
OPEN = 'openat(AT_FDCWD</>, "/m/d/x", O_RDONLY|O_CLOEXEC) = 3</m/d/x>'
LISTED = """
    openat(AT_FDCWD</>, "/m/d", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3</m/d>
    getdents64(3</m/d>, 0x5 /* 9 entries */, 32768) = 272
    getdents64(3</m/d>, 0x5 /* 0 entries */, 32768) = 0
"""


@pytest.mark.parametrize(
    ("log", "v3", "v4"),
    [
        # a name is looked up in a directory whose rights are asked for: the mount's root, then d
        (STAT, {"ACCESS": 2, "LOOKUP": 2}, {"ACCESS": 2, "LOOKUP": 2}),
        (f"{STAT}\n{STAT}", {"ACCESS": 2, "LOOKUP": 2}, {"ACCESS": 2, "LOOKUP": 2}),
        # the open that looks up asks nothing twice; NFS 4 lends the file
        (OPEN, {"ACCESS": 3, "LOOKUP": 2}, {"ACCESS": 2, "LOOKUP": 1, "OPEN": 1, "CLOSE": 1}),
        (
            f"{OPEN}\n{OPEN}",
            {"ACCESS": 3, "LOOKUP": 2, "GETATTR": 1},
            {"ACCESS": 2, "LOOKUP": 1, "OPEN": 1, "CLOSE": 1},
        ),
        (
            f"{STAT}\n{OPEN}",
            {"ACCESS": 3, "LOOKUP": 2, "GETATTR": 1},
            {"ACCESS": 2, "LOOKUP": 2, "OPEN_NOATTR": 1, "CLOSE": 1},
        ),
        # whether it exists is no right; whether it may be read is one
        (f'access("/m/d/x", F_OK) = 0\n{STAT}', {"ACCESS": 2, "LOOKUP": 2}, {"ACCESS": 2, "LOOKUP": 2}),
        (f'access("/m/d/x", R_OK) = 0\n{STAT}', {"ACCESS": 3, "LOOKUP": 2}, {"ACCESS": 3, "LOOKUP": 2}),
        # missing: once, by an open too
        (
            f'openat(AT_FDCWD</>, "/m/no", O_RDONLY) {MISS}\naccess("/m/no", F_OK) {MISS}',
            {"ACCESS": 1, "LOOKUP": 1},
            {"ACCESS": 1, "OPEN": 1},
        ),
        # names that came with a listing are known; a missing one is not
        (
            f'{LISTED}\n{STAT}\nstat("/m/d/no", 0x7ff) {MISS}',
            {"ACCESS": 2, "LOOKUP": 2, "READDIRPLUS": 1},
            {"ACCESS": 2, "LOOKUP": 2, "READDIR": 1},
        ),
    ],
)
def test_what_an_nfs_client_asks(log: str, v3: dict[str, int], v4: dict[str, int]) -> None:
    assert cold(log, "nfs", "vers=3") == v3
    assert cold(log, "nfs4", "vers=4.2") == v4


def test_options_of_nfs() -> None:
    assert cold(f"{STAT}\n{OPEN}", "nfs", "vers=3,nocto") == {"ACCESS": 3, "LOOKUP": 2}
    assert cold(f"{STAT}\n{STAT}", "nfs", "vers=3,lookupcache=none") == {"ACCESS": 2, "LOOKUP": 4}
    assert cold(f"{LISTED}\n{STAT}", "nfs", "vers=3,nordirplus") == {"ACCESS": 2, "LOOKUP": 2, "READDIR": 1}
    missed = f'stat("/m/no", 0x7ff) {MISS}'
    assert cold(f"{missed}\n{missed}", "nfs", "vers=3,lookupcache=pos") == {"ACCESS": 1, "LOOKUP": 2}


def test_nfs_4_asks_for_the_access_time_of_what_was_read() -> None:
    log = f"{OPEN}\n" + f'newfstatat(AT_FDCWD</>, "/m/d/x", {FILE}, 0) = 0'
    assert cold(log, "nfs4", "vers=4.2")["GETATTR"] == 1
    assert "GETATTR" not in cold(log, "nfs4", "noatime,vers=4.2")
    assert "GETATTR" not in cold(log, "nfs", "vers=3")
    statx = f'{OPEN}\nstatx(AT_FDCWD</>, "/m/d/x", AT_STATX_SYNC_AS_STAT, STATX_MODE|STATX_SIZE, {{stx_mask=STATX_ALL}}) = 0'
    assert "GETATTR" not in cold(statx, "nfs4", "vers=4.2")


def test_attributes_are_believed_for_3_s_and_twice_as_long_each_time_they_hold() -> None:
    """Asked for every 2 s: at 0, at 4 (3 s have passed), at 10 (6 s), at 22 (12 s)."""
    stats = "\n".join([STAT] * 13)
    found, _ = asked(stats, "nfs", "vers=3", apart_s=2)
    assert found == {"ACCESS": 2, "LOOKUP": 2, "GETATTR": 3}
    assert "GETATTR" not in asked(stats, "nfs", "vers=3,actimeo=600", apart_s=2)[0]


def test_a_further_process_of_the_node() -> None:
    assert asked(OPEN, "nfs", "vers=3")[1] == {"GETATTR": 1}
    assert asked(OPEN, "nfs4", "vers=4.2")[1] == {}
    assert asked(OPEN, "lustre")[1] == {"enqueue": 1, "close": 1}
    assert asked(STAT, "nfs", "vers=3")[1] == {}


def test_a_lustre_client() -> None:
    # root, d, x; the size at the data's server
    assert cold(STAT, "lustre") == {"enqueue": 3, "glimpse": 1}
    # the open looks up; its lock brings what a status needs
    assert cold(f"{OPEN}\n{STAT}", "lustre") == {"enqueue": 3, "close": 1, "glimpse": 1}
    # a directory that is first touched by an open has no lock of its own: its name is asked for again
    assert cold(f"{LISTED}\n{STAT}", "lustre") == {"enqueue": 5, "close": 1, "readpage": 1, "glimpse": 1}


def test_a_file_that_is_opened_again_at_once_is_kept_open() -> None:
    assert cold("\n".join([STAT, *[OPEN] * 4]), "lustre")["close"] == 1
    later = asked("\n".join([STAT, *[OPEN] * 8]), "lustre", apart_s=1)[0]
    assert later["close"] == 4, "the fifth open is kept"


def test_a_type_whose_rules_are_not_known_says_so() -> None:
    mounts = [Mount(path=b"/m", fstype="gpfs", fs_class="network", source=b"x", options="rw")]
    model = RequestModel(mounts)
    lines = [b"7 " + STAT.encode()]
    for event in parse(lines, ParseQuality(), cwd=b"/"):
        if isinstance(event, Call):
            model.add(event)
    requests = model.count()
    assert requests.by_mount()["/m"].lookup == 2
    assert "gpfs" in requests.served["/m"].not_predictable["all"]


@pytest.mark.parametrize(("apart_s", "is_sure"), [(25.0, True), (61.0, False)])
def test_what_is_lent_and_not_used_for_long_may_have_gone_back(apart_s: float, is_sure: bool) -> None:
    """A client looks each 60 s for what was not used since it last looked (nfs4_renew_state); when, nobody knows."""
    mount = Mount(path=b"/m", fstype="nfs4", fs_class="network", source=b"x", options="vers=4.2,actimeo=600")
    model = RequestModel([mount])
    lines = [b"7 %.6f (+0.1) " % (1e9 + n * apart_s) + OPEN.encode() for n in range(3)]
    for event in parse(lines, ParseQuality(), cwd=b"/"):
        if isinstance(event, Call):
            model.add(event)
    requests = model.count()
    told = requests.served["/m"].not_predictable
    assert [name in told for name in ("OPEN_NOATTR", "CLOSE", "DELEGRETURN")] == [not is_sure] * 3
    # the same run at once again: a log that tells the time of day is none of a run fifty years later
    further = requests.by_mount()["/m"].further
    assert further is not None
    assert further.operations == {}
