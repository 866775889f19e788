"""fsprobe scan: look at an environment without running anything."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from fsprobe import numbers
from fsprobe.cli import amounts
from fsprobe.cli.failures import fitted, printable
from fsprobe.layouts.scan.environment import LUMI_QUOTAS, SMALL_BYTES, Scan, as_json, quota_shares, scan_environment
from fsprobe.model.formats import text

_WIDTH = 80
"""At most; less where the terminal is narrower."""
_LABEL = 14


@click.command("scan", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("venv", metavar="VENV")
@click.option("--json", "as_json_text", is_flag=True, help="As --format json.")
@click.option("--quota-files", type=amounts.Whole(1), metavar="N", help="Your file quota (default: LUMI's).")
@click.option(
    "--top", default=10, show_default=True, type=amounts.Whole(), metavar="N", help="How many packages to list."
)
def command(venv: str, as_json_text: bool, quota_files: int | None, top: int) -> None:
    """Count what is in VENV, and say what is wrong with it.

    Nothing is run: files, sizes, packages, .pth files, .pyc files, what the base interpreter has already, and
    whether VENV fits this interpreter and container.
    """
    with _progress_line() as progress:
        scan = scan_environment(venv, os.environ, progress)
    if as_json_text:
        click.echo(json.dumps(as_json(scan, quota_files), indent=1))
        return
    for line in _lines(scan, quota_files):
        click.echo(line)
    _show_packages(scan, top)


def _width() -> int:
    return min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns) if sys.stdout.isatty() else _WIDTH


@contextmanager
def _progress_line() -> Iterator[Callable[[int], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from fsprobe.report.terminal.console import Screen

    with Screen(stderr=True).status("reading the environment") as status:
        yield lambda n: status.update(f"reading the environment: {n:,} names")


def _lines(scan: Scan, quota_files: int | None) -> Iterator[str]:
    if scan.is_venv:
        what = f"virtual environment of Python {scan.python or '(version not named)'} from {scan.home or '(not named)'}"
    else:
        what = "no virtual environment (it has no pyvenv.cfg): counted only"
    yield from _row("path", text(scan.path))
    yield from _row("what", what)
    yield from _row(
        "names",
        f"{numbers.plural(scan.n_files, 'file')}, {numbers.plural(scan.n_directories, 'directory', 'directories')}, "
        f"{numbers.plural(scan.n_symlinks, 'symlink')}" + (f", {scan.n_other:,} others" if scan.n_other else ""),
    )
    yield from _row(
        "size", f"{numbers.size_bytes(scan.n_bytes)} in files, {numbers.size_bytes(scan.n_disk_bytes)} on disk"
    )
    if scan.share_small is not None:
        yield from _row("small files", f"{scan.share_small:.1%} are smaller than {numbers.size_bytes(SMALL_BYTES)}")
    shares = quota_shares(scan, quota_files)
    if quota_files:
        quota = f"{shares['quota']:.1%} of {quota_files:,} files"
    else:
        quota = ", ".join(f"{share:.1%} of {name}'s {LUMI_QUOTAS[name]:,}" for name, share in shares.items())
        quota = f"on LUMI {quota} files (--quota-files N for yours)"
    yield from _row("quota", f"{numbers.plural(scan.n_inodes, 'inode')}: {quota}")
    if scan.unreadable:
        yield from _row("unreadable", _some(scan.unreadable, "names could not be looked at"))
    if scan.is_venv:
        yield from _venv_lines(scan)
    outward = [path for path in scan.outward_links if not path.startswith(b"bin/python")]  # that one has to
    if outward:
        yield from _row("links out", _some(outward, "symlinks lead out of it"))
    if scan.dangling_links:
        yield from _row("dead links", _some(scan.dangling_links, "symlinks lead nowhere"))


def _venv_lines(scan: Scan) -> Iterator[str]:
    if scan.pycs is None:
        yield from _row(".pyc", "not observed: the interpreter's bytecode version is not known")
    else:
        n_valid = scan.pycs.n_sources - len(scan.pycs.missing) - len(scan.pycs.stale)
        yield from _row(".pyc", f"{n_valid:,} of {scan.pycs.n_sources:,} sources have a valid one")
        refused = set(scan.pycs.not_python)
        missing = [path for path in scan.pycs.missing if path not in refused]
        if missing:
            yield from _row("", _some(missing, "have none: they are compiled again at every start"))
        if scan.pycs.not_python:
            yield from _row("", _some(scan.pycs.not_python, "have none and are no valid Python for this interpreter"))
        if scan.pycs.stale:
            yield from _row("", _some(scan.pycs.stale, "are stale: compiled for another source or Python"))
    for pth in scan.pths:
        parts = [f"{numbers.plural(pth.n_code_lines, 'line')} of code run at every start"] if pth.n_code_lines else []
        parts += (
            [f"{numbers.plural(len(pth.directories), 'directory', 'directories')} on sys.path"]
            if pth.directories
            else []
        )
        yield from _row(".pth", f"{text(pth.path.rpartition(b'/')[2])}: {', '.join(parts) or 'empty'}")
    editable = [row.name for row in scan.packages if row.editable]
    if editable or any(pth.editable for pth in scan.pths):
        yield from _row(
            "editable", f"{', '.join(editable) or 'yes'}: a normal install needs fewer lookups, and can be packed"
        )
    for where, entry in scan.dead_paths:
        yield from _row("dead path", f"{text(entry)} (from {where})")
    same = [one for one in scan.duplicates if one.same]
    other = [one for one in scan.duplicates if not one.same]
    if same:
        n_files, n_bytes = sum(one.n_files for one in same), sum(one.n_bytes for one in same)
        # a new venv gets a pip of its own whatever the base has
        bare = " --without-pip" if any(one.name in ("pip", "setuptools") for one in same) else ""
        verb = f"would be saved by a venv with `--system-site-packages{bare}`"
        if scan.system_site:
            verb = "stand before those of the base"
        names = ", ".join(one.name for one in same[:5]) + (", ..." if len(same) > 5 else "")
        yield from _row(
            "in the base",
            f"{numbers.plural(len(same), 'package')} of the same version ({names}): {numbers.plural(n_files, 'file')}, "
            f"{numbers.size_bytes(n_bytes)} {verb}",
        )
    if other:
        names = ", ".join(f"{one.name} {one.version} (base {one.base_version})" for one in other[:3])
        yield from _row("", f"{len(other)} in another version: {names}" + (", ..." if len(other) > 3 else ""))
    if scan.misfits:
        for reason in scan.misfits:
            yield from _row("fits here", f"NO: {reason}")
    else:
        yield from _row("fits here", "yes, as far as can be seen without running it")


def _show_packages(scan: Scan, top: int) -> None:
    if not scan.is_venv or not scan.packages:
        return
    from rich.table import Table

    from fsprobe.report.terminal.console import Screen

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("package", overflow="ellipsis", no_wrap=True, max_width=36)
    table.add_column("version", overflow="ellipsis", no_wrap=True, max_width=16)
    table.add_column("files", justify="right")
    table.add_column("size", justify="right")
    rows, rest = scan.packages[:top], scan.packages[top:]
    cells = [(row.name, row.version, row.n_files, row.n_bytes) for row in rows]
    if rest:
        cells.append((f"({len(rest)} more)", "", sum(row.n_files for row in rest), sum(row.n_bytes for row in rest)))
    cells.append(("total", "", scan.n_files, scan.n_bytes))
    for name, version, n_files, n_bytes in cells:
        table.add_row(printable(name), printable(version), f"{n_files:,}", numbers.size_bytes(n_bytes))
    click.echo()
    Screen(width=_width(), markup=False, highlight=False).print(table)


def _row(label: str, value: str) -> Iterator[str]:
    for line in fitted(printable(value), _width() - _LABEL).split("\n"):
        yield f"{label:<{_LABEL}}{line}"
        label = ""


def _some(paths: Sequence[bytes], what: str) -> str:
    return f"{len(paths):,} {what}, e.g. {text(paths[0]) or '.'}"
