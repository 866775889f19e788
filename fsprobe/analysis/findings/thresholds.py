"""Thresholds: one table, each row with its source or marked as a judgement. `--thresholds FILE` overrides rows."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsprobe import files, foreign_json
from fsprobe.errors import BadInput

MAX_BYTES = 1 << 20
"""Of a file of thresholds."""

SEVERITIES = ("info", "warn", "critical")

_LUMI = "LUMI training material, ai-20241126, extra_07 (questions and answers on virtual environments)"
_COPPER = "Copper's documentation: importing torch opens 1,404 of the 20,625 files of its venv (6.8%)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which value on something is worth a word, a warning, or is critical; None where that level is never reached."""

    name: str
    info: float
    warn: float | None
    critical: float | None
    unit: str
    source: str

    def level(self, value: float) -> str | None:
        """The severity of a value; None below `info`."""
        found = None
        for severity, bound in zip(SEVERITIES, (self.info, self.warn, self.critical), strict=True):
            if bound is not None and value >= bound:
                found = severity
        return found


Thresholds = Mapping[str, Threshold]


def _row(
    name: str, info: float, warn: float | None, critical: float | None, unit: str, source: str
) -> tuple[str, Threshold]:
    return name, Threshold(name=name, info=info, warn=warn, critical=critical, unit=unit, source=source)


DEFAULTS: Thresholds = dict(
    [
        _row("removable_calls", 10, 200, 5000, "calls of the run that the advice removes", "a judgement"),
        _row(
            "environment_files",
            68,
            408,
            1360,
            "files of the environment that the run opened",
            f"6.8% of 1,000 / 6,000 / 20,000 files in a venv ({_LUMI}; 1day-20230921, question 28: 6,000 are "
            f"'acceptable though a lot'; CSCS: a PyTorch venv has 22,806 inodes); the share: {_COPPER}",
        ),
        _row(
            "start_calls",
            1e4,
            1e5,
            1e6,
            "metadata calls on network filesystems until the last import has ended, x processes",
            "HLRN/NHR@ZIB: hundreds of thousands of metadata operations per job can cause a slow filesystem",
        ),
        _row(
            "sustained_calls_per_s",
            1000,
            5000,
            30000,
            "metadata calls/s on network filesystems over 10 s, x processes",
            f"5,000: {_LUMI}; 30,000: SYMFLUENCE#21, which overloaded a metadata server; 1,000 is a judgement",
        ),
        _row(
            "sustained_opens_per_s_process",
            100,
            None,
            None,
            "opens/s of one process over 10 s, on network filesystems",
            _LUMI,
        ),
        _row("missing_bytecode_modules", 10, 100, 1000, "modules compiled from source in this run", "a judgement"),
        _row(
            "rpath_misses",
            200,
            1000,
            10000,
            "failed lookups of libraries along RPATH or RUNPATH, per interpreter",
            "a judgement",
        ),
        _row(
            "entry_point_files",
            100,
            500,
            5000,
            "opens in *.dist-info and *.egg-info",
            "a judgement; opentelemetry-python#3054: 5-10 ms for each scan",
        ),
        _row("path_files", 5, 20, 100, ".pth files read by one interpreter", "a judgement"),
        _row("cache_calls", 50, 500, 5000, "calls in cache directories on network filesystems", "a judgement"),
        _row("same_processes", 2, 8, 64, "processes that repeat one start", "a judgement"),
        _row("short_interpreters", 10, 50, 500, "interpreters that did little but start", "a judgement"),
        _row("same_path_calls", 1000, 10000, 100000, "stat calls for one path", "a judgement; HLRN warns of polling"),
        _row(
            "data_files",
            1000,
            10000,
            100000,
            "data files opened on network filesystems",
            "a judgement; the LUMI AI Guide's example (Tiny-ImageNet) has 100,000",
        ),
        _row(
            "swept_paths",
            1000,
            10000,
            100000,
            "paths that were looked at and not opened, below one directory",
            "a judgement",
        ),
        _row("written_files", 1000, 10000, 100000, "files created or written anew, below one directory", "a judgement"),
        _row(
            "component_calls",
            1000,
            10000,
            100000,
            "lstat and readlink calls while one module was imported",
            "a judgement",
        ),
        _row(
            "restarts", 5, 50, 500, "interpreters of one program that another could have been kept for", "a judgement"
        ),
        _row(
            "fuse_image_calls",
            1000,
            20000,
            None,
            "calls on an image that single-threaded squashfuse serves, by several processes",
            "a judgement; apptainer#665: kernel 18:00, squashfuse_ll 17:57, squashfuse 27:37 (min:s)",
        ),
        _row("nodes", 2, 16, 128, "nodes that start from one shared environment", "a judgement"),
        _row("share_time", 0.1, 0.4, None, "share of the wall time spent waiting in metadata calls", "a judgement"),
        _row("wait_s", 0.3, 3, None, "s spent waiting in metadata calls, per process", "a judgement"),
        _row("cold_wait_s", 5, None, None, "s that a cold start would wait, estimated", "a judgement"),
        _row(
            "slow_call_ms",
            0.3,
            1.5,
            None,
            "ms, median of the calls on one mount",
            "a judgement; a local cache hit: 0.05",
        ),
    ]
)

