"""A profile, to be looked at in Python: tables as DataFrames, and a page in a notebook."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from fsprobe.api import frames, summary
from fsprobe.errors import BadInput
from fsprobe.model.profile import Profile as Value
from fsprobe.model.profile import Verdict
from fsprobe.report import sentences
from fsprobe.report.terminal import job as job_report
from fsprobe.report.terminal import run as run_report

if TYPE_CHECKING:
    from pandas import DataFrame

COUNTS = ("n_metadata", "n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found", "time_s")
CUMULATIVE = ("n_metadata_cum", "n_not_found_cum", "time_cum_s")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a recording means.

    Counts are of calls, `n_requests` of requests to file servers with a cold cache (predicted), times in seconds as traced.
    Columns ending in `_cum` include the imports inside an import. What was not observed is NaN or None, never 0.
    """

    value: Value
    """The typed profile, as `fsprobe report --format json` writes it."""
    path: str | None = None
    """The recording; None where it was not kept."""

    @property
    def modules(self) -> DataFrame:
        """A row for each import, most calls of its own first.

        Raises:
            BadInput: imports were not observed in this recording; `packages` was.
        """
        rows = self.value.metrics.by_module
        if rows is None:
            raise BadInput(
                "imports were not observed in this recording", "`.packages` has the calls by whose files were named"
            )
        asked = self._asked("by_module")
        made = frames.frame(
            sorted(rows, key=lambda row: -row.n_metadata),
            "module",
            (*COUNTS, *CUMULATIVE, "parent", "n_imports", "loaded_lazily_at"),
        )
        if asked:
            made.insert(1, "n_requests", [asked.get(key, 0) for key in made.index])
        return made

    @property
    def packages(self) -> DataFrame:
        """A row for each package, by the files that were named."""
        made = frames.frame(self.value.metrics.by_package, "package", COUNTS)
        asked = self._asked("by_package")
        if asked:
            made.insert(1, "n_requests", [asked.get(key, 0) for key in made.index])
        return made

    @property
    def mounts(self) -> DataFrame:
        """A row for each mount."""
        latency = ("fstype", "fs_class", "source", "p50_ms", "p95_ms", "max_ms", "n_over_1ms")
        return frames.frame(self.value.metrics.by_mount, "mount", (*COUNTS, *latency))

    @property
    def phases(self) -> DataFrame:
        """A row for each phase of the start, and one for the program's own work."""
        return frames.frame(self.value.metrics.by_phase, "phase", COUNTS)

    @property
    def processes(self) -> DataFrame:
        """A row for each program of each process."""
        return frames.frame(self.value.metrics.by_process, "process", (*COUNTS, "pid", "parent_pid", "label", "kind"))

    @property
    def paths(self) -> DataFrame:
        """A row for each path, the busiest first; the last row may stand for all others (`n_paths`)."""
        return frames.frame(self.value.metrics.by_path, "path", (*COUNTS, "n_paths"))

    @property
    def not_found(self) -> DataFrame:
        """A row for each reason why a lookup failed."""
        return frames.frame(self.value.metrics.not_found, "reason", ("n", "n_paths", "examples"))

    @property
    def findings(self) -> DataFrame:
        """A row for each finding: what was seen, why it costs, what to type."""
        columns = ("severity", "title", "evidence", "advice", "commands", "saves", "source")
        return frames.frame(self.value.findings, "code", columns)

    @property
    def requests(self) -> DataFrame:
        """A row for each mount: requests to its server, cold cache (predicted).

        Raises:
            BadInput: they can't be predicted for this recording.
        """
        found = self.value.requests
        if found is None:
            raise BadInput("requests are not predicted for this recording", "they need a log: record without --stream")
        columns = ("n_metadata", "lookup", "negative", "open", "opendir", "readdir", "readlink", "other", "read_max")
        return frames.frame(found.by_mount, "mount", (*columns, "fs_class", "fstype", "protocol"))

    @property
    def n_requests(self) -> int | None:
        """Metadata requests that reach a file server or disk; None where they were not predicted."""
        return self.value.n_requests

    @property
    def n_metadata(self) -> int:
        """Metadata calls."""
        return self.value.metrics.n_metadata

    @property
    def verdict(self) -> Verdict | None:
        """Is it the filesystem? None where nothing was observed."""
        return self.value.verdict

    @property
    def headline(self) -> str:
        """One sentence: how many calls, and where most of them come from."""
        return sentences.headline(self.value)

    @property
    def exit_code(self) -> int | None:
        """How the command ended; None where that was not observed."""
        return self.value.manifest.exit_code

    def report(self) -> str:
        """The report as it would stand on a terminal."""
        show = run_report.render if self.value.job is None else job_report.render
        return show(self.value, recording=self.path or "(not kept)")

    @overload
    def to_html(self, file: None = None) -> str: ...
    @overload
    def to_html(self, file: str | Path) -> None: ...
    def to_html(self, file: str | Path | None = None) -> str | None:
        """The page of `fsprobe report --format html`: its text, or, where a file is given, written to that."""
        from fsprobe import files
        from fsprobe.report.html import page

        text = page.render(self.value, recording=self.path or "(not kept)")
        if file is not None:
            files.write(str(file), text.encode("utf-8", "backslashreplace"))
            return None
        return text

    def _asked(self, name: str) -> dict[str, int]:
        found = self.value.requests
        return {} if found is None else {row.key: row.n_metadata for row in getattr(found, name)}

    def _repr_html_(self) -> str:
        return summary.of_profile(self.value)

    def __repr__(self) -> str:
        place = f" {self.path}" if self.path else ""
        verdict = f" {self.verdict.sentence}" if self.verdict is not None else ""
        return f"<fsprobe.Profile{place}: {self.headline}{verdict}>"

    def named(self, path: str | None) -> Profile:
        """The same profile, of a recording in another place."""
        return replace(self, path=path)
