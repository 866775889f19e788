"""Redaction: by component of path, never inside words, the same everywhere, and the same numbers as before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe import pipeline
from fsprobe.model import serial
from fsprobe.model.formats import JsonObject
from fsprobe.privacy import disclosure
from fsprobe.privacy.identities import Names, from_environment
from fsprobe.privacy.json_values import json_value
from fsprobe.privacy.learning import Learning
from fsprobe.privacy.log.cutting import Cut
from fsprobe.privacy.mount_table import mount_table
from fsprobe.privacy.redaction import Redaction
from fsprobe.recording import file as recordings
from fsprobe.recording.file import Recording

VARIABLES = frozenset({"PYTHONPATH", "VIRTUAL_ENV", "SLURM_JOB_NAME", "SLURMD_NODENAME", "SLURM_JOB_ID"})
LIB = "lib"
AN = "an"
ALICE = "alice17"


def names_of(user: str, *, learned: Iterable[bytes] = ()) -> Names:
    names = Names()
    environment = {
        "USER": user,
        "HOME": f"/users/{user}",
        "SLURM_JOB_ACCOUNT": "project_465000123",
        "HOSTNAME": "nid001234",
    }
    from_environment(names, environment)
    look = Learning(names)
    for path in learned:
        look.path(path)
    return names


def replaced(user: str, path: str, *, learned: Iterable[bytes] = ()) -> str:
    return Redaction(names_of(user, learned=learned)).path(path.encode()).decode()


@pytest.mark.parametrize(
    ("user", "path", "shown"),
    [
        (AN, "/users/an/env/lib/python3.11/site-packages/pandas/an.py", "/users/user1/env/lib/python3.11/site-packages/pandas/an.py"),
        (AN, "/usr/share/locale/an/LC_MESSAGES", "/usr/share/locale/an/LC_MESSAGES"),
        (AN, "/users/an/analysis/pandas/can/man", "/users/user1/analysis/pandas/can/man"),
        (AN, "/scratch/project_465000123/an/x", "/scratch/project1/user1/x"),
        (AN, "/data/nvme/an/x", "/data/nvme/user1/x"),
        (AN, "/tmp/an", "/tmp/user1"),
        (LIB, "/usr/lib/python3", "/usr/lib/python3"),
        (LIB, "/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu"),
        (LIB, "/users/lib/env/lib/python3.11/os.py", "/users/user1/env/lib/python3.11/os.py"),
        (LIB, "/pfs/lustrep4/users/lib/lib/python3.11", "/pfs/lustrep4/users/user1/lib/python3.11"),
        (LIB, "/scratch/project_465000123/lib/env/lib", "/scratch/project1/user1/env/lib"),
        (LIB, "/tmp/venv/lib/python3.11", "/tmp/venv/lib/python3.11"),
        (LIB, "/opt/app/lib/x.so", "/opt/app/lib/x.so"),
        (ALICE, "/tmp/alice17-x/ALICE17.txt", "/tmp/user1-x/user2.txt"),
        (ALICE, "/opt/alice17", "/opt/user1"),
        (ALICE, "/tmp/%2Fusers%2Falice17%2Fx", "/tmp/%2Fusers%2Fuser1%2Fx"),
        (ALICE, "/tmp/malice17/alice170", "/tmp/malice17/alice170"),
        (ALICE, "/users/bob/../alice17/x", "/users/user1/../user2/x"),
        (ALICE, "/project/project_465000999/data", "/project/owner1/data"),
        (ALICE, "/global/homes/a/alice17/x", "/global/homes/a/user1/x"),
        (ALICE, "/p/scratch/proj9/x", "/p/scratch/owner1/x"),
        (ALICE, "/project/env.sqsh", "/project/owner1.sqsh"),
        (ALICE, "/home/../usr/lib/x", "/home/../usr/lib/x"),
        (LIB, "/home/../lib/x", "/home/../lib/x"),
        (LIB, "/home/lib/../../lib/x", "/home/user1/../../lib/x"),
        (LIB, "/usr/../home/lib/lib", "/usr/../home/user1/lib"),
        (LIB, "/../home/lib", "/../home/user1"),
        (ALICE, "/project/p1/bob/data", "/project/owner1/owner2/data"),
        (ALICE, "/project/p1/models/bob/data", "/project/owner1/models/bob/data"),
        (ALICE, "/project/p1/users/bob/data", "/project/owner1/users/user1/data"),
        (ALICE, "/project/p1/bob.sqsh", "/project/owner1/bob.sqsh"),
        (ALICE, "/project/p1/alice17/x", "/project/owner1/user1/x"),
        (ALICE, "/project/p1/env/lib/python3.11", "/project/owner1/env/lib/python3.11"),
        (ALICE, "/tmp/thing/x", "/tmp/thing/x"),
        (ALICE, "alice17/x", "user1/x"),
        ("home", "/home/home/x", "/home/user1/x"),
        ("numpy", "/users/numpy/env/lib/python3.11/site-packages/numpy/core", "/users/user1/env/lib/python3.11/site-packages/numpy/core"),
        ("root", "/root/.local/lib", "/root/.local/lib"),
    ],
)  # fmt: skip
def test_a_component_is_replaced_in_its_place_alone(user: str, path: str, shown: str) -> None:
    assert replaced(user, path) == shown


def test_a_package_called_as_the_user_keeps_its_name() -> None:
    package = b"/users/planet/env/lib/python3.11/site-packages/planet/__init__.py"
    names = names_of("planet", learned=[package])
    shown = Redaction(names).path(package)
    assert shown == b"/users/user1/env/lib/python3.11/site-packages/planet/__init__.py"
    assert names.only_in_place() == [b"planet"]


def test_a_name_that_was_asked_for_is_replaced_whatever_it_is() -> None:
    names = names_of("bob", learned=[b"/usr/lib/planet/x"])
    names.add_forced(b"planet")
    assert Redaction(names).path(b"/usr/lib/planet/planet-2.so") == b"/usr/lib/name1/name1-2.so"
    names.add_forced(b"lib")
    assert Redaction(names).path(b"/usr/lib/x") == b"/usr/lib/x"  # nothing could be read any more


def test_the_modules_of_a_lazy_import_are_replaced_as_marks_are() -> None:
    """A mark's module and both modules of the note of its first use are one name, replaced alike."""
    lines = [
        b'7 faccessat2(-1, "fsprobe!lazy 7.ab 7 99 12 alice17_app.main alice17_lib.x", F_OK, 0) = -1 EBADF (Bad file descriptor)\n',
        b'7 faccessat2(-1, "fsprobe>alice17_lib.x", F_OK, 0) = -1 EBADF (Bad file descriptor)\n',
        b'7 faccessat2(-1, "fsprobe!ready 7.ab 7 99 1", F_OK, 0) = -1 EBADF (Bad file descriptor)\n',
    ]
    told = list(Cut(Redaction(names_of(ALICE))).lines(lines))
    assert told[0] == lines[0].replace(b"alice17", b"user1")
    assert told[1] == lines[1].replace(b"alice17", b"user1")
    assert told[2] == lines[2]


