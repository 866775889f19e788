"""The ring as the recorder keeps it: what a program has written into its header is not believed."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest

from fsprobe.capture.backends.inline import arguments, ringfile, words
from fsprobe.events.ring import RingFacts, read, slots
from fsprobe.model.events import Call, ParseQuality
from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON
from tests.events.ring.test_reader import call, ring_of


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring"
    ringfile.create(str(path), 100, 1000)
    return path


def put(ring: Path, at: int, value: int) -> None:
    with ring.open("r+b") as target:
        target.seek(at)
        target.write(struct.pack("<Q", value))


def test_it_is_for_its_owner_and_not_made_twice(ring: Path) -> None:
    assert ring.stat().st_mode & 0o777 == 0o600
    assert ring.stat().st_size == ringfile.HEADER_BYTES + 100 * 256
    with pytest.raises(FileExistsError):
        ringfile.create(str(ring))


def test_it_grows_ahead_of_what_is_taken(ring: Path) -> None:
    assert ringfile.grow(str(ring), 100, 1000) == (0, 100)
    put(ring, ringfile.NEXT_AT, 60)
    assert ringfile.grow(str(ring), 100, 1000) == (60, 160)
    put(ring, ringfile.NEXT_AT, 990)
    assert ringfile.grow(str(ring), 100, 1000) == (990, 1000)
    assert ringfile.grow(str(ring), 100, 5000) == (990, 1000), "more is not mapped"
    assert ring.stat().st_size == ringfile.HEADER_BYTES + 1000 * 256


def test_it_does_not_grow_where_there_is_no_room(ring: Path) -> None:
    put(ring, ringfile.NEXT_AT, 90)
    asked: list[int] = []
    assert ringfile.grow(str(ring), 100, 1000, lambda n: bool(asked.append(n))) == (90, 100)
    assert asked == [90 * 256]


@pytest.mark.parametrize("at", [ringfile.NEXT_AT, ringfile.CAP_AT, 24])
@pytest.mark.parametrize("value", [0, 1 << 40, (1 << 64) - 1])
def test_what_programs_write_into_the_header(at: int, value: int, ring: Path) -> None:
    put(ring, at, value)
    ringfile.grow(str(ring), 100, 1000)
    assert ring.stat().st_size <= ringfile.HEADER_BYTES + 1000 * 256
    data = b"".join(ringfile.section(str(ring), 1000))
    assert len(data) <= ringfile.HEADER_BYTES + 1000 * 256
    assert list(words.lines(str(ring), 1000)) == []
    list(read(data, ParseQuality(), RingFacts()))


@pytest.mark.parametrize("n_bytes", [0, 10, 71])
def test_a_ring_that_a_program_has_cut_is_an_error_of_its_own(n_bytes: int, ring: Path) -> None:
    os.truncate(ring, n_bytes)
    with pytest.raises(OSError, match="cut the ring"):
        ringfile.grow(str(ring), 100, 1000)


def test_a_link_or_another_kind_of_file_is_not_taken(ring: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(ring)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (link, pipe):
        for act in (ringfile.grow, ringfile.stop, ringfile.tables_of):
            with pytest.raises(OSError, match=r".+"):
                act(str(path))


def test_who_comes_after_the_end_takes_no_slot(library: Path, tmp_path: Path) -> None:
    path = recorded.scratch() / "stopped"
    ringfile.create(str(path), 1000, 1000)
    try:
        ringfile.stop(str(path))
        environ = ringfile.environment(dict(os.environ), str(library), str(path))
        import subprocess

        done = subprocess.run(["/bin/ls", "/"], env=environ, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert ringfile.n_slots(ringfile.Reader(str(path))) == 0
    finally:
        path.unlink()


def test_a_ring_of_some_gib_leaves_room_for_stubs(library: Path) -> None:
    """Right below the loader it kept every site from being reached: nothing was recorded."""
    run = recorded.record(library, ["/bin/cat", "/etc/hostname"], most=ringfile.MOST)
    assert b"/etc/hostname" in run.paths("openat")
    assert all(one.n_sites and not one.n_left for one in run.facts.objects)


# ---- in strace's words --------------------------------------------------------------------------------------------


def lines_of(data: bytes, tmp_path: Path) -> list[bytes]:
    path = tmp_path / "words"
    path.write_bytes(data)
    path.chmod(0o600)
    lines = list(words.lines(str(path), 1 << 20))
    starts = list(words.lines(str(path), 1 << 20, is_of_starts=True))
    assert starts == [line for line in lines if b" execve(" in line]
    return lines


def test_words(tmp_path: Path) -> None:
    long = b"/" + b"x" * 200
    room = slots.LONG.pack(slots.SLOT_MAGIC, slots.DONE, slots.TEXT, 1, 5, 0) + long
    data = ring_of(
        call(b"/a", result=-2),
        call(b"/a", result=-2),
        call(b"/b", result=3, has=slots.HAS_SAME),
        call(b"/dev/fd", nr=4, result=-13),
        call(b"rel/x", nr=4, text=b"rel/x/here", n3=5, has=slots.HAS_BASE),
        call(b"", nr=4, n1=201, has=slots.HAS_LONG, text_at=6, text=b""),
        room.ljust(256, b"\0"),
        call(b'/odd"name', nr=4),
        call(b"/p", nr=59, state=slots.BEGUN),
    )
    assert lines_of(data, tmp_path) == [
        b'5 open("/a") = -1 ENOENT\n',
        b'5 open("/b") = 3</b>\n',
        b'5 stat("/dev/fd") = -1 EACCES\n',
        b'5 stat(AT_FDCWD</here>, "rel/x") = 0\n',
        b'5 stat("%s") = 0\n' % long,
        b'5 execve("/p", ...) = 0\n',
    ]


def test_the_starts_alone_of_a_real_ring(library: Path, tmp_path: Path) -> None:
    long = "/" * 300 + "bin/cat"
    script = f"for i in 1 2 3; do (/bin/ls -d / ); done; {long} /etc/hostname; exec /bin/true"
    data = recorded.record(library, ["bash", "-c", script], slots=4000).data
    assert sum(b" execve(" in line for line in lines_of(data, tmp_path)) >= 6


def test_a_real_ring_with_bits_turned(library: Path, tmp_path: Path) -> None:
    data = recorded.record(library, [PYTHON, "-c", "import json"], slots=4000).data
    n = min(int.from_bytes(data[64:72], "little"), 4000)
    data = data[: slots.HEADER_BYTES + n * 256]
    assert len(lines_of(data, tmp_path)) > 100
    chance = random.Random(11)
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 60)):
            changed[chance.randrange(64, len(changed))] = chance.randrange(256)
        assert len(lines_of(bytes(changed), tmp_path)) < 4000
    for _ in range(30):
        lines_of(data[: chance.randrange(len(data))], tmp_path)


# ---- what a recording keeps of it ---------------------------------------------------------------------------------


def exec_slot(*argv: bytes, **more: int) -> bytes:
    joined = b"".join(word + b"\0" for word in argv)
    fields = {"n1": len(argv[0]), "n2": len(joined), "has": slots.HAS_SECOND, "text": argv[0] + joined, **more}
    return call(b"", nr=59, state=slots.BEGUN, **fields)


def kept(data: bytes, tmp_path: Path, *command: bytes) -> bytes:
    path = tmp_path / "kept"
    path.write_bytes(data)
    path.chmod(0o600)
    return b"".join(arguments.kept(str(path), 1 << 20, command))


def argv_of(data: bytes) -> list[bytes]:
    return [event.args for event in read(data, ParseQuality(), RingFacts()) if isinstance(event, Call)]


def test_other_programs_keep_no_arguments(tmp_path: Path) -> None:
    secret, words_of_it = b"TOKEN" * 60, (b"/bin/mine", b"--key", b"OWN")
    long = b"/bin/curl" + b"".join(word + b"\0" for word in (b"curl", b"-H", secret))
    room = (slots.LONG.pack(slots.SLOT_MAGIC, slots.DONE, slots.TEXT, 2, 5, 2) + long).ljust(512, b"\0")
    lost = (slots.LONG.pack(slots.SLOT_MAGIC, slots.DONE, slots.TEXT, 1, 5, 5) + b"/bin/x" + b"SECRET" * 9).ljust(
        256, b"\0"
    )
    data = ring_of(
        exec_slot(*words_of_it),
        exec_slot(b"/bin/wget", b"--password", b"SECRET"),
        call(
            b"",
            nr=59,
            state=slots.BEGUN,
            n1=9,
            n2=len(long) - 9,
            has=slots.HAS_LONG | slots.HAS_SECOND,
            text_at=3,
            text=b"",
        ),
        room[:256],
        room[256:],
        call(b"", nr=59, state=slots.BEGUN, text=b""),
        lost,
        exec_slot(b"/usr/bin/python3", b"-X", b"dev", b"train.py", b"--token=SECRET"),
        call(b"/file", result=-2),
    )
    given = kept(data, tmp_path, *words_of_it)
    assert b"SECRET" not in given
    assert b"TOKEN" not in given
    assert argv_of(given) == [
        b'"/bin/mine", ["/bin/mine", "--key", "OWN"], ...',
        b'"/bin/wget", ["/bin/wget"], ...',
        b'"/bin/curl", ["curl"], ...',
        b'"", [], ...',
        b'"/usr/bin/python3", ["/usr/bin/python3", "-X", "dev", "train.py"], ...',
        b'"/file", O_RDONLY',
    ]


def test_nothing_else_is_changed(library: Path, tmp_path: Path) -> None:
    code = "import json, subprocess; subprocess.run(['ls', '-l', '/'], stdout=subprocess.DEVNULL)"
    run = recorded.record(library, [PYTHON, "-c", code], slots=8000)
    given = kept(run.data, tmp_path, *map(os.fsencode, (PYTHON, "-c", code)))
    after = list(read(given, ParseQuality(), RingFacts(), cwd=os.fsencode(Path.cwd())))
    changed = [(one, other) for one, other in zip(run.events, after, strict=True) if one != other]
    assert changed
    for before, cut in changed:  # of each place on PATH
        assert isinstance(before, Call)
        assert b'["ls", "-l", "/"]' in before.args
        assert cut == before._replace(args=before.args.replace(b'["ls", "-l", "/"]', b'["ls"]'))


def test_anything_is_kept(library: Path, tmp_path: Path) -> None:
    data = recorded.record(library, ["/bin/sh", "-c", "ls / | cat >/dev/null"], slots=2000).data
    n = min(int.from_bytes(data[64:72], "little"), 2000)
    data = data[: slots.HEADER_BYTES + n * 256]
    chance = random.Random(13)
    for _ in range(80):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 60)):
            changed[chance.randrange(slots.HEADER_BYTES, len(changed))] = chance.randrange(256)
        assert len(kept(bytes(changed), tmp_path)) == len(data)


def test_a_ring_that_was_tried_is_as_one_that_is_made(tmp_path: Path) -> None:
    """Whatever a program left in its slots and its header: the sites that it found stay."""
    tried = ringfile.make(str(tmp_path / "tried"), 8, 1 << 20)
    os.pwrite(tried, os.urandom(ringfile.HEADER_BYTES + 8 * ringfile.SLOT_BYTES), 0)
    tables = ringfile.tables_of(tried)
    ringfile.reuse(tried, 64, 1 << 10)
    os.close(tried)
    ringfile.create(str(tmp_path / "made"), 64, 1 << 10, tables)
    assert (tmp_path / "tried").read_bytes() == (tmp_path / "made").read_bytes()
