"""What the recorder looks at after a run: only what the log leaves open, capped and counted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fsprobe.capture.directories import scratch
from fsprobe.capture.lookups import unresolved

MISS = "= -1 ENOENT (No such file or directory)"


def look(log: str) -> tuple[dict[str, Any], unresolved.Budget]:
    budget = unresolved.Budget()
    lines = [f"7 1.0 (+ 0.000000000) {line.strip()}" for line in log.strip().splitlines()]
    return unresolved.look("\n".join(lines).encode(), budget), budget


def test_a_descriptors_path_proves_its_directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    found, budget = look(
        f"""
        openat(AT_FDCWD</>, "{tmp_path}/a/x.py", O_RDONLY) = 3<{tmp_path}/a/x.py>
        openat(AT_FDCWD</>, "{tmp_path}/a/y.so", O_RDONLY) {MISS}
        stat("{tmp_path}/a/z.py", {{st_mode=S_IFREG|0644, st_size=1, ...}}) = 0
        """
    )
    assert budget.n_calls == 0
    assert found["missing"] == []


def test_links_on_the_way_and_behind_them(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").touch()
    (tmp_path / "second").symlink_to("real")
    (tmp_path / "first").symlink_to("second")
    found, _ = look(f'openat(AT_FDCWD</>, "{tmp_path}/first/x", O_RDONLY) = 3<{tmp_path}/real/x>')
    assert found["links"][f"{tmp_path}/first"] == "second"
    assert found["links"][f"{tmp_path}/second"] == "real"


@pytest.mark.parametrize("is_behind_two", [False, True], ids=["one", "two"])
def test_an_environment_behind_a_link_is_proven_by_where_its_files_were_opened(
    tmp_path: Path, is_behind_two: bool
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "env").symlink_to("way/real" if is_behind_two else "real")
    (tmp_path / "way").symlink_to(tmp_path)
    lines = []
    for number in range(300):
        (tmp_path / "real" / f"p{number}").mkdir()
        (tmp_path / "real" / f"p{number}" / "m.pyc").touch()
        lines += [
            f'stat("{tmp_path}/env/p{number}", {{st_mode=S_IFDIR|0755, st_size=1, ...}}) = 0',
            f'openat(AT_FDCWD</>, "{tmp_path}/env/p{number}/m.pyc", O_RDONLY) = 3<{tmp_path}/real/p{number}/m.pyc>',
        ]
    (tmp_path / "real" / "p7" / "current").symlink_to("m.pyc")
    lines.append(f'openat(AT_FDCWD</>, "{tmp_path}/env/p7/current", O_RDONLY) = 3<{tmp_path}/real/p7/m.pyc>')
    found, budget = look("\n".join(lines))
    links = {path: target for path, target in found["links"].items() if target is not None}
    assert links.pop(f"{tmp_path}/env") == ("way/real" if is_behind_two else "real")
    assert links.pop(f"{tmp_path}/real/p7/current") == "m.pyc"
    assert links == ({f"{tmp_path}/way": str(tmp_path)} if is_behind_two else {})
    assert budget.n_left == 0
    assert budget.n_calls <= 6


def test_a_path_of_two_thousand_names_behind_a_link(tmp_path: Path) -> None:
    """In a log of somebody else's program anything may stand."""
    (tmp_path / "env").symlink_to("real")
    (tmp_path / "real").mkdir()
    deep = "/a" * ((4000 - len(str(tmp_path))) // 2)
    found, _ = look(
        f"""
        openat(AT_FDCWD</>, "{tmp_path}/env{deep}/x", O_RDONLY) = 3<{tmp_path}/real{deep}/x>
        stat("{tmp_path}/env{deep}/y", 0x7ff) = -1 ENOTDIR (Not a directory)
        """
    )
    assert found["links"][f"{tmp_path}/env"] == "real"


def test_links_that_lead_to_themselves_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("c/c")
    lines = [f'stat("{tmp_path}/{name}/x/y", 0x7ff) = -1 ELOOP (Too many links)' for name in "abc"]
    found, _ = look("\n".join(lines))
    assert {found["links"][f"{tmp_path}/{name}"] for name in "abc"} == {"a", "b", "c/c"}


def test_a_missing_directory_is_looked_for_once_and_nothing_below_it(tmp_path: Path) -> None:
    found, budget = look(
        "\n".join(
            f'openat(AT_FDCWD<{tmp_path}>, "lib/hwcaps/v{number}/x{part}.so", O_RDONLY) {MISS}'
            for number in range(4)
            for part in range(5)
        )
    )
    assert found["missing"] == [f"{tmp_path}/lib"]
    assert budget.n_calls == 1


def test_what_failed_for_another_reason_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    found, _ = look(f'stat("{tmp_path}/link/x", 0x7ff) = -1 ENOTDIR (Not a directory)')
    assert found["links"][f"{tmp_path}/link"] == "file"
    assert found["files"] == [f"{tmp_path}/file"]


def test_interpreters_and_loaders(tmp_path: Path) -> None:
    shutil.copy("/bin/true", tmp_path / "program")
    script = tmp_path / "script"
    script.write_text(f"#! {tmp_path}/program -x\n")
    script.chmod(0o755)
    found, _ = look(f'execve("{script}", ["script"], 0x5 /* 1 var */) = 0')
    assert found["programs"][str(script)] == f"{tmp_path}/program"
    loader = found["programs"][f"{tmp_path}/program"]
    assert os.path.basename(loader).startswith("ld-")
    assert found["programs"][loader] is None
    assert found["sizes"][f"{tmp_path}/program"] == os.path.getsize("/bin/true")


def test_the_number_of_look_ups_is_capped_and_the_rest_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unresolved, "MAX_PLACES", 3)
    found, budget = look(
        "\n".join(f'stat("{tmp_path}/d{n}/x", {{st_mode=S_IFDIR|0755, st_size=1, ...}}) = 0' for n in range(9))
    )
    assert budget.n_calls == 3  # is it a link; that it is a directory is told by what was found below it
    assert budget.n_left > 0
    assert len(found["missing"]) + len(found["links"]) <= 3 + 1  # and the working directory, which costs nothing


