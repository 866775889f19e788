"""Before a run it is tried out whether the recorder works here; where it does not, the reason is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe.capture.backends.inline import build, ringfile, trial
from fsprobe.events.ring import RingFacts, read, slots
from fsprobe.model.events import ParseQuality
from tests.capture.backends.inline import recorded


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[str]:
    path = recorded.scratch() / f"trial.{os.getpid()}"
    ringfile.create(str(path), 4000, 10000)
    yield str(path)
    path.unlink()


def variant(tmp_path: Path, *defines: str) -> str:
    recorded.need(not build.why_not(), build.why_not())
    out = tmp_path / build.NAME
    assert build.build(str(out), defines) == ""
    return str(out)


def test_it_works_here_and_leaves_an_empty_ring_with_the_sites(library: Path, ring: str) -> None:
    assert trial.why_not(str(library), ring, os.environ) == ""
    data = Path(ring).read_bytes()
    assert not any(data[slots.HEADER_BYTES :]), "nothing of the trial stays"
    facts = RingFacts()
    assert list(read(data, ParseQuality(), facts)) == []
    assert facts.n_lost == 0
    assert any(data[128 : slots.HEADER_BYTES]), "but what was found in the loader and libc"


def test_a_preloaded_library_of_the_command_is_not_in_its_way(library: Path, ring: str) -> None:
    assert trial.why_not(str(library), ring, dict(os.environ, LD_PRELOAD="/nonexistent.so")) == ""


def test_a_libc_of_which_sites_are_missing_is_refused(tmp_path: Path, ring: str) -> None:
    why = trial.why_not(variant(tmp_path, "FSP_KNOW_LESS=1"), ring, os.environ)
    assert "made in a way it does not know" in why


def test_where_it_is_not_entered(tmp_path: Path, ring: str) -> None:
    (tmp_path / "other.c").write_text("unsigned la_version(unsigned v) { return v; }")
    other = recorded.compiled(tmp_path / "other.c", tmp_path / "other.so", "-shared", "-fPIC")
    assert "not entered" in trial.why_not(other, ring, os.environ)


def test_where_the_loader_complains(tmp_path: Path, ring: str) -> None:
    broken = tmp_path / build.NAME
    broken.write_bytes(b"no library")
    broken.chmod(0o755)
    assert "the loader refuses it" in trial.why_not(str(broken), ring, os.environ)


def test_places(library: Path, tmp_path: Path, ring: str) -> None:
    assert "not built" in trial.why_not(str(tmp_path / "none.so"), ring, os.environ)
    copy = tmp_path / "with space" / build.NAME
    copy.parent.mkdir()
    shutil.copy(library, copy)
    assert "LD_AUDIT can't hold" in trial.why_not(str(copy), ring, os.environ)
    writable = tmp_path / build.NAME
    shutil.copy(library, writable)
    writable.chmod(0o777)
    assert "changed by others" in trial.why_not(str(writable), ring, os.environ)


def test_a_place_mounted_noexec(library: Path, tmp_path: Path, ring: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    place = tmp_path / "noexec"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "noexec,size=1m", "tmpfs", str(place)], capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        shutil.copy(library, place)
        assert "noexec" in trial.why_not(str(place / library.name), ring, os.environ)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TIMEOUT_S", 0.2)
    status, _ = trial.run(["/bin/sleep", "60"], dict(os.environ))
    assert os.WIFSIGNALED(status)
