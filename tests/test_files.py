"""Inputs are files and nobody is waited for; outputs follow no link that another user put into a shared directory."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe import files, foreign_json, loading
from fsprobe.errors import EXIT_BAD_INPUT, FsprobeError
from fsprobe.recording import file
from fsprobe.report.ticket import archive
from tests.conftest import FSPROBE, need, run_plain

OTHER = 12345
"""A user id that is nobody's."""


def status(uid: int, mode: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, uid, 0, 0, 0, 0))


# As the table of protected_symlinks in proc_sys_fs(5) has it, and stricter for the last component where a group can write.
@pytest.mark.parametrize(
    ("link", "owner", "mode", "inner", "last"),
    [
        ("me", "other", 0o1777, True, True),
        ("other", "other", 0o1777, True, True),
        ("other", "root", 0o1777, False, False),
        ("other", "me", 0o1777, False, False),
        ("other", "me", 0o777, False, False),
        ("other", "me", 0o2775, True, False),
        ("other", "me", 0o755, True, True),
        ("nobody", "nobody", 0o1777, False, False),
    ],
)
def test_whose_link_is_followed_where(link: str, owner: str, mode: int, inner: bool, last: bool) -> None:
    ids = {"me": os.geteuid(), "other": OTHER, "root": OTHER + 1, "nobody": files.UNKNOWN_OWNER}
    made, directory = status(ids[link], stat.S_IFLNK | 0o777), status(ids[owner], stat.S_IFDIR | mode)
    assert files.may_follow(made, directory, False) is inner
    assert files.may_follow(made, directory, True) is last


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory as /tmp is, and beside it somebody's precious file."""
    need(os.geteuid() == 0, "only root can give a link to somebody else")
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "place").mkdir()
    return place


def plant(place: Path, name: str, target: Path, uid: int = OTHER) -> Path:
    (place / name).symlink_to(target)
    os.chown(place / name, uid, uid, follow_symlinks=False)
    return place / name


WRITERS: dict[str, Callable[[str], None]] = {
    "recording": lambda path: file.write(path, "recording", [("manifest", b"{}")]),
    "text": lambda path: files.write(path, b"new"),
    "archive": lambda path: archive.write(path, [archive.Entry(name="x", body=b"")]),
}


@pytest.mark.needs_root
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("at", ["last", "inner", "behind an own link", "dangling"])
def test_a_planted_link_is_not_followed(shared: Path, tmp_path: Path, writer: str, at: str) -> None:
    if at == "last":
        output = plant(shared, "x", tmp_path / "precious")
    elif at == "inner":
        output = plant(shared, "d", tmp_path) / "precious"
    elif at == "dangling":
        output = plant(shared, "x", tmp_path / "place" / "new")
    else:
        output = plant(tmp_path, "mine", plant(shared, "x", tmp_path / "precious"), os.geteuid())
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(shared))
    with pytest.raises((FsprobeError, OSError), match="of another user"):
        WRITERS[writer](str(output))
    assert (tmp_path / "precious").read_text() == "precious"
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(shared))) == before
    assert os.listdir(tmp_path / "place") == []


@pytest.mark.parametrize("writer", WRITERS)
def test_the_user_s_own_link_is(tmp_path: Path, writer: str) -> None:
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    (tmp_path / "real").write_text("old")
    (place / "x").symlink_to("../y")  # a chain, relative
    (tmp_path / "y").symlink_to(tmp_path / "real")
    WRITERS[writer](str(place / "x"))
    assert (place / "x").is_symlink()
    assert (tmp_path / "y").is_symlink()
    assert (tmp_path / "real").read_bytes() != b"old"
    assert sorted(os.listdir(tmp_path)) == ["real", "shared", "y"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "socket", "loop", "directory by its slash"])
def test_what_is_no_file_is_never_replaced_and_never_waited_for(tmp_path: Path, writer: str, kind: str) -> None:
    path = tmp_path / "x"
    output = str(path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        output = "/dev/full"
    elif kind == "socket":
        need(os.geteuid() == 0, "only root can make any node")
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        output += "/"
    with pytest.raises((FsprobeError, OSError)) as caught:
        WRITERS[writer](output)
    assert not isinstance(caught.value, FsprobeError) or caught.value.exit_code == EXIT_BAD_INPUT
    assert not stat.S_ISREG(os.lstat(output).st_mode) if os.path.lexists(output) else True
    assert len(os.listdir(tmp_path)) <= 1
    with pytest.raises(OSError):  # noqa: PT011  # each kind has its own words
        files.check(output)


def test_a_recording_is_its_owner_s_alone_and_a_report_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "x").chmod(0o644)
    WRITERS["recording"](str(tmp_path / "x"))
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
    (tmp_path / "y").write_text("longer than what comes")
    (tmp_path / "y").chmod(0o640)
    files.write(str(tmp_path / "y"), b"new")
    assert (tmp_path / "y").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "y").stat().st_mode) == 0o640


