"""Counts of the simulated file server for sequences whose requests can be worked out by hand.

The rules behind the numbers: a name is looked up once and then known, also when it is missing; attributes come with the
look-up; every open is a request; a listing is read once, by one READDIR that returns it and one that returns its end; a
link is read once.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.fileserver import Counters, Server, serve


@pytest.fixture
def tree(src: Path) -> Path:
    """a/b/{one,two}, a/link -> b/one, a/up -> ../a/b"""
    (src / "a" / "b").mkdir(parents=True)
    (src / "a" / "b" / "one").write_bytes(b"1" * 5000)
    (src / "a" / "b" / "two").write_bytes(b"2")
    (src / "a" / "link").symlink_to("b/one")
    (src / "a" / "up").symlink_to("../a/b")
    return src


def counted(server: Server) -> dict[str, int]:
    """Return what is not zero and not asynchronous."""
    left_out = ("release", "releasedir", "forget", "batch_forget", "metadata")
    return {
        name: value
        for name, value in server.counters().as_json().items()
        if value and name not in left_out and not name.endswith(("_bytes", "_ns"))
    }


def test_mounting_is_not_counted(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        assert counted(server) == {}
        mnt.stat()
        server.remount()
        mnt.stat()
        assert counted(server) == {}
        assert server.paths() == []


def test_a_name_is_looked_up_once(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        (mnt / "a" / "b" / "one").stat()
        (mnt / "a" / "b" / "one").stat()
        assert counted(server) == {"lookup": 3}
        (mnt / "a" / "b" / "two").stat()
        assert counted(server) == {"lookup": 4}
        top = os.fsencode(mnt)
        assert server.paths() == [
            ("lookup", top + b"/a"),
            ("lookup", top + b"/a/b"),
            ("lookup", top + b"/a/b/one"),
            ("lookup", top + b"/a/b/two"),
        ]


def test_a_missing_name_is_remembered(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        for _ in range(3):
            assert not (mnt / "nothing").exists()
            assert not (mnt / "nothing" / "below").exists()
        assert counted(server) == {"lookup": 1, "negative": 1}
        top = os.fsencode(mnt)
        assert server.paths() == [("lookup", top + b"/nothing"), ("negative", top + b"/nothing")]


def test_a_name_below_a_file_is_no_request(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0) as server:
        with pytest.raises(NotADirectoryError):
            (mnt / "a" / "b" / "one" / "below").stat()
        assert counted(server) == {"lookup": 3}


def test_every_open_is_a_request(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0) as server:
        for _ in range(3):
            descriptor = os.open(mnt / "a" / "b" / "one", os.O_RDONLY)
            os.fstat(descriptor)
            assert os.read(descriptor, 10_000) == b"1" * 5000
            os.close(descriptor)
        assert counted(server) == {"lookup": 3, "open": 3, "read": 1}
        assert server.counters().read_bytes == 5000


def test_a_listing_is_read_once(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0) as server:
        assert sorted(os.listdir(mnt / "a")) == ["b", "link", "up"]
        assert counted(server) == {"lookup": 1, "opendir": 1, "readdir": 2}
        os.listdir(mnt / "a")
        assert counted(server) == {"lookup": 1, "opendir": 2, "readdir": 2}


def test_a_listing_looks_nothing_up(tree: Path, mnt: Path) -> None:
    """READDIRPLUS would: it is off."""
    with serve(tree, mnt, meta_ms=0, read_ms=0) as server:
        with os.scandir(mnt / "a" / "b") as entries:
            for entry in entries:
                entry.stat()
        assert counted(server) == {"lookup": 4, "opendir": 1, "readdir": 2}


def test_a_link_is_read_once(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        for _ in range(2):
            assert os.readlink(mnt / "a" / "link") == "b/one"
        assert counted(server) == {"lookup": 2, "readlink": 1}
        (mnt / "a" / "link").stat()  # now known: the link and where it leads; not known: b, one
        assert counted(server) == {"lookup": 4, "readlink": 1}
        assert ("readlink", os.fsencode(mnt) + b"/a/link") in server.paths()


def test_dots_and_links_to_directories(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0) as server:
        # a, up, (link is read: .. a) b, two; then .. is b's real parent
        os.stat(f"{mnt}/a/up/two")
        assert counted(server) == {"lookup": 4, "readlink": 1}
        os.stat(f"{mnt}/a/up/../link")
        assert counted(server) == {"lookup": 6, "readlink": 2}


def test_open_calls_split_into_open_opendir_and_failed(tree: Path, mnt: Path) -> None:
    files = ["a/b/one", "a/b/two", "a/link", "a/b/one"]
    directories = ["a", "a/b", "a/up", "."]
    missing = ["a/no", "a/no", "b", "a/b/one/below"]
    with serve(tree, mnt, meta_ms=0, read_ms=0) as server:
        n_failed = 0
        for name in files + directories + missing:
            try:
                os.close(os.open(mnt / name, os.O_RDONLY))
            except OSError:
                n_failed += 1
        now = server.counters()
    assert (now.open, now.opendir, n_failed) == (len(files), len(directories), len(missing))


def test_a_program_is_opened_by_exec(src: Path, mnt: Path) -> None:
    (src / "script").write_text("#!/bin/true\n")
    (src / "script").chmod(0o755)
    with serve(src, mnt, meta_ms=0, read_ms=0) as server:
        subprocess.run([mnt / "script"], check=True)
        assert counted(server) == {"lookup": 1, "open": 1, "read": 1}


def test_statfs_and_xattr_are_counted_apart(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0) as server:
        os.statvfs(mnt)
        assert counted(server) == {"statfs": 1}
        for _ in range(2):
            with pytest.raises(OSError, match="not supported"):
                os.getxattr(mnt, "user.x")
        assert counted(server) == {"statfs": 1, "getxattr": 1}, "answered 'not implemented', so not asked again"


def test_reset_keeps_the_client_warm_and_remount_makes_it_cold(tree: Path, mnt: Path) -> None:
    def visit() -> None:
        os.listdir(mnt / "a")
        descriptor = os.open(mnt / "a" / "link", os.O_RDONLY)  # open() would ask isatty() too
        os.read(descriptor, 10_000)
        os.close(descriptor)
        (mnt / "nothing").exists()

    with serve(tree, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        visit()
        cold, cold_paths = counted(server), [record for record in server.paths() if "release" not in record[0]]
        server.reset()
        assert counted(server) == {}
        assert server.paths() == []
        visit()
        assert counted(server) == {"open": 1, "opendir": 1}
        for _ in range(2):
            server.remount()
            server.reset()
            visit()
            assert counted(server) == cold
            assert [record for record in server.paths() if "release" not in record[0]] == cold_paths
        before = server.counters()
        server.remount()
        visit()
        assert server.metadata_since(before) == before.metadata
        assert server.counters().lookup == 2 * before.lookup
        assert len([op for op, _ in server.paths() if op == "lookup"]) == 2 * before.lookup


def test_log_and_counters_agree(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        shutil.copytree(mnt, mnt.parent / "copy", symlinks=True)
        (mnt / "nothing").exists()
        now, ops = server.counters().as_json(), Counter(op for op, _ in server.paths())
    assert {op: now[op] for op in ops if "release" not in op} == {op: n for op, n in ops.items() if "release" not in op}
    assert ops["negative"] == 1


def test_ttl_decides_when_names_are_asked_again(tree: Path, mnt: Path) -> None:
    with serve(tree, mnt, meta_ms=0, read_ms=0, ttl_s=0) as server:
        for _ in range(3):
            (mnt / "a").stat()
            (mnt / "nothing").exists()
        now = server.counters()
        assert (now.lookup, now.negative) == (6, 3)
    with serve(tree, mnt, meta_ms=0, read_ms=0, negative_ttl_s=0) as server:
        for _ in range(3):
            (mnt / "a").stat()
            (mnt / "nothing").exists()
        now = server.counters()
        assert (now.lookup, now.negative) == (4, 3)
    with serve(tree, mnt, meta_ms=0, read_ms=0, ttl_s=0.2) as server:
        (mnt / "a").stat()
        time.sleep(0.5)
        (mnt / "a").stat()
        assert server.counters().lookup == 2


def test_counts_are_exact_with_many_threads_at_once(src: Path, mnt: Path) -> None:
    program = "import os, sys\nfor n in range(300): os.stat(f'{sys.argv[1]}/{n}')"
    for process in range(4):
        (src / str(process)).mkdir()
        for number in range(300):
            (src / str(process) / str(number)).touch()
    with serve(src, mnt, meta_ms=0, read_ms=0) as server:
        running = [subprocess.Popen([sys.executable, "-S", "-c", program, mnt / str(n)]) for n in range(4)]
        assert [process.wait() for process in running] == [0] * 4
        assert counted(server) == {"lookup": 4 * 301}


def test_an_import_asks_the_same_every_time(src: Path, mnt: Path) -> None:
    shutil.copytree(Path(json.__file__).parent, src / "lib" / "json", ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(src, quiet=1)
    program = "import sys; sys.path.insert(0, sys.argv[1]); import json; assert json.__file__.startswith(sys.argv[1])"
    seen: list[tuple[Counters, Counter[tuple[str, bytes]]]] = []
    with serve(src, mnt, meta_ms=0.1, read_ms=0.1, log_paths=True) as server:
        for _ in range(2):
            server.remount()
            server.reset()
            subprocess.run([sys.executable, "-I", "-S", "-c", program, mnt / "lib"], check=True)
            paths = Counter(record for record in server.paths() if "release" not in record[0])
            seen.append((server.counters(), paths))
    (first, first_paths), (second, second_paths) = seen
    assert first_paths == second_paths
    assert first.metadata == second.metadata
    assert first.read_bytes == second.read_bytes > 0
    # json, its decoder, scanner, encoder: a .pyc each
    assert first.open == 4
    assert first.lookup == first_paths.total() - sum(n for (op, _), n in first_paths.items() if op != "lookup")
