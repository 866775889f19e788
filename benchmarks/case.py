"""A case from beginning to end, as a user of a cluster would see it: slow start, report, comparison, cure, ticket.

    python -m benchmarks.case [-o reports/case]

In a mount namespace of its own there are a project and a flash filesystem (simulated servers of 1 ms and 0.3 ms), a home and
a plain user; in the project lies a venv with numpy, pandas, scikit-learn and matplotlib, made with /usr/bin/python3. The
user's commands are in `COMMANDS`, and run as they stand there. What is kept is what the ticket holds, with its names
replaced, and what the commands printed (the user, the project and the host are invented). Takes root, /dev/fuse, a python3 of
the system with venv, and some minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import evidence
from benchmarks.fileserver import serve

PYTHON = "/usr/bin/python3"
PACKAGES = ("numpy", "pandas", "scikit-learn", "matplotlib")
PLACE = evidence.PLACE / "case"
USER, USER_ID = "mmeier", 20001
PROJECT, FLASH, HOME = Path("/project/project_465000001"), Path("/flash/project_465000001"), Path("/users") / USER
RUN = PROJECT / "run"
PROGRAM = """\
import numpy as np
import pandas as pd
from matplotlib import pyplot
from sklearn.linear_model import LinearRegression

x = np.arange(100.0).reshape(-1, 1)
model = LinearRegression().fit(x, 3 * x[:, 0] + 1)
print(pd.DataFrame({"slope": model.coef_, "intercept": [model.intercept_]}).round(6))
"""
ENV = PROJECT / "env"
CALL = f"{ENV}/bin/python train.py"
COMMANDS = {
    "run": f"fsprobe run -o slow.fsprobe -- {CALL}",
    "compare": f"fsprobe compare --env {ENV} --flash {FLASH} --squashfs --image-dir {PROJECT}/images --cache both --runs 5 "
    f"--make-cold {HOME}/bin/cold --plot layouts.png -o layouts.fsprobe -- {CALL}",
    "fix": f"fsprobe fix slow.fsprobe --yes --image {PROJECT}/images/env.sqsh --make-cold {HOME}/bin/cold -o fixed.fsprobe",
    "whatif": "fsprobe whatif layouts.fsprobe --nodes 64 --ranks-per-node 8 --plot nodes.png",
    "ticket": "fsprobe ticket slow.fsprobe layouts.fsprobe --redact -o ticket.zip",
}
LIMIT_BYTES = 5_000_000


def install(place: Path) -> None:
    """The environment and fsprobe's own, at their paths below `place`; kept for the next time."""
    for name, what in (("env", list(PACKAGES)), ("fsprobe", [str(evidence.REPOSITORY)])):
        env = place / name
        if not (env / "bin/python").exists():
            subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(env)], check=True)
        elif name == "env":
            continue
        words = [sys.executable, "-m", "pip", "--python", str(env / "bin/python"), "install", "--quiet"]
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([*words, "--disable-pip-version-check", "--upgrade", *what], check=True, env=clean)
        subprocess.run([str(env / "bin/python"), "-m", "compileall", "-q", str(env / "lib")], check=False, env=clean)


