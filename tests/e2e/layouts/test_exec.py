"""exec as root: each way to mount, what the command sees, and that nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsprobe.errors import BadInput, MachineCannot
from fsprobe.layouts.mount.namespace import choose_way, enter_argv, run_inside
from fsprobe.layouts.mount.spec import Spec
from tests.layouts.environments import (
    REPOSITORY,
    clean_environment,
    fsprobe,
    fsprobe_argv,
    fsprobe_environment,
    left_behind,
    make_venv,
    need,
    site_of,
    snapshot,
)

WAYS = ["root+kernel", "root+fuse", "user+fuse", "bwrap+fuse"]


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("mksquashfs", "unsquashfs", "squashfuse_ll", "bwrap", "fusermount3", "/dev/fuse", root=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An environment that has changed since it was packed, and its image: what a command sees tells them apart."""
    need("mksquashfs", "unsquashfs", root=True)
    directory = tmp_path_factory.mktemp("exec")
    venv = make_venv(directory / "venv")
    image = directory / "env.sqsh"
    assert fsprobe("pack", str(venv), "-o", str(image)).returncode == 0
    (site_of(venv) / "apples" / "core.py").write_text("kind = 'directory'\n")
    return venv, image


def inside(
    venv: Path, image: Path, *cmd: str, options: tuple[str, ...] = (), **more: object
) -> subprocess.CompletedProcess[bytes]:
    return fsprobe("exec", "--image", str(image), "--at", str(venv), *options, "--", *cmd, **more)


KIND = "import apples.core; print(apples.core.kind)"