def test_markers_and_half_lines_are_no_names(tmp_path: Path) -> None:
    found, budget = look(
        """
        faccessat2(-1, "fsprobe>numpy", F_OK, 0) = -1 EBADF (Bad file descriptor)
        access("fsprobe!ready 1", F_OK) = -1 ENOENT (No such file or directory)
        openat(AT_FDCWD</>, "/nowhere
        """
    )
    assert budget.n_calls == 0
    assert found["missing"] == []


def test_what_the_kernel_gave_back_in_a_call_of_two_lines_is_no_name(tmp_path: Path) -> None:
    """An xattr's value is nobody's business: it was kept, as a missing file of the working directory."""
    found, _ = look(
        f"""
        getxattr("{tmp_path}/x", "user.a", <unfinished ...>
        <... getxattr resumed>"secret value", 128) = 12
        readlink("{tmp_path}/y", <unfinished ...>
        <... readlink resumed>"elsewhere", 4096) = 9
        """
    )
    assert "secret value" not in str(found)
    assert "elsewhere" not in str(found)
    assert found["missing"] == [f"{tmp_path}/x", f"{tmp_path}/y"]


def test_only_what_nothing_was_found_below_is_asked_for_its_kind(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").touch()
    found, budget = look(f'readlink("{tmp_path}/d/x", "y", 4096) = -1 EINVAL (Invalid argument)')
    n_above = len(tmp_path.parts)  # the directories above d, and d
    assert found["files"] == [f"{tmp_path}/d/x"]
    assert budget.n_calls == 2 * n_above + 1  # the run itself has asked whether the last one is a link
    found, budget = look(f'stat("{tmp_path}/d/x", {{st_mode=S_IFREG|0644, st_size=1, ...}}) = 0')
    assert found["files"] == [f"{tmp_path}/d/x"]
    assert budget.n_calls == n_above + 2  # each one link; of the last also whether it is a directory


def test_what_the_run_read_as_a_link_is_not_read_again(tmp_path: Path) -> None:
    """Of what is not there any more only the run can tell; of what it has moved since, only the filesystem."""
    gone, real = tmp_path / "gone", tmp_path / "real"
    (tmp_path / "real").touch()
    lines = f"""
        openat(AT_FDCWD</>, "{gone}", O_RDONLY) = 3<{real}>
        readlink("{gone}", "real", 4096) = 4 <0.000001>
        readlink("{real}", 0x7ffd, 4096) = -1 EINVAL (Invalid argument)
        """
    found, budget = look(lines)
    assert found["links"][str(gone)] == "real"
    assert budget.n_calls == 1  # whether that is a directory
    found, _ = look(lines + f'\n rename("{tmp_path}/x", "{gone}") = 0')
    assert str(gone) in found["missing"]
    found, _ = look(f'openat(AT_FDCWD</>, "{gone}", O_RDONLY) = 3<{real}>\nreadlink("{gone}", "re"..., 4096) = 4')
    assert str(gone) in found["missing"], "the log has cut it"


def test_a_link_leads_to_what_its_name_stood_for(tmp_path: Path) -> None:
    """A directory where something was found below the link, a file where it is a program."""
    (tmp_path / "lib").mkdir()
    shutil.copy("/bin/true", tmp_path / "lib" / "program")
    (tmp_path / "link").symlink_to("lib")
    (tmp_path / "lib" / "name").symlink_to("program")
    found, budget = look(
        f"""
        execve("{tmp_path}/link/name", ["x"], 0x5 /* 1 var */) = 0
        """
    )
    links = found["links"]
    assert (links[f"{tmp_path}/link"], links[f"{tmp_path}/lib"]) == ("lib", None)
    assert (links[f"{tmp_path}/lib/name"], links[f"{tmp_path}/lib/program"]) == ("program", None)
    assert f"{tmp_path}/lib/program" in found["files"]
    assert f"{tmp_path}/lib" not in found["files"]


def test_the_links_to_a_hook_are_known_without_a_look() -> None:
    hook = "/no/such/fsprobe-19b0e6c2815d/8/2/hook"
    known = scratch.links_to_hook(hook)
    assert known == {hook: None, hook[:-5]: ".", hook[:-7]: "."}
    line = f'7 1.0 (+ 0.0) openat(AT_FDCWD</>, "{hook}/sitecustomize.py", O_RDONLY) = 3</no/such/fsprobe-19b0e6c2815d/hook/sitecustomize.py>'
    budget = unresolved.Budget()
    found = unresolved.look(line.encode(), budget, known)
    assert budget.n_calls <= 1  # the file itself
    assert found["links"].items() >= known.items()
    for other in ("", "/x", "/tmp/fsprobe-19b0e6c2815d/data/hook", "/a/fsprobe-1/2"):
        assert scratch.links_to_hook(other) == {}
