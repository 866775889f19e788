"""What `benchmarks.overhead` runs: the workloads, and each with every tool."""

from __future__ import annotations

import shutil
from pathlib import Path

from fsprobe.capture.backends.strace import installed

POOL = """import multiprocessing as mp

def work(n):
    import numpy
    return n

if __name__ == "__main__":
    with mp.get_context("spawn").Pool(4) as pool:
        assert pool.map(work, range(8)) == list(range(8))
"""
WORKLOADS = {
    "pass": "pass\n",
    "standard library": "import json, email.mime.text, xml.dom.minidom, asyncio\n",
    "pandas": "import pandas\n",
    "sklearn, scipy, pyplot": "import sklearn.ensemble, scipy.stats, matplotlib.pyplot\n",
    "spawn pool of 4": POOL,
}
TORCH = {"torch": "import torch\n"}
"""Measured where an interpreter that has it is named: hundreds of megabytes that not every environment needs."""
BACKENDS = ("inline", "strace", "ptrace", "audit")
RANK = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_NTASKS": "64", "SLURM_LOCALID": "5"}
"""What Slurm sets for one of 64 ranks: only the first one looks up what is the same for all."""
STARTS = ("untraced", "fsprobe run --record-only (inline)", "fsprobe run --record-only (strace)")
"""Of how many programs start at once."""


def arms(python: str, fsprobe: list[str], script: Path, scratch: Path) -> dict[str, list[str]]:
    """Name -> command line, of every way to run a script."""
    program = strace_program()
    log, tools = str(scratch / "log"), Path(fsprobe[0]).parent
    target = [python, str(script)]
    line = installed.command_line(program, installed.version(program), log, target)
    found = {
        "untraced": target,
        "strace -f -c": [program, "-f", "-c", "-o", log, "--", *target],
        "strace -f": [program, "-f", "-o", log, "--", *target],
        "strace -f --seccomp-bpf, file calls": [
            program, "-f", "--seccomp-bpf", "-e", "trace=%file", "-o", log, "--", *target,
        ],
        "fsprobe's strace line alone": line,
    }  # fmt: skip
    for backend in BACKENDS:
        run = [*fsprobe, "run", "--backend", backend, "--force", "-o", str(scratch / "x.fsprobe")]
        found[f"fsprobe run --record-only ({backend})"] = [*run, "--record-only", "-q", "--", *target]
        found[f"fsprobe run ({backend})"] = [*run, "--", *target]
    run = [
        *fsprobe,
        *"run --backend strace --record-only -q --force --no-markers -o".split(),
        str(scratch / "x.fsprobe"),
    ]
    found["fsprobe run --record-only --no-markers (strace)"] = [*run, "--", *target]
    found["python -X importtime"] = [python, "-X", "importtime", str(script)]
    found["cProfile"] = [python, "-m", "cProfile", "-o", str(scratch / "cprofile"), str(script)]
    # by its module: it samples the interpreter that it runs in
    found["pyinstrument"] = [
        python,
        "-m",
        "pyinstrument",
        "-r",
        "json",
        "-o",
        str(scratch / "pyinstrument"),
        str(script),
    ]
    found["py-spy record"] = [
        str(tools / "py-spy"), "record", "--subprocesses", "-f", "raw", "-o", str(scratch / "py-spy"),
        "--", *target,
    ]  # fmt: skip
    return found


def growth_arms(python: str, fsprobe: list[str], script: Path, scratch: Path) -> dict[str, list[str]]:
    """Fewer of them, for growth."""
    program = strace_program()
    log = str(scratch / "log")
    target = [python, str(script)]
    run = [*fsprobe, "run", "--force", "-o", str(scratch / "x.fsprobe"), "--backend"]
    return {
        "untraced": target,
        "strace -f -c": [program, "-f", "-c", "-o", log, "--", *target],
        "fsprobe's strace line alone": installed.command_line(program, installed.version(program), log, target),
        **{
            f"fsprobe run --record-only ({backend})": [*run, backend, "--record-only", "-q", "--", *target]
            for backend in ("strace", "ptrace", "inline")
        },
        "fsprobe run --stream (strace)": [*run, "strace", "--stream", "--record-only", "-q", "--", *target],
        "fsprobe run (strace)": [*run, "strace", "--", *target],
    }


def starts(python: str, fsprobe: list[str], n: int, scratch: Path) -> dict[str, list[list[str]]]:
    """Name -> the command lines that start at once: `import pandas`, as the ranks of a node do."""
    target = [python, "-c", WORKLOADS["pandas"].strip()]
    found = {STARTS[0]: [target] * n}
    for name, backend in zip(STARTS[1:], ("inline", "strace"), strict=True):
        run = [*fsprobe, "run", "--record-only", "-q", "--force", "--backend", backend, "-o"]
        found[name] = [[*run, str(scratch / f"start-{number}.fsprobe"), "--", *target] for number in range(n)]
    return found


def strace_program() -> str:
    """The strace on PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    program = shutil.which("strace")
    if program is None:
        raise FileNotFoundError("overhead is measured against strace: install it")
    return program


def growth_program(what: str, n: int) -> str:
    """A program with `n` calls, processes or threads."""
    if what == "calls":
        return f"import os\nfor n in range({n}):\n    os.stat('/usr/lib')\n"
    if what == "processes":
        # two at a time: more would only wait for the processors
        return (
            "import subprocess, sys\n"
            f"for first in range(0, {n}, 2):\n"
            "    running = [subprocess.Popen([sys.executable, '-c', 'import json'])\n"
            f"               for _ in range(first, min(first + 2, {n}))]\n"
            "    for process in running:\n"
            "        assert process.wait() == 0\n"
        )
    return (
        "import os, threading\n"
        "def work():\n"
        f"    for n in range({20_000 // n}):\n"
        "        os.stat('/usr/lib')\n"
        f"threads = [threading.Thread(target=work) for _ in range({n})]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
