"""`compare --keep-image`: the image stays if it is better, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.cli import group
from fsprobe.experiment import adoption
from tests.layouts.environments import need


@pytest.mark.parametrize("is_better", [True, False])
def test_the_image_stays_if_it_is_better(
    is_better: bool, env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("strace", "mksquashfs", root=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adoption, "judge", lambda result, label: (is_better, f"because of {label}"))
    image = tmp_path / "kept.sqsh"
    image.write_bytes(b"old")
    words = ["compare", "--env", str(env), "--squashfs", "--runs", "5", "--keep-image", "kept.sqsh"]
    assert group.main([*words, "--", "true"]) == 2
    assert "kept.sqsh is there already" in capsys.readouterr().err
    assert group.main([*words, "--force", "--", "true"]) == 0
    said = capsys.readouterr().err
    assert "plain, squashfs: 5 timed runs of each, warm cache; the command starts 23 times" in said
    assert f"image in {tmp_path}: at most" in said
    if is_better:
        assert f"kept {image}: because of squashfs" in said
        assert image.read_bytes()[:4] == b"hsqs"
        assert (tmp_path / "kept.sqsh.json").is_file()
    else:
        assert "the image is not kept: because of squashfs" in said
        assert image.read_bytes() == b"old"
    assert list(tmp_path.glob("*-fsprobe-*")) == []
