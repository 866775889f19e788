"""What control groups leave of memory, in made-up trees of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.capture.machine import cgroup

MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "ROOT", str(tmp_path / "fs"))
    monkeypatch.setattr(cgroup, "OWN", str(tmp_path / "own"))
    return tmp_path


def group(tree: Path, path: str, **values: str) -> None:
    folder = tree / "fs" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in values.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_the_narrowest_of_those_above_counts(tree: Path) -> None:
    (tree / "own").write_text("0::/job/step\n")
    group(tree, "", memory__stat="file 0\n")
    group(
        tree,
        "job",
        memory__max=f"{100 * MIB}\n",
        memory__current=f"{70 * MIB}\n",
        memory__stat="anon 1\nfile 0\nshmem 0\n",
    )
    group(tree, "job/step", memory__max="max\n", memory__current=f"{60 * MIB}\n", memory__stat="file 0\nshmem 0\n")
    assert cgroup.room_bytes() == 30 * MIB


def test_cached_files_are_room_and_what_lies_in_memory_is_not(tree: Path) -> None:
    (tree / "own").write_text("0::/job\n")
    stat = f"file {50 * MIB}\nshmem {20 * MIB}\n"
    group(tree, "job", memory__max=f"{100 * MIB}", memory__current=f"{90 * MIB}", memory__stat=stat)
    assert cgroup.room_bytes() == 40 * MIB


def test_version_1(tree: Path) -> None:
    (tree / "own").write_text("9:cpu:/x\n4:memory:/job\n")
    stat = f"cache 1\ntotal_cache {10 * MIB}\ntotal_shmem 0\n"
    values = {"memory__limit_in_bytes": str(64 * MIB), "memory__usage_in_bytes": str(60 * MIB), "memory__stat": stat}
    group(tree, "memory/job", **values)
    group(tree, "memory", memory__limit_in_bytes=str(0x7FFFFFFFFFFFF000), memory__usage_in_bytes="5", memory__stat="")
    assert cgroup.room_bytes() == 14 * MIB


@pytest.mark.parametrize("text", [None, "", "nonsense\n", "0::/gone\n", "0::/\n"])
def test_where_nothing_is_known(text: str | None, tree: Path) -> None:
    if text is not None:
        (tree / "own").write_text(text)
    assert cgroup.room_bytes() is None
