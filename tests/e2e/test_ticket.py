"""`fsprobe ticket` on real recordings: what is in the archive, what is not, and who can't be found in it."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.model import serial
from fsprobe.recording.file import Recording
from tests.conftest import ROOT, Fsprobe, clean_environment
from tests.privacy.test_redaction import numbers_of, ways_to_write

TICKET = (
    sys.executable,
    "-I",
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.cli import group; "
    "group.COMMANDS.setdefault('ticket', ('ticket', '')); from fsprobe.__main__ import main; sys.exit(main())",
    "ticket",
)
PROJECT = "project_465000123"
PROGRAM = """
import os, subprocess, sys
import pandas
open("data.txt").read()
open("result.txt", "w").write("SECRET-OUTPUT")
os.path.exists(os.path.expanduser("~/nothing"))
os.path.exists(sys.argv[1] + "/lib/nothing")
os.readlink("link")
os.chdir("..")
os.path.exists(os.environ["USER"] + "/nothing")
subprocess.run(["sh", "-c", "true SECRET-ARGUMENT"])
subprocess.run([sys.executable, "child.py", "--token", "SECRET-ARGUMENT"], cwd=os.environ["HOME"])
"""


def unpack(archive: Path) -> Path:
    place = archive.with_suffix("")
    with zipfile.ZipFile(archive) as source:
        source.extractall(place)
    return place


def everything(place: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of an unpacked ticket as it is, and every section of its recordings unpacked."""
    for path in sorted(place.rglob("*")):
        if path.is_file():
            yield path.name, path.read_bytes()
            if path.suffix == ".fsprobe":
                recording = Recording(str(path))
                for section in recording.names():
                    yield f"{path.name}:{section}", b"".join(recording.section(section))


