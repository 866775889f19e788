"""A comparison of storage layouts, or of two recordings, in Python."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsprobe.api import frames, runs, summary
from fsprobe.cli.report import load
from fsprobe.errors import BadInput
from fsprobe.model import serial
from fsprobe.model.comparison import Comparison as Value
from fsprobe.report.terminal import comparison as report

if TYPE_CHECKING:
    from pandas import DataFrame

Word = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Storage layouts of one environment, or two recordings, side by side."""

    value: Value
    """The typed comparison, as `fsprobe report --format json` writes it."""
    path: str | None = None

    @classmethod
    def open(cls, file: Word) -> Comparison:
        """Open the file of a comparison.

        Raises:
            BadInput: it is none, or damaged.
        """
        shown = load(os.fspath(file))
        if not isinstance(shown, Value):
            raise BadInput(f"{os.fspath(file)} is no comparison", "open it with fsprobe.open(FILE)")
        return cls(shown, os.fspath(file))

    @property
    def layouts(self) -> DataFrame:
        """A row for each layout and state of the cache; wall times in seconds, median of the runs, and ratios to the baseline."""
        made = frames.frame(
            self.value.rows,
            "layout",
            ("kind", "cache", "where", "fstype", "ratio_wall", "ratio_requests", "clear", "verdict"),
        )
        made.insert(2, "wall_s", [row.wall_s.median if row.wall_s is not None else None for row in self.value.rows])
        made.insert(3, "n_requests", [row.n_requests for row in self.value.rows])
        made.insert(4, "n_metadata", [row.metrics.n_metadata for row in self.value.rows])
        return made

    @property
    def runs(self) -> DataFrame:
        """A row for each timed run: its layout, the state of the cache, and its wall time in seconds."""
        from pandas import DataFrame

        rows = [
            (row.layout, row.cache, wall_s)
            for row in self.value.rows
            for wall_s in (row.wall_s.runs if row.wall_s is not None else ())
        ]
        return DataFrame(rows, columns=["layout", "cache", "wall_s"])

    def report(self) -> str:
        """The comparison as it would stand on a terminal."""
        return report.render(self.value)

    def _repr_html_(self) -> str:
        return summary.of_comparison(self.value)

    def __repr__(self) -> str:
        return f"<fsprobe.Comparison of {', '.join(dict.fromkeys(row.layout for row in self.value.rows))}>"


def compare(
    *what: Word | Sequence[Word],
    env: Word | None = None,
    flash: Word | None = None,
    layouts: Mapping[str, Word] | None = None,
    squashfs: bool | Word = False,
    overlay: bool | Word = False,
    runs_each: int = 7,
    cache: str = "warm",
    output: Word | None = None,
    options: Sequence[str] = (),
) -> Comparison:
    """Compare two recordings (`compare("a.fsprobe", "b.fsprobe")`), or one command in several layouts of an environment.

    Args:
        what: two recordings; or, with `env`, a command as a list of words or as a line.
        env: the environment; the plain one is the baseline.
        flash: copy it to this directory, on another filesystem.
        layouts: copies that are there already, by label.
        squashfs: as a SquashFS image, packed now (True) or this one.
        overlay: as an image under a writable overlay, packed now or this one.
        runs_each: timed runs of each layout.
        cache: cold, warm or both.
        output: where the comparison goes, with its traced runs.
        options: more words of `fsprobe compare`, such as `["--keep"]`.

    Raises:
        FsprobeError: it could not be made; its message and hint are fsprobe's own.
    """
    words = ["compare", "--json"]
    if env is None:
        if len(what) != 2 or not all(isinstance(one, str | os.PathLike) for one in what):
            raise BadInput(
                "nothing to compare", 'give two recordings, or env= and a command: compare("python app.py", env="venv")'
            )
        if output is not None:
            raise BadInput("no file is written of two recordings", "leave output out, or give env= and a command")
        words += ["--", *(os.fspath(one) for one in what)]  # type: ignore[arg-type]
    else:
        if len(what) != 1:
            raise BadInput(
                "one command is compared", 'for example compare(["python", "app.py"], env="venv", squashfs=True)'
            )
        (command,) = what
        typed = shlex.split(command) if isinstance(command, str) else [os.fspath(word) for word in command]  # type: ignore[union-attr]
        words += ["--env", os.fspath(env), "--runs", str(runs_each), "--cache", cache]
        words += ["--flash", os.fspath(flash)] if flash is not None else []
        for label, place in (layouts or {}).items():
            words += ["--layout", f"{label}={os.fspath(place)}"]
        for name, image in (("--squashfs", squashfs), ("--overlay", overlay)):
            if image is not False:
                words.append(name if image is True else f"{name}={os.fspath(image)}")
        words += ["-o", os.fspath(output)] if output is not None else []
        words += [*options, "--", *typed]
    code, printed, said = runs.forward(words, hides_output=True)
    try:
        value = serial.from_json(Value, json.loads(printed))
    except ValueError:
        raise runs.error_of(said, code, "nothing was compared") from None
    return Comparison(value, None if output is None else os.fspath(output))