def test_a_replacement_is_never_a_name_that_is_there() -> None:
    names = names_of(ALICE, learned=[b"/users/user1/x", b"/tmp/user3"])
    redaction = Redaction(names)
    shown = {redaction.path(path) for path in (b"/users/user1", b"/users/alice17", b"/users/carol", b"/tmp/user3")}
    assert len(shown) == 4
    assert b"/users/user1" not in shown


@pytest.mark.parametrize("user", [LIB, AN, ALICE])
def test_text_with_paths_in_it(user: str) -> None:
    redaction = Redaction(names_of(user))
    text = f"--data=/users/{user}/d:/usr/lib -I/scratch/project_465000123/{user}/inc 'pandas' nid001234"
    shown = redaction.text(text.encode()).decode()
    assert shown == "--data=/users/user1/d:/usr/lib -I/scratch/project1/user1/inc 'pandas' host1"


COMPONENTS = st.sampled_from(
    b"lib an alice17 bob home users project scratch project_465000123 usr python3.11 site-packages env bin user1 host1 "
    b"nid001234 nid001234.x an.py .. . a-alice17 pandas".split()
)
PATHS = st.lists(COMPONENTS, min_size=1, max_size=7).map(lambda parts: b"/" + b"/".join(parts))


@given(st.lists(PATHS, min_size=1, max_size=12), st.sampled_from([LIB, AN, ALICE]))
@settings(max_examples=300, deadline=None)
def test_different_paths_stay_different_and_deep_as_they_were(paths: list[bytes], user: str) -> None:
    names = names_of(user, learned=paths)
    redaction = Redaction(names)
    shown = {path: redaction.path(path) for path in paths}
    assert len(set(shown.values())) == len(set(paths))
    for path, new in shown.items():
        assert new.count(b"/") == path.count(b"/")
        for at in [i for i, code in enumerate(path) if code == 47 and i]:
            # what lies in a directory lies in the replaced directory
            depth = path[:at].count(b"/") + 1
            assert redaction.path(path[:at]) == b"/".join(new.split(b"/")[:depth])
        head, _, tail = path.rpartition(b"/")
        if tail not in (b"", b"..", b"."):
            assert redaction.path(tail, head or b"/") == new.rpartition(b"/")[2]
        assert ALICE.encode() not in new or user != ALICE
        assert b"nid001234" not in new
        assert b"project_465000123" not in new