class Site:
    """A user with a home, an environment and a project, and a recording of a program of theirs."""

    def __init__(self, tmp: Path, user: str) -> None:
        self.tmp, self.user = tmp, user
        self.home = tmp / "home" / user
        self.project = tmp / "scratch" / PROJECT / user
        site = self.home / "env" / "lib" / "python3.11" / "site-packages"
        (site / "pandas").mkdir(parents=True)
        (site / "pandas" / "__init__.py").write_text("import json\n")
        self.project.mkdir(parents=True)
        (self.home / "app.py").write_text(PROGRAM)
        (self.home / "child.py").write_text("import pandas\n")
        (self.home / "data.txt").write_text("SECRET-INPUT")
        (self.home / "link").symlink_to(self.project)
        self.environment = clean_environment(
            HOME=str(self.home),
            USER=user,
            LOGNAME=user,
            PYTHONPATH=f"{site}:{self.project}",
            API_TOKEN="SECRET-VARIABLE",
            SLURM_JOB_ID="77",
            SLURM_JOB_NAME="naming-of-job",
            SLURM_JOB_ACCOUNT=PROJECT,
            SLURMD_NODENAME="nid004711",
        )
        self.command = [sys.executable, "app.py", str(self.project)]

    def record(self, run: Fsprobe, *options: str) -> Path:
        done = run(self.command, env=self.environment, cwd=self.home, options=("-q", *options))
        assert done.status == 0, done.err
        return done.recording

    def ticket(self, *words: str) -> tuple[Path, str]:
        output = self.tmp / "ticket.zip"
        done = subprocess.run(
            [*TICKET, *words, "--force", "-o", str(output)],
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return unpack(output), done.stderr


@pytest.fixture(params=["lib", "an", "alice17"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def test_a_ticket_holds_what_centres_ask_for_and_no_secrets(site: Site, run_fsprobe: Fsprobe) -> None:
    recording = site.record(run_fsprobe)
    place, _ = site.ticket(str(recording), "--env", str(site.home / "env"))
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()) == sorted(
        ["SHA256SUMS", "environment.json", "job.json", "recordings/01.fsprobe", "reports/01.html", "reports/01.json"]
        + ["reproduce.sh", "summary.md", "versions.json"]
    )
    for name, data in everything(place):
        assert b"SECRET" not in data, name
    summary = (place / "summary.md").read_text()
    for label in (
        "What",
        "Where",
        "When",
        "Wall time, traced",
        "Cache, cold or warm",
        "Nodes x ranks",
        "Filesystem",
        "Verdict",
    ):
        assert f"| {label} |" in summary
    n_files = sum(path.is_file() for path in (site.home / "env").rglob("*"))
    assert f"| Files | {n_files} |" in summary
    assert json.loads((place / "job.json").read_text())["01"]["SLURM_JOB_ID"] == "77"
    assert json.loads((place / "versions.json").read_text())["recordings"]["01"]["backend"] in ("strace", "ptrace")
    # what is left out is nothing that analysis reads
    before, after = pipeline.analyse(recording), pipeline.analyse(place / "recordings" / "01.fsprobe")
    assert after == replace(before, manifest=replace(before.manifest, disclosed=True))
    assert json.loads((place / "reports" / "01.json").read_text()) == json.loads(json.dumps(serial.to_json(after)))


def test_a_redacted_ticket_names_nobody_and_counts_the_same(site: Site, run_fsprobe: Fsprobe) -> None:
    recording = site.record(run_fsprobe)
    place, said = site.ticket(str(recording), "--redact")
    user, host = site.user.encode(), os.uname().nodename.encode()
    account = getpass.getuser().encode()
    hidden = [PROJECT.encode(), b"nid004711", b"naming-of-job", b"SECRET", *([user] if site.user == "alice17" else [])]
    for name, data in everything(place):
        for word in hidden:
            for written in ways_to_write(word):
                assert written.lower() not in data.lower(), (name, written)
        # the place of the user and the project, and what else is in the path stays
        for area in (b"/home/", b"/scratch/project1/"):
            assert area + user not in data, name
        # whose interpreter it is, where that lies in a home too
        assert b"/home/" + account + b"/" not in data, name
        if not name.endswith((".html", "01.fsprobe", "SHA256SUMS", "versions.json", "mounts")):
            assert not re.search(rb"[\"'@ ]%s[\"'@.:]" % re.escape(host), data), name
    log = b"".join(Recording(str(place / "recordings" / "01.fsprobe")).section("log"))
    # user1, or the next where the interpreter lies in somebody's home: that is seen first
    (number,) = set(re.findall(rb"/home/user(\d+)/env/lib/python3.11/site-packages/pandas/__init__.py", log))
    assert b"/scratch/project1/user%s/lib/nothing" % number in log
    before, after = pipeline.analyse(recording), pipeline.analyse(place / "recordings" / "01.fsprobe")
    for part in ("metrics", "requests", "quality"):
        assert numbers_of(getattr(after, part)) == numbers_of(getattr(before, part)), part
    assert after.metrics.by_phase == before.metrics.by_phase
    assert after.metrics.by_module == before.metrics.by_module
    assert [row.code for row in after.findings] == [row.code for row in before.findings]
    assert after.manifest.job["SLURM_JOB_ID"] == "77"
    assert after.manifest.uid is None
    assert ("also ordinary words" in said) == (site.user != "alice17")


def test_a_redacted_recording_can_be_shown_and_packed_again(tmp_path: Path, run_fsprobe: Fsprobe) -> None:
    site = Site(tmp_path, "alice17")
    place, _ = site.ticket(str(site.record(run_fsprobe)), "--redact")
    again = tmp_path / "again.fsprobe"
    shutil.copy(place / "recordings" / "01.fsprobe", again)
    second, _ = site.ticket(str(again), "--redact")
    before, after = pipeline.analyse(again), pipeline.analyse(second / "recordings" / "01.fsprobe")
    assert numbers_of(after.metrics) == numbers_of(before.metrics)


def test_a_streamed_recording_is_redacted_too(tmp_path: Path, run_fsprobe: Fsprobe) -> None:
    site = Site(tmp_path, "alice17")
    recording = site.record(run_fsprobe, "--stream")
    assert "tally" in Recording(str(recording)).names()
    place, _ = site.ticket(str(recording), "--redact")
    for name, data in everything(place):
        for word in (b"alice17", PROJECT.encode(), b"SECRET"):
            assert word not in data.lower(), name
    before, after = pipeline.analyse(recording), pipeline.analyse(place / "recordings" / "01.fsprobe")
    assert numbers_of(after.metrics) == numbers_of(before.metrics)


def test_further_names_and_what_is_left_of_them(tmp_path: Path, run_fsprobe: Fsprobe) -> None:
    site = Site(tmp_path, "an")
    done = run_fsprobe(
        ["ls", "/opt/moonshot", "/opt/supermoonshots", "/opt/moonshot.x"], env=site.environment, cwd=site.home
    )
    place, said = site.ticket(str(done.recording), "--name", "moonshot")
    log = b"".join(Recording(str(place / "recordings" / "01.fsprobe")).section("log"))
    assert b'"/opt/name1"' in log
    assert b'"/opt/name1.x"' in log
    assert b'"/opt/supermoonshots"' in log
    assert "moonshot still stands inside longer words (supermoonshots)" in said


def test_colleagues_below_a_project_are_replaced_and_what_may_be_a_name_is_told(
    tmp_path: Path, run_fsprobe: Fsprobe
) -> None:
    site = Site(tmp_path, "alice17")
    (site.home / "app.py").write_text(
        "import os, sys\n"
        f"project = {str(site.project.parent)!r}\n"
        "for place in (project + '/bobby/data', project + '/models/carol/x', '/tmp/secretstudy/x', '/home/../lib/dave/x'):\n"
        "    os.path.exists(place)\n"
    )
    place, said = site.ticket(str(site.record(run_fsprobe)), "--redact")
    log = b"".join(Recording(str(place / "recordings" / "01.fsprobe")).section("log"))
    assert b"bobby" not in log
    assert re.search(rb"/scratch/project1/owner\d+/data", log)
    assert b"/scratch/project1/models/carol/x" in log
    assert b"/home/../lib/dave/x" in log
    (line,) = [line for line in said.splitlines() if "perhaps names" in line]
    assert "carol" in line
    assert "secretstudy" in line
    assert "dave" not in line
    assert "--name" in line
    place, said = site.ticket(str(tmp_path / "x.fsprobe"), "--name", "carol", "--name", "secretstudy")
    assert all(b"carol" not in data and b"secretstudy" not in data for _, data in everything(place))


def test_accounts_of_this_machine_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd
    from types import SimpleNamespace

    from fsprobe.cli.ticket import accounts

    known = {"bobby": 1005, "daemon": 2, "nobody": 65534}

    def look_up(name: str) -> SimpleNamespace:
        return SimpleNamespace(pw_uid=known[name])

    monkeypatch.setattr(pwd, "getpwnam", look_up)
    assert accounts({b"bobby", b"daemon", b"nobody", b"models", b"\xff"}) == [b"bobby"]


def test_the_same_files_make_the_same_ticket(tmp_path: Path, run_fsprobe: Fsprobe) -> None:
    site = Site(tmp_path, "alice17")
    recording = str(site.record(run_fsprobe))
    archives = []
    for _ in range(2):
        site.ticket(recording, recording, "--redact")
        archives.append((tmp_path / "ticket.zip").read_bytes())
    assert archives[0] == archives[1]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "no recordings given"),
        (["gone.fsprobe"], 3, "cannot read gone.fsprobe"),
        ([__file__], 3, "not an fsprobe file"),
        (["--name", "a/b", "gone.fsprobe"], 2, "is no name"),
    ],
)
def test_what_cannot_be_packed(tmp_path: Path, words: list[str], status: int, said: str) -> None:
    done = subprocess.run(
        [*TICKET, *words, "--force", "-o", str(tmp_path / "t.zip")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=tmp_path,
    )
    assert done.returncode == status
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("--redact",)], ids=["as it is", "redacted"])
def test_secrets_of_the_own_command_line_stay_out(
    tmp_path: Path, run_fsprobe: Fsprobe, options: tuple[str, ...]
) -> None:
    site = Site(tmp_path, "alice17")
    (site.home / "app.py").write_text("import os\nos.path.exists('/tmp/at-S3CRETTOKEN9')\n")
    site.command += [
        "--IdentityProvider.token=S3CRETTOKEN9",
        "https://alice:S3CRETPASS9@host/x",
        "--api-key",
        "S3CRETKEY9",
    ]
    place, said = site.ticket(str(site.record(run_fsprobe)), *options)
    for name, data in everything(place):
        assert b"S3CRET" not in data, name
    again = (place / "reproduce.sh").read_text()
    assert "Passwords, tokens and keys were replaced" in again
    assert "--IdentityProvider.token=secret" in again
    assert "named like a password, token or key" in said
    assert "secret1" in (place / "summary.md").read_text()