@pytest.mark.parametrize("way", WAYS)
def test_each_way_shows_the_image_to_the_command_alone(packed: tuple[Path, Path], way: str) -> None:
    venv, image = packed
    spec = Spec(kind="squashfs", source=str(image), at=str(venv), way=way)
    entered = choose_way(spec)
    assert entered.mount_how == ("squashfs" if way == "root+kernel" else "fuse.squashfuse_ll")
    script = f"echo ready; read x; grep ' {venv} ' /proc/self/mountinfo >&2; exec {venv}/bin/python -c '{KIND}'"
    with subprocess.Popen(
        [*enter_argv(spec), "sh", "-c", script], env=clean_environment(), text=True, stdin=-1, stdout=-1, stderr=-1
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        mounts = [line for line in left_behind(str(venv.parent)) if line.startswith("mount")]
        assert mounts == []
        assert subprocess.run([venv / "bin/python", "-c", KIND], capture_output=True, text=True).stdout == "directory\n"
        out, err = process.communicate("\n", timeout=20)
    assert (process.returncode, out) == (0, "image\n"), err
    assert {"ro", "nosuid", "nodev"} <= set(err.split(" ")[5].split(","))
    assert f" - {entered.fstype} " in err
    assert left_behind(str(image)) == []


@pytest.mark.parametrize("way", WAYS)
def test_exit_codes_input_and_output_pass(packed: tuple[Path, Path], way: str) -> None:
    venv, image = packed
    prefix = enter_argv(Spec(kind="squashfs", source=str(image), at=str(venv), way=way))
    done = subprocess.run([*prefix, "sh", "-c", "cat; echo err >&2; exit 7"], input=b"\0in\xff", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\0in\xff", b"err\n")
    assert subprocess.run([*prefix, "/nowhere/x"], capture_output=True).returncode == 127
    assert subprocess.run([*prefix, "/etc/passwd"], capture_output=True).returncode == 126
    killed = subprocess.run([*prefix, "sh", "-c", "kill -KILL $$"]).returncode
    # bubblewrap tells of a signal as a shell does
    assert killed == (137 if way == "bwrap+fuse" else -9)


def test_the_command_line(packed: tuple[Path, Path]) -> None:
    venv, image = packed
    done = inside(venv, image, "sh", "-c", "cat; exit 9", input=b"text")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"text", b"")
    assert inside(venv, image, "nonesuch").returncode == 127
    assert inside(venv, image, "/etc/passwd").returncode == 126
    assert inside(venv, image, "sh", "-c", "kill -USR1 $$").returncode == -signal.SIGUSR1
    # what a command may well end with (argparse: 2) is never fsprobe's own
    assert inside(venv, image, "sh", "-c", "exit 2").returncode == 2
    assert fsprobe("exec", "--image", str(image), "--at", str(venv)).returncode == 125
    assert fsprobe("exec", "--image", str(image), "true").returncode == 125
    assert inside(venv, image, "true", options=("--nope",)).returncode == 125
    upper = inside(venv, image, "true", options=("--upper", "/tmp"))
    assert (upper.returncode, b"--writable" in upper.stderr) == (125, True)


def test_bad_input_is_one_line(packed: tuple[Path, Path], tmp_path: Path) -> None:
    venv, image = packed
    text = tmp_path / "text.sqsh"
    text.write_text("hello")
    for at, img, words in (
        (venv, text, b"not a SquashFS image"),
        (venv, tmp_path / "none", b"No such file"),
        (tmp_path / "none", image, b"no such directory"),
        (image, image, b"not a directory"),
    ):
        done = inside(at, img, "true")
        assert done.returncode == 125
        assert words in done.stderr
        assert b"Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 2


def test_a_damaged_image_lists_each_way(packed: tuple[Path, Path], tmp_path: Path) -> None:
    venv, image = packed
    broken = tmp_path / "broken.sqsh"
    content = bytearray(image.read_bytes())
    content[64:72] = content[72:80] = content[80:88] = b"\xff" * 8  # where its tables lie
    broken.write_bytes(content)
    done = inside(venv, broken, "true")
    assert done.returncode == 125
    for way in WAYS:
        assert f"{way}: ".encode() in done.stderr
    assert left_behind(str(broken)) == []


def test_the_working_directory_is_the_images_when_it_lies_below(packed: tuple[Path, Path]) -> None:
    venv, image = packed
    done = inside(venv, image, "cat", "core.py", cwd=site_of(venv) / "apples")
    assert done.stdout == b"kind = 'image'\n"
    done = inside(venv, image, "cat", f"venv/{site_of(venv).relative_to(venv)}/apples/core.py", cwd=venv.parent)
    assert done.stdout == b"kind = 'image'\n"


def test_a_venv_in_use_goes_on(packed: tuple[Path, Path]) -> None:
    venv, image = packed
    code = f"import sys; print('ready', flush=True); sys.stdin.readline(); {KIND}"
    user = subprocess.Popen([venv / "bin/python", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert user.stdout is not None
    user.stdout.readline()
    assert inside(venv, image, str(venv / "bin/python"), "-c", KIND).stdout == b"image\n"
    assert user.communicate(b"\n", timeout=20)[0] == b"directory\n"


def test_odd_paths(packed: tuple[Path, Path], tmp_path: Path) -> None:
    _, image = packed
    name = b"a b,c:d\\e\xff'\n"
    at = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(at)
    odd = os.path.join(os.fsencode(tmp_path), b"image " + name)
    shutil.copy(image, odd)
    for way in WAYS:
        for kind in ("squashfs", "overlay") if way != "bwrap+fuse" else ("squashfs",):
            spec = Spec(kind=kind, source=os.fsdecode(odd), at=os.fsdecode(at), way=way)
            done = subprocess.run([*enter_argv(spec), b"cat", at + b"/pyvenv.cfg"], capture_output=True)
            assert b"home = " in done.stdout, (way, kind, done.stderr)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_fsprobe_leaves_nothing(packed: tuple[Path, Path], tmp_path: Path, way: str, number: int) -> None:
    venv, image = packed
    word = f"41.{os.getpid()}"
    prefix = enter_argv(Spec(kind="squashfs", source=str(image), at=str(venv), way=way))
    script = f"setsid sleep {word} & sleep {word} & echo ready; cat {venv}/pyvenv.cfg >/dev/null; sleep {word}"
    process = subprocess.Popen(
        [*prefix, "sh", "-c", script], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    process.wait(20)
    deadline = time.monotonic() + 15
    while (left := left_behind(f"sleep {word}") + left_behind(str(image))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert list(tmp_path.iterdir()) == []


def test_a_supervisor_killed_while_bubblewrap_takes_over_leaves_nothing(
    packed: tuple[Path, Path], tmp_path: Path
) -> None:
    """The one moment in which the image is mounted in the caller's namespace."""
    venv, image = packed
    slow = tmp_path / "bwrap"
    slow.write_text(f"#!/bin/sh\nsleep 51.{os.getpid()}\n")
    slow.chmod(0o755)
    prefix = enter_argv(Spec(kind="squashfs", source=str(image), at=str(venv), way="bwrap+fuse"))
    environment = clean_environment(PATH=f"{tmp_path}:{os.environ['PATH']}", TMPDIR=str(tmp_path))
    process = subprocess.Popen([*prefix, "true"], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not left_behind(f"sleep 51.{os.getpid()}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert any("fsprobe-mount-" in line for line in left_behind(str(tmp_path)))
    supervisor = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(supervisor, signal.SIGKILL)
    assert b"supervisor" in process.communicate(timeout=20)[1]
    assert process.returncode == 125
    assert left_behind(f"sleep 51.{os.getpid()}") + left_behind(str(tmp_path / "fsprobe-mount-")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["bwrap"]


def test_an_environment_on_a_fuse_filesystem(packed: tuple[Path, Path], tmp_path: Path) -> None:
    """That something is FUSE at the path already must not be taken for the mount that was asked for."""
    need("fuse-overlayfs")
    venv, image = packed
    for name in ("up", "work", "seen"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={venv},upperdir={tmp_path}/up,workdir={tmp_path}/work"
    on_fuse = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'fuse-overlayfs -o "$1" "$2"; shift 2; "$@"; rc=$?; umount "$0"; exit $rc',
    ]
    at, core = tmp_path / "seen", f"{site_of(venv).relative_to(venv)}/apples/core.py"
    for way in WAYS[:3]:
        line = [sys.executable, "-c", _ENTER_LATE, str(image), str(at), way, "cat", f"{at}/{core}"]
        done = subprocess.run(
            [*on_fuse, str(at), options, str(at), *line],
            capture_output=True,
            env=clean_environment(PYTHONPATH=str(REPOSITORY)),
        )
        assert done.stdout == b"kind = 'image'\n", (way, done.stderr)


_ENTER_LATE = """
import sys
from fsprobe.layouts.mount.namespace import run_inside
from fsprobe.layouts.mount.spec import Spec
image, at, way, *cmd = sys.argv[1:]
sys.exit(run_inside(Spec(kind="squashfs", source=image, at=at, way=way), cmd)[0].status)
"""


def test_ctrl_c_in_a_terminal_reaches_the_command_once(packed: tuple[Path, Path]) -> None:
    import pty

    venv, image = packed
    code = (
        "import signal, time\nn = []\nsignal.signal(signal.SIGINT, lambda *_: n.append(1))\nprint('ready', flush=True)\n"
        "end = time.monotonic() + 1.5\nwhile time.monotonic() < end: time.sleep(0.1)\n"
        "print('got', len(n), flush=True)\nraise SystemExit(11)"
    )
    line = fsprobe_argv("exec", "--image", str(image), "--at", str(venv), "--", sys.executable, "-c", code)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(line[0], line, fsprobe_environment())
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"got" not in said:
        said += os.read(terminal, 1000)
    assert b"got 1" in said
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 11
    os.close(terminal)


def test_a_tracer_can_be_started_inside(packed: tuple[Path, Path], tmp_path: Path) -> None:
    need("strace")
    venv, image = packed
    for way in WAYS:
        log = tmp_path / way
        prefix = enter_argv(Spec(kind="squashfs", source=str(image), at=str(venv), way=way))
        trace = ["strace", "-f", "-q", "--seccomp-bpf", "-o", str(log), "-e", "trace=%file"]
        done = subprocess.run([*prefix, *trace, venv / "bin/python", "-c", KIND], capture_output=True, text=True)
        assert done.stdout == "image\n", (way, done.stderr)
        assert "apples/core.py" in log.read_text()


class TestWritable:
    @pytest.mark.parametrize("way", WAYS[:3])
    def test_changes_are_seen_and_go(self, packed: tuple[Path, Path], way: str) -> None:
        venv, image = packed
        before, content = snapshot(venv), image.read_bytes()
        spec = Spec(kind="overlay", source=str(image), at=str(venv), way=way)
        core = site_of(venv) / "apples" / "core.py"
        script = (
            f"echo more >> {core}; rm {venv}/bin/activate; mkdir {venv}/new; chmod 700 {venv}/lib; "
            f"tail -1 {core}; ls {venv} {venv}/bin"
        )
        done = subprocess.run([*enter_argv(spec), "sh", "-e", "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("more\n")
        assert "new\n" in done.stdout
        assert "activate\n" not in done.stdout
        assert snapshot(venv) == before
        assert image.read_bytes() == content
        assert left_behind(str(image)) == []

    def test_upper_keeps_them(self, packed: tuple[Path, Path], tmp_path: Path) -> None:
        venv, image = packed
        before, content = snapshot(venv), image.read_bytes()
        options = ("--writable", "--upper", str(tmp_path))
        assert inside(venv, image, "sh", "-c", f"echo kept > {venv}/note", options=options).returncode == 0
        assert inside(venv, image, "cat", f"{venv}/note", options=options).stdout == b"kept\n"
        assert (tmp_path / "upper" / "note").read_text() == "kept\n"
        assert inside(venv, image, "cat", f"{venv}/note", options=("--writable",)).returncode == 1
        assert snapshot(venv) == before
        assert image.read_bytes() == content

    def test_bad_uppers(self, packed: tuple[Path, Path], tmp_path: Path) -> None:
        venv, image = packed
        for upper, words in ((tmp_path / "none", b"no such directory"), (venv / "lib", b"lies below")):
            done = inside(venv, image, "true", options=("--writable", "--upper", str(upper)))
            assert (done.returncode, words in done.stderr) == (125, True)


@pytest.mark.parametrize("way", ["root", "user", "bwrap"])
def test_a_directory_over_another(tmp_path: Path, way: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    spec = Spec(kind="bind", source=str(tmp_path / "two"), at=str(tmp_path / "one"), way=way)
    assert choose_way(spec).mount_how == "bind"
    done = subprocess.run([*enter_argv(spec), "cat", tmp_path / "one" / "file"], capture_output=True, text=True)
    assert done.stdout == "two"
    assert (tmp_path / "one" / "file").read_text() == "one"


def test_the_mismatch_is_told_and_the_command_runs(packed: tuple[Path, Path]) -> None:
    venv, image = packed
    done = inside(venv, image, "echo", "out", env=fsprobe_environment(APPTAINER_CONTAINER="/images/x.sif"))
    assert (done.returncode, done.stdout) == (0, b"out\n")
    assert b"warning: the image was packed in no container, this is /images/x.sif" in done.stderr


def test_no_way_at_all(packed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from fsprobe.layouts.mount import namespace
    from fsprobe.layouts.mount.methods import HostFacts

    bare = HostFacts(
        may_mount=False,
        user_namespaces=False,
        no_new_privileges=True,
        dev_fuse="/dev/fuse: Permission denied",
        loop_devices=False,
        tools={},
        setuid_tools=frozenset(),
    )
    monkeypatch.setattr(namespace, "read_host_facts", lambda: bare)
    venv, image = packed
    with pytest.raises(MachineCannot) as caught:
        run_inside(Spec(kind="squashfs", source=str(image), at=str(venv)), ["true"])
    for words in (*WAYS, "needs root", "switched off", "bubblewrap"):
        assert words in caught.value.message
    assert "image-src" in caught.value.hint
    with pytest.raises(BadInput, match="no way is called"):
        run_inside(Spec(kind="squashfs", source=str(image), at=str(venv), way="magic"), ["true"])