@pytest.mark.parametrize(
    ("directory", "name", "shown"),
    [
        (b"/home/x/..", b"lib", b"user2"),
        (b"/home/..", b"lib", b"lib"),
        (b"/home/lib/../../usr", b"lib", b"lib"),
        (b"/usr/../home", b"lib", b"user1"),
    ],
)
def test_a_name_alone_is_judged_by_where_its_directory_leads(directory: bytes, name: bytes, shown: bytes) -> None:
    redaction = Redaction(names_of(LIB))
    redaction.path(directory)
    assert redaction.path(name, directory) in (shown, b"user1" if shown.startswith(b"user") else shown)


MOUNTS = b"""1 2 0:3 / /tmp rw - tmpfs tmpfs rw
3 2 0:4 / /tmp/secret-study/disk rw - tmpfs tmpfs rw
4 2 0:5 / /run/user/1234 rw - tmpfs tmpfs rw
5 2 0:6 / /var/tmp/mine rw - ext4 /dev/loop1 rw
6 2 0:7 / /dev/shm rw - tmpfs tmpfs rw
7 2 0:8 / /data/nvme rw - xfs /dev/nvme0 rw
"""


def test_mount_points_of_users_are_replaced_and_paths_in_them_alike() -> None:
    names = names_of(ALICE)
    mount_table(MOUNTS, Learning(names))
    redaction = Redaction(names)
    shown = [line.split()[4] for line in mount_table(MOUNTS, redaction).splitlines()]
    assert shown == [b"/tmp", b"/tmp/name1/name2", b"/run/user/user1", b"/var/tmp/name3", b"/dev/shm", b"/data/nvme"]
    assert redaction.path(b"/tmp/secret-study/disk/x") == b"/tmp/name1/name2/x"
    assert redaction.path(b"/tmp/secret-study/other") == b"/tmp/name1/other"
    assert redaction.path(b"/opt/disk") == b"/opt/disk"


def test_what_was_kept_and_may_be_a_name_is_told() -> None:
    paths = [
        b"/tmp/thing/x",
        b"/project/p1/models/bob/data",
        b"/tmp/tmpab12xy/x",
        b"/usr/lib/word",
        b"/project/p1/models/src",
    ]
    names = names_of(ALICE, learned=paths)
    redaction = Redaction(names)
    for path in paths:
        redaction.path(path)
    assert redaction.left == {"/tmp": {b"thing"}, "/project/owner1/models": {b"bob"}}


# -- recordings -------------------------------------------------------------------------------------------------------