def test_a_script_without_secrets_says_nothing_of_them(tmp_path: Path, run_fsprobe: Fsprobe) -> None:
    site = Site(tmp_path, "alice17")
    place, said = site.ticket(str(site.record(run_fsprobe)))
    assert "Passwords" not in (place / "reproduce.sh").read_text()
    assert "token" not in said


@pytest.mark.parametrize("backend", ["strace", "ptrace", "audit"])
def test_a_recording_keeps_no_arguments_of_child_programs(tmp_path: Path, run_fsprobe: Fsprobe, backend: str) -> None:
    site = Site(tmp_path, "alice17")
    (site.home / "app.py").write_text(
        "import os, subprocess, sys\n"
        "try:\n    os.setxattr('app.py', 'user.SECRET', b'SECRET')\n    os.getxattr('app.py', 'user.SECRET')\nexcept OSError:\n    pass\n"
        "subprocess.run(['sh', '-c', 'true SECRET'])\n"
        "subprocess.run([sys.executable, 'child.py', '--password', 'SECRET'])\n"
        "subprocess.run(['true', 'SECRET'])\n"
    )
    recording = Recording(str(site.record(run_fsprobe, "--backend", backend)))
    for section in recording.names():
        assert b"SECRET" not in b"".join(recording.section(section)), section
    log = b"".join(recording.section("log"))
    assert b'"app.py"' in log
    assert b'"child.py"' in log