def test_a_part_that_is_there_already_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    part = tmp_path / files.part_name("x", os.getpid())
    part.symlink_to(tmp_path / "precious")
    files.write(str(tmp_path / "x"), b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert (tmp_path / "precious").read_text() == "precious"
    assert part.is_symlink()


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u4e16"])
@pytest.mark.parametrize("n_left", range(0, 30, 3))
def test_the_longest_names_can_be_written(tmp_path: Path, letter: str, n_left: int) -> None:
    n_bytes = 255 - n_left
    name = letter * (n_bytes // len(letter.encode()))
    name += "x" * (n_bytes - len(name.encode()))
    part = tmp_path / files.part_name(name, os.getpid())
    part.write_text("left by a process of the same number")
    files.write(str(tmp_path / name), b"new")
    assert (tmp_path / name).read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / name, part])
    assert files.part_name(str(tmp_path / name), os.getpid()) == str(part)


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def interrupted() -> None:
        with files.Replacing(str(tmp_path / "x")) as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.needs_root
def test_no_directory_is_made_behind_a_planted_link(shared: Path, tmp_path: Path) -> None:
    output = plant(shared, "d", tmp_path / "place")
    for path in (f"{output}/new/", f"{output}/new/er/", f"{output}/"):
        with pytest.raises(OSError, match="of another user"):
            files.make_directories(path)
    assert os.listdir(tmp_path / "place") == []
    files.make_directories(f"{shared}/a/b/")
    files.make_directories(f"{shared}/a/b/")
    assert os.listdir(shared / "a") == ["b"]