def made_recording(user: str, place: Path) -> Path:
    """A recording of a run in which the user, project and hosts stand in every section, written in every way."""
    home, project = f"/users/{user}", f"/scratch/project_465000123/{user}"
    site = f"{home}/env/lib/python3.11/site-packages"
    odd = f'/users/{user}/m\\303\\274ll \\"x'
    calls = [
        f'execve("{home}/env/bin/python", ["python", "run.py", "--out", "{project}/o"], 0x7ffd /* 9 vars */) = 0',
        f'readlink("{home}/env/bin/python", "/usr/bin/python3.11", 4096) = 19',
        f'openat(AT_FDCWD<{home}>, "{site}/pandas/__init__.py", O_RDONLY|O_CLOEXEC) = 3<{site}/pandas/__init__.py>',
        f'openat(AT_FDCWD<{home}>, "../{user}/zzz", O_RDONLY) = -1 ENOENT (No such file or directory)',
        f'newfstatat(AT_FDCWD<{home}>, "{odd}", 0x7ffd, 0) = -1 ENOENT (No such file or directory)',
        f'openat(AT_FDCWD</users>, "{user}/app.py", O_RDONLY) = 3<{home}/app.py>',
        f'read(3<{home}/app.py>, "SECRET of {user}", 4096) = 6',
        f'access("{project}/lib/x", F_OK) = 0',
        f'access("/usr/lib/x/{user[:2]}ndas", F_OK) = 0',
        "getdents64(4</usr/lib/locale>, 0x55 /* 4 entries */, 32768) = 100",
        'execve("/usr/bin/git", ["git", "SECRET"], ["TOKEN=SECRET"]) = 0',
    ]
    log = "".join(
        f"77    1795506711.{n:06d} (+     0.00000{n:04d}) {call} <0.000010>\n" for n, call in enumerate(calls)
    )
    facts = {
        "pid": 77,
        "ns": 10,
        "version": "3.11.2",
        "executable": f"{home}/env/bin/python",
        "prefix": f"{home}/env",
        "base_prefix": "/usr",
        "path": ["/usr/lib/python3.11", site, project],
        "user_site": f"{home}/.local/lib/python3.11/site-packages",
        "environment": {"PYTHONPATH": f"{project}:/opt/x", "SECRET_TOKEN": "SECRET"},
        "mounts": "mounts.1",
    }
    mounts = (
        f"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"22 21 0:5 /{user} /users/{user} rw - nfs4 nfs07.cluster.example.org:/export/{user} "
        f"rw,addr=10.99.1.2,clientaddr=10.99.1.3\n"
        f"23 21 0:6 / /scratch rw - lustre 10.99.7.1@o2ib:10.99.7.2@o2ib:/fs4 rw,flock\n"
        f"24 21 0:7 / /users/{user}/a\\040b rw - fuse.sshfs {user}@login9.example.org:/home/{user} rw,user_id=31337\n"
    ).encode()
    body = ("=" + ascii(facts) + "\n20 77 >pandas\n30 77 <pandas\n").encode()
    lookups = {
        "distributions": {site: {"pandas": "pandas"}},
        "links": {f"{home}/env/bin/python": "/usr/bin/python3.11", "/users/current": user, home: None},
        "missing": [f"{home}/zzz"],
        "files": [],
        "programs": {f"{home}/env/bin/python": None},
        "sizes": {f"{home}/env/bin/python": 5},
    }
    manifest = {
        "backend": "strace",
        "markers": "time",
        "command": ["python", "run.py", "--out", f"{project}/o"],
        "cwd": home,
        "host": "nid001234.cluster.example.org",
        "uid": 31337,
        "job": {"SLURM_JOB_NAME": f"job-of-{user}", "SLURMD_NODENAME": "nid001234", "SLURM_JOB_ID": "7"},
        "environment": {"VIRTUAL_ENV": f"{home}/env", "SECRET_TOKEN": "SECRET"},
        "label": f"asked by {user}@nid001234" if user == ALICE else "",
        "exit_code": 0,
        "wall_s": 1.0,
        "fsprobe_version": "0",
    }
    path = place / "given.fsprobe"
    recordings.write(
        str(path),
        "recording",
        [
            ("manifest", json.dumps(manifest).encode()),
            ("log", log.encode()),
            ("marks", b"@marks.77.abc %d\n%s@mounts.1 %d\n%s" % (len(body), body, len(mounts), mounts)),
            ("mounts", mounts),
            ("lookups", json.dumps(lookups).encode()),
            ("novelty", b"SECRET of a later version"),
        ],
    )
    return path


