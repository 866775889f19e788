"""How far imports that are estimated from paths are from the truth, and how well that is told beforehand.

    python -m benchmarks.estimate [-o DIRECTORY] [--keep DIRECTORY] [PROGRAM ...]

Each program is recorded once with exact import timing. The same recording is then read twice: as it is, which is the truth, and
with its marks thrown away and fsprobe's own calls with them, as if somebody else had made the log. Each open and each stat that
belongs to another module in the second reading is an error; so is each one that the estimate puts to no module (not assigned, an
import that failed), as the truth has a name for it. The expected error is what a report would say, from the second reading alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.evidence import PLACE, Json, about, head, package_versions, save, say, table
from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, Notes, attribute
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.counting.estimated import MOST, expected_error, package_of
from fsprobe.analysis.counting.tally import fold
from fsprobe.model.events import Call, Event, Mark, Op, ParseQuality
from fsprobe.model.rows import FAILED_IMPORTS, INSTALLED, PROGRAM, UNASSIGNED
from fsprobe.recording.file import Recording

PACKAGES = {
    "main": "numpy pandas scipy scikit-learn matplotlib sympy flask django nbconvert nbclient ipykernel dask[dataframe] distributed "
    "numba jupyterlab snakemake pytest pytest-xdist ray jax torch transformers".split(),
    "tensorflow": ["tensorflow-cpu"],
}
"""Environment -> what is installed in it. TensorFlow wants versions of its own."""
NOTEBOOK = (
    '{"cells":[{"cell_type":"code","execution_count":null,"metadata":{},"outputs":[],"source":["print(1)"]}],'
    '"metadata":{"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"}},"nbformat":4,"nbformat_minor":5}'
)
FILES = {
    "notebook.ipynb": NOTEBOOK,
    "tests/test_a.py": "def test_a(): assert 1\n",
    "tests/test_b.py": "def test_b(): assert 1\n",
    "Snakefile": 'rule all:\n  output: "o.txt"\n  shell: "echo hi > {output}"\n',
    "data.py": "import os\nfor i in range(3000): os.path.exists('/data/item%d' % i)\nimport colorsys\n",
    "mixed.py": "import os, numpy\nfor i in range(400): os.path.exists('/data/item%d' % i)\nimport pandas\n"
    "for i in range(400): os.path.exists('/data/item%d' % i)\nimport sympy\n",
}
"""What the programs work on."""
PROGRAMS: dict[str, list[str]] = {
    "standard library": ["-c", "import json, email.mime.text, xml.dom.minidom"],
    "numpy": ["-c", "import numpy"],
    "pandas": ["-c", "import pandas"],
    "scipy": ["-c", "import scipy.stats, scipy.optimize"],
    "sklearn": ["-c", "import sklearn.ensemble"],
    "pyplot": ["-c", "import matplotlib.pyplot"],
    "sympy": ["-c", "import sympy"],
    "flask": ["-c", "import flask; flask.Flask('a').test_client().get('/')"],
    "django": ["-m", "django", "check", "--settings=django.conf.global_settings"],
    "dask": ["-c", "import dask.dataframe, distributed"],
    "numba": ["-c", "import numba; numba.njit(lambda x: x)(1)"],
    "jax": ["-c", "import jax; jax.numpy.zeros(3)"],
    "torch": ["-c", "import torch"],
    "transformers": ["-c", "from transformers import BertConfig, BertModel"],
    "tensorflow": ["-c", "import tensorflow"],
    "ray": ["-c", "import ray"],
    "jupyter lab": ["-m", "jupyterlab", "--version"],
    "nbconvert": ["-m", "nbconvert", "--to", "html", "notebook.ipynb"],
    "nbconvert --execute": ["-m", "nbconvert", "--to", "notebook", "--execute", "--output", "done", "notebook.ipynb"],
    "pytest -n 2": ["-m", "pytest", "-q", "-n", "2", "tests"],
    "snakemake": ["-m", "snakemake", "-n"],
    "data, then an import": ["data.py"],
    "imports and data in turn": ["mixed.py"],
}
OPS = {Op.OPEN: "open", Op.STAT: "stat"}
NOT_TOLD = frozenset({FAILED_IMPORTS, UNASSIGNED})
"""Rows that name no import."""


def environment(name: str) -> str:
    """The interpreter of an environment; made at its first use."""
    place = PLACE / f"estimate-{name}"
    python = place / "bin" / "python"
    if not python.exists():
        say(f"making {place}: {' '.join(PACKAGES[name])}")
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
    return str(python)


def record(python: str, words: list[str], path: Path) -> None:
    """Run a program twice in a directory of its own, so that its bytecode is there, and record the second run."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(dir=PLACE) as scene:
        clean["HOME"] = scene  # what programs have left in a home makes them take other ways
        for name, text in FILES.items():
            file = Path(scene, name)
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        quiet = {"cwd": scene, "env": clean, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([python, *words], **quiet)  # type: ignore[call-overload]
        fsprobe = [sys.executable, "-m", "fsprobe", "run", "-q", "--record-only", "--backend", "strace"]
        subprocess.run(
            [*fsprobe, "-o", str(path), "--", python, *words],
            **{**quiet, "env": {**clean, "PYTHONPATH": str(Path(pipeline.__file__).parent.parent)}},  # type: ignore[call-overload]
        )


def both(path: Path) -> tuple[list[Attributed], list[Attributed], Notes]:
    """A recording's calls as timed, and as estimated from the same events without marks; and what the estimate noted."""
    recording = Recording(str(path))
    hooks = pipeline.read_hooks(recording)
    events = list(pipeline.read_events(recording, ParseQuality(), hooks))
    timed = list(pipeline.attributed(recording, iter(events), Notes()))
    own = {id(row.call) for row in timed if row.own}

    def bare() -> Iterator[Event]:
        for event in events:
            if not isinstance(event, Mark) and not (isinstance(event, Call) and id(event) in own):
                yield event

    notes = Notes()
    return [row for row in timed if not row.own], list(attribute(bare(), notes)), notes


def compare(path: Path) -> Json:
    """The error of the estimate, by opens and stats, by module and by top-level package, and the expected one."""
    timed, estimated, notes = both(path)
    tally = fold(iter(estimated), WhyNotFound([]))
    truth = {id(row.call): row for row in timed}
    n: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for row in estimated:
        exact = truth.get(id(row.call))
        op = OPS.get(row.call.op)
        if exact is None or op is None or exact.process.kind != "python" or exact.phase not in ("import", "run"):
            continue
        there = exact.module if exact.phase == "import" else PROGRAM
        here = row.module if row.phase == "import" else PROGRAM
        if here == INSTALLED:
            there = INSTALLED  # what was read is true of it whoever read it
        n[op] += 1
        wrong[op] += here != there
        if package_of(here) != package_of(there):
            wrong["not told" if here in NOT_TOLD else "package"] += 1
        wrong["metadata"] += here == INSTALLED
    error = expected_error(tally, notes)
    return {
        **{f"n_{op}": n[op] for op in OPS.values()},
        **{f"error_{op}": round(wrong[op] / n[op], 4) if n[op] else None for op in OPS.values()},
        "metadata": round(wrong["metadata"] / max(1, n.total()), 4),
        "not_told": round(wrong["not told"] / max(1, n.total()), 4),
        "wrong_package": round(wrong["package"] / max(1, n.total()), 4),
        "expected": error,
        "shown_by": "package" if error is not None and error > MOST else "module",
    }


def markdown(result: Json) -> str:
    """The report as Markdown."""
    rows = []
    for name, row in result["programs"].items():
        rows.append(
            [name, f"{row['n_open']:,}", f"{row['n_stat']:,}"]
            + [_share(row[key]) for key in ("error_open", "error_stat", "expected")]
            + [row["shown_by"], *(_share(row[key]) for key in ("wrong_package", "not_told", "metadata"))]
        )
    shown = [row for row in result["programs"].values() if row["shown_by"] == "module"]
    worst = max((max(row["error_open"] or 0, row["error_stat"] or 0) for row in shown), default=0.0)
    worst_package = max((row["wrong_package"] for row in result["programs"].values()), default=0.0)
    return (
        "# Estimated imports against exact ones\n\n"
        + about(result)
        + "\nThe same run read twice: with its marks, and without. An error is an open or a stat of the program, its imports and its own "
        "work, that the estimate puts to another module than the marks do; what it puts to none (not assigned, imports that failed) "
        "counts as an error too. What was asked of the metadata of installed distributions is a row of its own, whoever read them: "
        "the paths don't tell, and the marks' share of it is counted in the same way. The expected error is told from the recording without "
        f"marks; reports show imports by module up to {MOST:.0%} of it, else by top-level package.\n\n"
        f"Shown by module: {len(shown)} of {len(rows)} programs; the largest true error among these is {worst:.1%}. "
        f"Put to a wrong package: at most {worst_package:.1%}.\n\n"
        + table(
            (
                "program",
                "opens",
                "stats",
                "error, opens",
                "error, stats",
                "expected",
                "shown by",
                "wrong package",
                "not told",
                "metadata",
            ),
            rows,
        )
        + "\nThe last three columns are shares of opens and stats together. *Wrong package*: put to another top-level package, or to the "
        "program, than the marks do. *Not told*: put to no import, though the marks have a name for it; where these and the "
        "metadata are more than 5% of what starts and imports, reports say that a package's number is a lower bound, and that some of the "
        "calls of the phase import may be the program's. *Metadata*: in the row of installed distributions' metadata.\n"
    )


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"


picture = None
"""No picture: the table is short."""


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"only these: {', '.join(PROGRAMS)}")
    parser.add_argument("-o", "--output", type=Path, help="directory of the report")
    parser.add_argument("--keep", type=Path, help="directory for the recordings; those that are there are used again")
    words = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    pythons = {name: environment(name) for name in PACKAGES}
    result: Json = {}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=PLACE) as scratch:
        for name in words.programs or PROGRAMS:
            python = pythons["tensorflow" if name == "tensorflow" else "main"]
            path = (words.keep or Path(scratch)) / f"{name.replace(' ', '_')}.fsprobe"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                say(name)
                record(python, PROGRAMS[name], path)
            result[name] = compare(path)
    for name, python in pythons.items():
        versions |= package_versions(python, [package.partition("[")[0] for package in PACKAGES[name]])
    options = ["-o", "reports"] if words.output else []
    report = {**head("estimate", options, versions=versions), "programs": result}
    print(save(report, markdown, picture, words.output))


if __name__ == "__main__":
    main()