def inside(output: Path) -> None:
    """In the namespaces: make the cluster, be the user."""
    for top in ("/project", "/flash", "/users"):
        Path(top).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g,mode=755", "tmpfs", top], check=True)
    # what else this machine has mounted is none of this case
    needed = [str(path.resolve()) for path in (PLACE, evidence.REPOSITORY, Path(sys.prefix), Path(sys.base_prefix))]
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mount = line.split()[1]
        if mount.startswith(("/mnt/", "/media/", "/opt/", "/tmp/")) and not any(
            f"{p}/".startswith(mount) for p in needed
        ):
            subprocess.run(["umount", "--lazy", mount], check=False)
    for directory in (ENV, PROJECT / "images", FLASH, RUN, HOME / "bin"):
        directory.mkdir(parents=True)
    (RUN / "train.py").write_text(PROGRAM)
    accounts = HOME.parent / "passwd"
    accounts.write_text(Path("/etc/passwd").read_text() + f"{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/sh\n")
    subprocess.run(["mount", "--bind", str(accounts), "/etc/passwd"], check=True)
    fuse = HOME.parent / "fuse"
    os.mknod(fuse, 0o020666, os.makedev(10, 229))
    fuse.chmod(0o666)  # as on a cluster; here it may be for root alone
    subprocess.run(["mount", "--bind", str(fuse), "/dev/fuse"], check=True)
    subprocess.run(["hostname", "uan01"], check=True)
    backing = PLACE / "backing"
    shutil.rmtree(backing, ignore_errors=True)
    for name in ("images", "flash"):
        (backing / name).mkdir(parents=True)
        os.chown(backing / name, USER_ID, USER_ID)
    own = HOME / "bin/fsprobe"
    own.write_text(f'#!/bin/sh\nexec {PLACE}/fsprobe/bin/fsprobe "$@"\n')
    own.chmod(0o755)
    for path in (RUN, HOME, HOME / "bin"):
        os.chown(path, USER_ID, USER_ID)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serve(PLACE / "env", ENV, meta_ms=1.0, read_ms=0.5)),
            stack.enter_context(serve(backing / "images", PROJECT / "images", meta_ms=1.0, read_ms=0.5, writable=True)),
            stack.enter_context(serve(backing / "flash", FLASH, meta_ms=0.3, read_ms=0.15, writable=True)),
        ]
        stack.callback(answer_cold())
        for name, words in COMMANDS.items():
            evidence.say(words)
            for server in servers:
                server.remount()
            done = as_user(words)
            (output / f"{name}.txt").write_text(f"$ {words}\n\n{done.stdout}{done.stderr}")
            if done.returncode:
                raise SystemExit(f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        for name in ("ticket.zip", "layouts.png", "nodes.png"):
            shutil.copy(RUN / name, output / name)
    shutil.rmtree(backing, ignore_errors=True)


def answer_cold() -> Callable[[], object]:
    """What a user can't do alone, make the clients cold: a command that asks for it, and what answers."""
    ask, answer = HOME / "bin/ask", HOME / "bin/answer"
    for pipe in (ask, answer):
        os.mkfifo(pipe)
        os.chown(pipe, USER_ID, USER_ID)
    command = HOME / "bin/cold"
    command.write_text(f"#!/bin/sh\necho cold > {ask}\nread line < {answer}\n")
    command.chmod(0o755)

    def serve_requests() -> None:
        while ask.read_text().startswith("cold"):
            # not by mounting anew: the layouts of a comparison live in namespaces that would keep the mount that is gone
            Path("/proc/sys/vm/drop_caches").write_text("2\n")
            answer.write_text("done\n")

    thread = threading.Thread(target=serve_requests, daemon=True)
    thread.start()

    def end() -> None:
        ask.write_text("end")
        thread.join()

    return end


def as_user(words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line as the user would on an 80-column terminal without colour."""
    environment = {
        "PATH": f"{HOME}/bin:/usr/bin:/bin",
        "HOME": str(HOME),
        "USER": USER,
        "LANG": "C.UTF-8",
    }
    line = ["setpriv", "--reuid", str(USER_ID), "--regid", str(USER_ID), "--clear-groups", "sh", "-c", words]
    return subprocess.run(line, cwd=RUN, env=environment, capture_output=True, text=True)


def publish(made: Path, output: Path) -> None:
    """What is committed: the ticket, what is in it, the pictures, what was printed."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    with zipfile.ZipFile(made / "ticket.zip") as archive:
        archive.extractall(output)
    for name in ("ticket.zip", "layouts.png", "nodes.png"):
        shutil.copy(made / name, output / name)
    for name in COMMANDS:
        (output / f"{name}.txt").write_text((made / f"{name}.txt").read_text())
    for page in (output / "reports").glob("*.json"):
        page.unlink()  # they are in the ticket; here `fsprobe report FILE --format json` makes them again
    picture(output)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        raise SystemExit(f"{output} has {size:,} bytes, more than {LIMIT_BYTES:,}")
    evidence.say(f"{output}: {size:,} bytes")


def picture(output: Path) -> None:
    """What the top of the page looks like, where there is a Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    pages = sorted((output / "reports").glob("01.html"))
    if browser is None or not pages:
        evidence.say("no picture of the page")
        return
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1900"]
    done = subprocess.run(
        [*words, f"--screenshot={output.resolve() / 'report.png'}", pages[0].resolve().as_uri()],
        capture_output=True,
        cwd=output,
    )
    evidence.say(f"picture of {pages[0].name}: exit code {done.returncode}")


def main() -> int:
    """Make the namespaces, and in them the case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("reports/case"))
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.inside:
        inside(words.inside)
        return 0
    PLACE.mkdir(parents=True, exist_ok=True)
    install(PLACE)
    made = PLACE / "made"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    there = [directory for directory in ("/project", "/flash", "/users") if Path(directory).exists()]
    try:
        command = ["unshare", "--mount", "--uts", "--propagation", "private", sys.executable, "-m", "benchmarks.case"]
        subprocess.run([*command, "--inside", str(made)], check=True, cwd=evidence.REPOSITORY)
    finally:
        for directory in ("/project", "/flash", "/users"):
            if directory not in there and Path(directory).exists():
                Path(directory).rmdir()
    publish(made, words.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