def redacted(given: Path, user: str) -> Path:
    names = names_of(user)
    disclosure.learn(Recording(str(given)), names, VARIABLES)
    output = given.with_name("redacted.fsprobe")
    disclosure.write(Recording(str(given)), str(output), Redaction(names), VARIABLES)
    return output


def numbers_of(value: object) -> object:
    """A value without its texts: every number in it, rows in an order that does not depend on names."""
    value = serial.to_json(value)
    if isinstance(value, dict):
        return sorted(repr(numbers_of(inner)) for inner in value.values())
    if isinstance(value, list):
        return sorted(repr(numbers_of(inner)) for inner in value)
    return "" if isinstance(value, str) else value


def all_bytes(path: Path) -> dict[str, bytes]:
    recording = Recording(str(path))
    found = {section: b"".join(recording.section(section)) for section in recording.names()}
    return {**found, "file": path.read_bytes()}


def ways_to_write(name: bytes) -> list[bytes]:
    return [
        name,
        b"".join(b"\\%o" % code for code in name),
        b"".join(b"\\x%02x" % code for code in name),
        b"".join(b"\\u%04x" % code for code in name),
        name.hex().encode(),
        name.decode().encode("utf-16-le"),
    ]


@pytest.mark.parametrize("user", [LIB, AN, ALICE])
def test_a_redacted_recording_gives_the_same_numbers(user: str, tmp_path: Path) -> None:
    given = made_recording(user, tmp_path)
    before, after = pipeline.analyse(given), pipeline.analyse(redacted(given, user))
    assert before.metrics.n_metadata == 10
    for part in ("metrics", "requests", "quality"):
        assert numbers_of(getattr(after, part)) == numbers_of(getattr(before, part)), part
    for name in ("by_phase", "by_module"):
        assert getattr(after.metrics, name) == getattr(before.metrics, name)
    assert [row.fstype for row in after.manifest.mounts] == ["ext4", "nfs4", "lustre", "fuse.sshfs"]
    assert [row.code for row in after.findings] == [row.code for row in before.findings]
    assert after.verdict.level == before.verdict.level


@pytest.mark.parametrize("user", [LIB, AN, ALICE])
def test_nothing_of_the_names_is_left_and_pandas_is_intact(user: str, tmp_path: Path) -> None:
    data = all_bytes(redacted(made_recording(user, tmp_path), user))
    hidden = [
        b"project_465000123",
        b"nid001234",
        b"example.org",
        b"nfs07",
        b"login9",
        b"10.99.",
        b"31337",
        b"job-of",
        b"SECRET",
    ]
    hidden += [b"alice17"] if user == ALICE else []
    for section, content in data.items():
        for name in hidden:
            for written in ways_to_write(name):
                assert written.lower() not in content.lower(), (section, written)
    for section in ("manifest", "log", "marks", "mounts", "lookups"):
        places = (
            rb"(?:/users|/export|/home|project1|rw - nfs4 [^ ]*|sshfs |: \")/?" + user.encode() + rb"(?![A-Za-z0-9])"
        )
        assert not re.search(places, data[section]), section
        assert b"/user1" in data[section], section
    assert data["log"].count(b"/pandas/__init__.py") == 2
    assert b">pandas\n" in data["marks"]
    assert b'"pandas": "pandas"' in data["lookups"]
    assert b"/usr/lib/locale" in data["log"]
    assert "novelty" not in data


def test_a_recording_that_is_not_redacted_keeps_names_and_loses_secrets(tmp_path: Path) -> None:
    from fsprobe.privacy.concealment import Unchanged

    given = made_recording(ALICE, tmp_path)
    output = tmp_path / "shown.fsprobe"
    disclosure.write(Recording(str(given)), str(output), Unchanged(), VARIABLES)
    data = all_bytes(output)
    assert not any(b"SECRET" in content for content in data.values())
    for section in ("mounts", "lookups"):
        assert json.dumps(data[section].decode()) == json.dumps(
            all_bytes(given)[section].decode() + "\n" * (section == "lookups")
        )
    before, after = pipeline.analyse(given), pipeline.analyse(output)
    assert after.manifest.command == before.manifest.command
    assert after.metrics == before.metrics
    assert after.requests == before.requests