# ---- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("/dev/stdout", True),
        ("/dev/null", True),
        ("/dev/fd/63", True),
        ("/proc/self/fd/1", True),
        ("/dev/sda", False),
        ("/dev/fd/63/x", False),
        ("/dev/shm/x", False),
        ("/dev/fd/1\n", False),
        ("x/dev/null", False),
    ],
)
def test_which_names_are_streams(path: str, is_one: bool) -> None:
    assert files.is_stream(path) is is_one


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recording of one process."""
    log = tmp_path.parent / f"{tmp_path.name}.log"
    log.write_bytes(
        b'77 1700000000.000000 execve("/bin/x", ["x"], 0x7ffd) = 0 <0.0001>\n77 1700000000.1 +++ exited with 0 +++\n'
    )
    loading.load_logs([log], str(tmp_path / "c"))
    return tmp_path / "c"


@pytest.mark.parametrize("output", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_report_to_standard_output(small: Path, output: str) -> None:
    done = run_plain([*FSPROBE, "report", str(small), "--format", "json", "-o", output])
    assert (done.status, done.err) == (0, b"")
    assert b'"kind": "recording"' in done.out
    assert run_plain([*FSPROBE, "report", str(small), "--format", "json", "-o", "/dev/null"]).status == 0


def test_a_pipe_is_read_where_it_is_a_descriptor_and_not_where_it_is_a_name(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"{}")
    os.close(write)
    assert files.read(f"/dev/fd/{read}", 100, streams=True) == b"{}"
    os.close(read)
    assert files.read("/dev/null", 100, streams=True) == b""
    os.mkfifo(tmp_path / "x")
    for streams in (False, True):
        with pytest.raises(OSError, match="it is a pipe and no file"):
            files.read(str(tmp_path / "x"), 100, streams)
    with pytest.raises(OSError, match="it is a device and no file"):
        files.read("/dev/zero", 100, streams=True)
    (tmp_path / "large").write_bytes(bytes(101))
    with pytest.raises(OSError, match="larger than"):
        files.read(str(tmp_path / "large"), 100)


# ---- every command -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["report", "{x}"],
        ["report", "{good}", "--thresholds", "{x}"],
        ["check", "{x}", "--max-metadata", "1"],
        ["check", "{good}", "--baseline", "{x}"],
        ["whatif", "{x}"],
        ["compare", "{x}", "{good}"],
        ["merge", "{x}"],
        ["ticket", "{x}", "-o", "{out}"],
        ["load", "{x}", "-o", "{out}"],
        ["load", "{good}", "--mounts", "{x}", "-o", "{out}"],
        ["explain", "--thresholds", "{x}"],
        ["salvage", "{x}"],
    ],
    ids=lambda words: " ".join(words),
)
@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_an_input_that_is_no_file_is_one_line(small: Path, tmp_path: Path, words: list[str], kind: str) -> None:
    x = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(x)
    elif kind == "directory":
        x.mkdir()
    else:
        x = Path("/dev/zero")
    given = [word.format(x=x, good=small, out=tmp_path / "out") for word in words]
    done = run_plain([*FSPROBE, *given], cwd=tmp_path)
    assert done.status == EXIT_BAD_INPUT
    assert b"Traceback" not in done.err
    assert done.err.startswith(b"fsprobe: ")
    assert done.err.count(b"\n") <= 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [["report", "{good}", "-o", "{x}"], ["recorder", "-o", "{x}"], ["ticket", "{good}", "-o", "{x}"]]
)
def test_an_output_that_is_a_pipe_is_one_line(small: Path, tmp_path: Path, words: list[str]) -> None:
    os.mkfifo(tmp_path / "x")
    done = run_plain([*FSPROBE, *(word.format(x=tmp_path / "x", good=small) for word in words)])
    assert done.status == EXIT_BAD_INPUT
    assert b"Traceback" not in done.err
    assert stat.S_ISFIFO((tmp_path / "x").stat().st_mode)


# ---- JSON ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [foreign_json.MAX_DEPTH + 1, 900, 3000, 200_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_deep_json_is_an_error_like_any_other(depth: int, begin: str, end: str) -> None:
    text = begin * depth + "1" + end * depth
    with pytest.raises(ValueError, match="nested too deeply"):
        foreign_json.loads(text)


def test_json_in_a_thread_of_a_small_stack_and_at_the_bound() -> None:
    found: list[object] = []
    text = "[" * foreign_json.MAX_DEPTH + "]" * foreign_json.MAX_DEPTH
    thread = threading.Thread(target=lambda: found.append(foreign_json.loads(text)))
    thread.start()
    thread.join()
    value = found[0]
    for _ in range(foreign_json.MAX_DEPTH - 1):
        assert isinstance(value, list)
        value = value[0]
    assert value == []
    assert foreign_json.loads(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


@pytest.mark.parametrize("depth", [150, 900, 5000, 100_000])
def test_a_deep_manifest_is_a_damaged_recording(tmp_path: Path, depth: int) -> None:
    manifest = b'{"kind": "job", "x": ' + b"[" * depth + b"]" * depth + b"}"
    file.write(str(tmp_path / "x"), "job", [("manifest", manifest)])
    for words in (["report", str(tmp_path / "x")], ["ticket", str(tmp_path / "x"), "-o", str(tmp_path / "t")]):
        done = run_plain([*FSPROBE, *words])
        assert done.status == EXIT_BAD_INPUT
        assert b"damaged" in done.err
        assert b"Traceback" not in done.err


@pytest.mark.parametrize("spelling", ["deep/er/out", "linked/out", "deep/../deep/er/out", "deep//er/out"])
def test_an_output_is_the_same_by_one_step_as_by_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    """A directory that leads through no link is opened at once; where the kernel can't say so each name is looked at."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("deep/er")
    found = []
    for is_at_once in (True, False):
        with monkeypatch.context() as patch:
            if not is_at_once:
                patch.setattr(files, "_plain_directory", lambda _: -1)
            with files.Place(f"{tmp_path}/{spelling}") as place:
                status = os.fstat(place.directory)
                found.append((status.st_dev, status.st_ino, place.name, place.status))
    assert found[0] == found[1]
    there = (tmp_path / "deep" / "er").stat()
    assert found[0] == (there.st_dev, there.st_ino, "out", None)
    for path, is_plain in (("deep/er", True), ("linked", False), ("deep/../deep", False), ("none", False)):
        fd = files._plain_directory(f"{tmp_path}/{path}")
        assert (fd >= 0) is is_plain, path
        if fd >= 0:
            os.close(fd)


@pytest.mark.parametrize("size", [0, 1, 4096, files.BLOCK_BYTES - 1, files.BLOCK_BYTES, 2 * files.BLOCK_BYTES + 7])
def test_what_is_taken_of_a_descriptor_is_all_up_to_a_bound(tmp_path: Path, size: int) -> None:
    data = bytes(number % 251 for number in range(size % 5000)).ljust(size, b"x")
    path = tmp_path / "file"
    path.write_bytes(data)
    for most in (0, 1, size, size + 1, 1 << 30):
        fd = files.descriptor_of(str(path))
        try:
            assert files.take(fd, most) == data[:most]
        finally:
            os.close(fd)
    assert files.told(str(path), 3) == data[:3]


def test_what_the_kernel_tells_in_pieces_is_told_whole() -> None:
    """A read of /proc gives about a page."""
    told = files.told("/proc/self/smaps")
    assert told.count(b"VmFlags:") == told.count(b"\nSize:") > 20
    with pytest.raises(FileNotFoundError):
        files.told("/proc/self/no-such-file")
