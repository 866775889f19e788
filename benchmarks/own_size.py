"""How many files fsprobe itself is: installed in a venv of its own, and as one file.

    python -m benchmarks.own_size [-o reports]

`fsprobe scan` of the venv, beside what `find` counts and adds up.
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
from benchmarks.evidence import REPOSITORY, Json, say


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
    }


def _output(words: list[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def markdown(result: Json) -> str:
    """The report."""
    rows = [
        ["installed, by `fsprobe scan`", f"{result['n_files']:,}", f"{result['mib']} MiB"],
        ["installed, by `find`", f"{result['n_files_by_find']:,}", f"{result['mib_by_find']} MiB"],
        ["`fsprobe.pyz`", "1", f"{result['archive_mb']} MB"],
    ]
    return "\n".join(["# How large fsprobe is\n", evidence.about(result), evidence.table(["", "files", "size"], rows)])


def main() -> int:
    """Measure and report; 1 where `find` counts something else."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="directory for own_size.json and .md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fsprobe-") as name:
        result = {**evidence.head("own_size", ["-o reports"]), **measure(Path(name))}
    print(evidence.save(result, markdown, None, options.output))
    return int((result["n_files"], result["mib"]) != (result["n_files_by_find"], result["mib_by_find"]))


if __name__ == "__main__":
    sys.exit(main())