COLD_MS: Mapping[str, tuple[float, str]] = {
    "lustre": (17.4, "EESSI: import tensorflow on a production Lustre, cold, 75 s for 4,190 opens"),
    "gpfs": (7.9, "EESSI: the same on GPFS, 35 s"),
    "nfs": (1.05, "EESSI: the same on NFS, 6.4 s"),
    "": (1.5, "the median of a log from a network filesystem"),
}
"""Filesystem type -> (ms that one open call took on a cold client in a published measurement, its source): lookups and the
reading of the data are in them. "" is any other network filesystem: ms of one request."""


def cold_ms(fstype: str) -> tuple[float, str]:
    """What an open call, or a request, takes by published figures, in ms, and whose figure it is."""
    return COLD_MS.get("nfs" if fstype.startswith("nfs") else fstype, COLD_MS[""])


def is_per_open(fstype: str) -> bool:
    """Whether that figure is of an open call, its lookups and reads included; else it is of one request."""
    return bool(fstype) and ("nfs" if fstype.startswith("nfs") else fstype) in COLD_MS


def read(path: str | Path) -> Thresholds:
    """Read a file of overrides over the defaults.

    Args:
        path: JSON or TOML (TOML needs Python 3.11). `{"removable_calls": [10, 200, 5000]}` or
            `{"removable_calls": {"warn": 100}}`.

    Raises:
        BadInput: not readable, neither JSON nor TOML, an unknown name, or values that do not rise.
    """
    path = Path(path)
    try:
        data = files.read(str(path), MAX_BYTES, streams=True)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}", "name a JSON or TOML file of thresholds") from None
    return override(_parse(path, data), str(path))


def _parse(path: Path, data: bytes) -> object:
    if path.suffix.lower() == ".toml":
        try:
            tomllib = importlib.import_module("tomllib")
        except ImportError:
            raise BadInput(f"{path}: this Python (before 3.11) cannot read TOML", "write the same as JSON") from None
        try:
            return tomllib.loads(data.decode("utf-8"))
        except RecursionError:
            raise BadInput(f"{path} is not TOML: nested too deeply", "see `fsprobe explain` for the names") from None
        except ValueError as error:
            raise BadInput(f"{path} is not TOML: {error}", "see `fsprobe explain` for the names") from None
    try:
        return foreign_json.loads(data)
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}", 'write {"name": [info, warn, critical]}') from None


def override(given: object, where: str) -> Thresholds:
    """Put given values over the defaults.

    Raises:
        BadInput: an unknown name or a value of the wrong form.
    """
    if not isinstance(given, dict):
        raise BadInput(f"{where}: thresholds are a table of names", 'write {"name": [info, warn, critical]}')
    table = dict(DEFAULTS)
    for name, value in given.items():
        if name not in table:
            raise BadInput(f"{where}: there is no threshold {name!r}", _did_you_mean(str(name), table))
        table[name] = _changed(table[name], value, where)
    return table


def _changed(row: Threshold, value: object, where: str) -> Threshold:
    if isinstance(value, list) and len(value) == len(SEVERITIES):
        changes: dict[str, Any] = dict(zip(SEVERITIES, value, strict=True))
    elif isinstance(value, dict) and set(value) <= set(SEVERITIES):
        changes = value
    else:
        raise BadInput(
            f"{where}: {row.name} must be [info, warn, critical], or a table of some of them", "null turns a level off"
        )
    for severity, bound in changes.items():
        if isinstance(bound, bool) or not (isinstance(bound, int | float) or (bound is None and severity != "info")):
            raise BadInput(f"{where}: {row.name}: {severity} is {bound!r}, not a number", "see `fsprobe explain`")
    changed = replace(row, **changes, source=f"{where} (default: {row.source})")
    bounds = [bound for bound in (changed.info, changed.warn, changed.critical) if bound is not None]
    if bounds != sorted(bounds):
        raise BadInput(f"{where}: {row.name} must rise from info to critical", f"it is {bounds}")
    return changed


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {close[0]}?" if close else "the names are in `fsprobe explain`"