def test_the_same_name_is_replaced_alike_in_all_files(tmp_path: Path) -> None:
    names = names_of(ALICE)
    given = Recording(str(made_recording(ALICE, tmp_path)))
    disclosure.learn(given, names, VARIABLES)
    hide = Redaction(names)
    for name in ("a", "b"):
        disclosure.write(given, str(tmp_path / name), hide, VARIABLES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_mapping_is_stored(tmp_path: Path) -> None:
    recording = Recording(str(redacted(made_recording(ALICE, tmp_path), ALICE)))
    assert recording.names() == ["manifest", "log", "marks", "mounts", "lookups"]


def test_a_comparison_is_redacted_with_the_recordings_in_it(tmp_path: Path) -> None:
    inner = made_recording(ALICE, tmp_path)
    manifest: JsonObject = {
        "kind": "comparison",
        "baseline": "plain",
        "environment": f"/users/{ALICE}/env",
        "command": ["python"],
        "host": {"host": "nid001234", "uid": 31337, "job": {"SECRET": "x"}, "environment": {"TOKEN": "SECRET"}},
        "rows": [{"layout": "plain", "where": f"/users/{ALICE}/env", "requests": {f"/users/{ALICE}": {"lookup": 1}}}],
        "differences": {"plain": {"rows": [{"path": f"/users/{ALICE}/env/x", "op": "open"}]}},
    }
    given = tmp_path / "c.fsprobe"
    recordings.write(
        str(given),
        "comparison",
        [
            ("manifest", json.dumps(manifest).encode()),
            ("layouts", b'["plain"]'),
            ("recording.0", inner.read_bytes()),
        ],
    )
    output = redacted(given, ALICE)
    shown = Recording(str(output)).manifest
    assert shown["environment"] == "/users/user1/env"
    assert shown["host"] == {"host": shown["host"]["host"], "uid": None, "job": {}, "environment": {}}
    assert list(shown["rows"][0]["requests"]) == ["/users/user1"]
    assert shown["differences"]["plain"]["rows"][0] == {"path": "/users/user1/env/x", "op": "open"}
    assert json.loads(b"".join(Recording(str(output)).section("layouts"))) == ["plain"]
    disclosure.extract(Recording(str(output)), "recording.0", str(tmp_path / "inner"))
    data = all_bytes(tmp_path / "inner")
    assert not any(name in content for content in data.values() for name in (b"alice17", b"nid001234", b"SECRET"))
    before, after = pipeline.analyse(inner), pipeline.analyse(tmp_path / "inner")
    assert numbers_of(after.metrics) == numbers_of(before.metrics)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"1 2 0:3 / /x rw - cifs //srv7/share rw,username=alice17,uid=9", b"1 2 0:3 / /x rw - cifs //server1/share rw,username=user1,uid=0"),
        (
            b"1 2 0:3 / /x rw - overlay overlay rw,lowerdir=/users/alice17/a:/users/alice17/b",
            b"1 2 0:3 / /x rw - overlay overlay rw,lowerdir=/users/user1/a:/users/user1/b",
        ),
        (b"1 2 0:3 / /x rw - tmpfs tmpfs rw,size=4k", b"1 2 0:3 / /x rw - tmpfs tmpfs rw,size=4k"),
        (b"1 2 0:3 / /x\\040y rw shared:1 - lustre 10.1.2.3@tcp1:/fs rw", b"1 2 0:3 / /x\\040y rw shared:1 - lustre server1@tcp1:/fs rw"),
        (b"not a mount of alice17", b"?"),
    ],
)  # fmt: skip
def test_mounts(line: bytes, shown: bytes) -> None:
    assert mount_table(line, Redaction(names_of(ALICE))) == shown


def test_counters_are_kept_by_mount_and_the_mount_is_redacted() -> None:
    """Also where a person is called as a field of theirs."""
    counters = {"/users/source/nfs": {"source": "a client", "operations": {"open": 3}, "why_not": ""}}
    shown = json_value({"counters": counters}, Redaction(names_of("source")))
    found = {"source": "a client", "operations": {"open": 3}, "why_not": ""}
    assert shown == {"counters": {"/users/user1/nfs": found}}
