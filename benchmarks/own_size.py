"""How large fsprobe itself is, installed in a venv of its own and as one file, and how many metadata calls its recorder makes.

    python -m benchmarks.own_size [-o reports]

`fsprobe scan` of the venv, beside what `find` counts and adds up. Calls: those of the recorder alone, counted by strace, in its
second run (the first one writes what later ones start from).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import clean_environment, copy_checkout
from benchmarks.evidence import PLACE, REPOSITORY, Json, say
from benchmarks.overhead.arms import RANK
from benchmarks.overhead.measure import count_calls

FIRST = {**RANK, "SLURM_PROCID": "32", "SLURM_LOCALID": "0"}
"""The first rank of another node."""


def measure(place: Path) -> Json:
    """Files and bytes of an installed fsprobe, and of the archive."""
    env, clean = place / "env", clean_environment()
    say("installing fsprobe in a venv of its own")
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True, env=clean)
    pip = [str(env / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(copy_checkout(place / "tree"))], check=True, env=clean)
    scanned = json.loads(_output([str(env / "bin" / "fsprobe"), "scan", str(env), "--format", "json"]))
    lengths = [int(line) for line in _output(["find", str(env), "-type", "f", "-printf", "%s\\n"]).split()]
    archive = place / "fsprobe.pyz"
    say("building the archive")
    words = [str(env / "bin" / "python"), str(REPOSITORY / "packaging" / "zipapp.py"), "-o", str(archive)]
    subprocess.run(words, check=True, env=clean, stdout=subprocess.DEVNULL)
    return {
        "n_files": scanned["n_files"],
        "mib": round(scanned["n_bytes"] / 2**20),
        "n_files_by_find": len(lengths),
        "mib_by_find": round(sum(lengths) / 2**20),
        "archive_mb": round(archive.stat().st_size / 1e6, 1),
        "n_calls": count(str(env / "bin" / "python"), archive, place),
    }


def count(python: str, archive: Path, scratch: Path) -> Json:
    """Metadata calls of the interpreter alone; of the recorder, without what it starts; and what it adds where it does not record."""
    say("counting calls")
    fsprobe, recorder = str(Path(python).with_name("fsprobe")), str(scratch / "recorder.pyz")
    _output([fsprobe, "recorder", "-o", recorder])
    record = [
        "--record-only",
        "-q",
        "--force",
        "--backend",
        "inline",
        "-o",
        str(scratch / "x.fsprobe"),
        "--",
        python,
        "-c",
    ]
    # as the line for jobs has it: all ranks but the first find the directory there
    in_job = [f"{scratch}/rec/" if word == str(scratch / "x.fsprobe") else word for word in record]
    skip = ["--ranks", "0", "-o", str(scratch / "x.fsprobe"), "--", python, "-c", "pass"]
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        "bare": ([python, "-I", "-S", "-c", "pass"], {}),
        "interpreter": ([python, "-c", "pass"], {}),
        "installed": ([fsprobe, "run", *record, "pass"], {}),
        "installed_rank": ([fsprobe, "run", *in_job, "pass"], RANK),
        "line_rank": ([python, "-I", "-S", fsprobe, "run", *in_job, "pass"], RANK),
        "line_first": ([python, "-I", "-S", fsprobe, "run", *in_job, "pass"], FIRST),
        "archive": ([python, str(archive), "run", *record, "pass"], {}),
        "skipped_installed": ([fsprobe, "run", *skip], RANK),
        "skipped_line": ([python, "-I", "-S", fsprobe, "run", *skip], RANK),
        "skipped_recorder": ([python, "-I", "-S", recorder, *skip], RANK),
    }
    for _ in range(2):  # the second time, what the first one writes is there
        found = {name: count_calls(words, scratch, variables) for name, (words, variables) in commands.items()}
    for name in commands:
        if name.startswith("skipped"):  # they become the command, whose own start is in it
            found[name] -= found["interpreter"]
    return found


def _output(words: list[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def markdown(result: Json) -> str:
    """The report."""
    rows = [
        ["installed, by `fsprobe scan`", f"{result['n_files']:,}", f"{result['mib']} MiB"],
        ["installed, by `find`", f"{result['n_files_by_find']:,}", f"{result['mib_by_find']} MiB"],
        ["`fsprobe.pyz`", "1", f"{result['archive_mb']} MB"],
    ]
    n = result["n_calls"]
    calls = [
        ["`python -I -S -c pass`", n["bare"]],
        ["`python -c pass`", n["interpreter"]],
        ["recorder of `python -c pass`, installed", n["installed"]],
        ["the same as rank 5 of a job", n["installed_rank"]],
        ["the same by `python -I -S fsprobe run`", n["line_rank"]],
        ["the same as the first rank of its node, which looks up what the calls leave open", n["line_first"]],
        ["recorder of `python -c pass`, `fsprobe.pyz`", n["archive"]],
        ["rank 5 of `--ranks 0`, which is not recorded: installed", n["skipped_installed"]],
        ["the same, `python -I -S fsprobe run`", n["skipped_line"]],
        ["the same, `python -I -S` and the recorder as one file", n["skipped_recorder"]],
    ]
    return "\n".join(
        [
            "# How large fsprobe is\n",
            evidence.about(result),
            evidence.table(["", "files", "size"], rows),
            "Metadata calls of the recorder alone (strace, the second run; `--record-only --backend inline`), start of its interpreter "
            "included, and the read of each limit of the job's memory (/sys/fs/cgroup). Ranks write into a directory (`-o DIR/`). Of ranks "
            "that are not recorded, what is added to the command's own start:\n",
            evidence.table(["", "calls"], calls),
        ]
    )


def main() -> int:
    """Measure and report; 1 where `find` counts something else."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="directory for own_size.json and .md")
    options = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fsprobe-") as name:
        result = {**evidence.head("own_size", ["-o reports"]), **measure(Path(name))}
    print(evidence.save(result, markdown, None, options.output))
    return int((result["n_files"], result["mib"]) != (result["n_files_by_find"], result["mib_by_find"]))


if __name__ == "__main__":
    sys.exit(main())
