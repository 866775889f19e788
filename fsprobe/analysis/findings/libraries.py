"""Rules on Python packages that look at many files: pkg_resources, entry points, matplotlib's font list, caches."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from fsprobe.analysis.findings.evidence import (
    Evidence,
    Seen,
    n_calls,
    n_pythons,
    on_network,
    plural,
    prefixes,
    python_of,
    quote,
    saving,
    some,
    tells_modules,
    weigh,
)
from fsprobe.analysis.findings.watch import FONT_MANAGER
from fsprobe.model.events import is_under

_METADATA = re.compile(rb"\.(?:dist|egg)-info(?:/|$)")
_INFO = re.compile(rb"/([A-Za-z0-9_.]+)-[^/-]+(?:-[^/]*)?\.(?:dist|egg)-info(?:/|$)")
_FONT_LIST = re.compile(rb"/fontlist-v[^/]*\.json(?:\.matplotlib-lock)?$")
_FONT = re.compile(rb"\.(?:ttf|otf|afm|ttc|pfb|pcf(?:\.gz)?)$", re.IGNORECASE)
_FONT_PLACE = re.compile(rb"(?:/fonts|/\.fonts|/Fonts)(?:/|$)|/X11/(?:fonts|TTF)|/matplotlib/mpl-data/fonts|/texmf")
_CACHES = {
    b"/.triton/": "TRITON_CACHE_DIR",
    b"/.config/matplotlib/": "MPLCONFIGDIR",
    b"/.config/miopen/": "MIOPEN_USER_DB_PATH",
    b"/.cache/miopen/": "MIOPEN_CUSTOM_CACHE_DIR",
    b"/.numba/": "NUMBA_CACHE_DIR",
    b"/.nv/": "CUDA_CACHE_PATH",
    b"/torch_extensions/": "TORCH_EXTENSIONS_DIR",
    b"/.cache/": "XDG_CACHE_HOME",
}
"""Part of a path -> the variable that moves this cache; the first one that fits counts."""
_ANY_CACHE = re.compile(b"|".join(map(re.escape, _CACHES)))
_PYDANTIC = "pydantic.plugin._loader"
"""What pydantic imports right before it looks for its plugins: by the module that makes the first model."""
_SCAN_SWITCHES = {"torch": "TORCH_DEVICE_BACKEND_AUTOLOAD=0"}
"""Module that scans entry points when it is imported -> the variable that stops it (PyTorch 2.5 and later)."""
_NO_CACHES = (b"/.cache/huggingface/",)
"""Downloaded data under ~/.cache: to be kept, not to be made again on each node."""


def package_resources(evidence: Evidence) -> Seen | None:
    """pkg_resources is imported.

    Seen: an import of pkg_resources, and the calls that it took with all it imports.

    Costs: on import it lists every directory of sys.path and reads the metadata of each distribution. setuptools#926: 0.9
    s with 40 entries; gunicorn#2616: from 1 s to 60 ms without it.

    Do: `importlib.resources` and `importlib.metadata` do the same without the scan. Upgrade the package that imports it.

    Saving: the calls of this import with the imports inside it. If another package needs some of those modules too, it
    is less: an upper bound.
    """
    names = [name for name in ("pkg_resources", "setuptools.pkg_resources") if name in evidence.tally.by_module]
    calls = sum(evidence.tally.by_module[name].cumulative.n_metadata for name in names)
    severity = weigh(evidence, "removable_calls", calls)
    if severity is None:
        return None
    parents = sorted(evidence.notes.imports.get(names[0], {"": 0}))
    by = ", ".join(parent or "your program" for parent in parents)
    return Seen(
        severity="info" if severity == "info" else "warn",
        evidence=f"pkg_resources was imported by {by}: {plural(calls, 'call')} with all that it reads and imports.",
        advice="Use importlib.resources and importlib.metadata; upgrade the package that still imports pkg_resources.",
        commands=[
            f"{quote(python_of(evidence))} -m pip install --upgrade {quote(name)}"
            for name in _installed(evidence, parents)
        ],
        saves={"calls": calls},
    )


def _installed(evidence: Evidence, modules: list[str]) -> list[str]:
    """Those of the modules' packages that are installed under their own name: pip would take another one for the rest."""
    infos = {
        match.group(1).decode().lower().replace("_", "-")
        for match in map(_INFO.search, evidence.tally.by_path)
        if match
    }
    packages = dict.fromkeys(module.partition(".")[0] for module in modules if module)
    return [name for name in packages if name.lower().replace("_", "-") in infos]


def entry_points(evidence: Evidence) -> Seen | None:
    """Scans for entry points.

    Seen: many opens of entry_points.txt, METADATA and their like in *.dist-info.

    Costs: a scan opens a file of each installed distribution; it is not cached from one call to the next.
    opentelemetry-python#3054: 5-10 ms a call on a local disk.

    Do: scan once and keep the result, or install fewer distributions. `group=` saves nothing: each file is opened all the
    same. Where a package scans when it is imported and has a switch for it, the finding prints that.

    Saving: where the same files were opened again in one process, all but the first time. Not computed for a single scan.
    """
    table = [(path, c) for path, c in evidence.tally.by_path.items() if _METADATA.search(path) and not c.counts.n_list]
    opened = [(path, counted) for path, counted in table if counted.counts.n_open]
    n_opens = sum(counted.counts.n_open for _, counted in opened)
    severity = weigh(evidence, "entry_point_files", n_opens, [path for path, _ in opened])
    if severity is None:
        return None
    repeated = sum(max(0, counted.counts.n_open - n_pythons(evidence)) for _, counted in opened)
    seen = f"{plural(n_opens, 'open')} of {plural(len(opened), 'metadata file')} of installed distributions"
    n_gone = sum(1 for _, counted in opened if counted.counts.n_not_found >= counted.counts.n_open)
    seen += f", {n_gone:,} of which do not exist" if n_gone else ""
    scanners = _scanners(evidence)
    switches = [f"export {line}" for name, line in _SCAN_SWITCHES.items() if name in scanners]
    if scanners and any(name in scanners for name in evidence.notes.imports.get(_PYDANTIC, {})):
        switches.append("export PYDANTIC_DISABLE_PLUGINS=__all__")
    if repeated:
        seen += f"; {plural(repeated, 'open')} asked again for what the same process had read"
    return Seen(
        severity=severity,
        evidence=seen + "." + _who_scanned(evidence),
        advice=_about_scans(evidence, scanners, len(switches)),
        commands=switches,
        saves={"calls": repeated} if repeated else {},
    )


def _about_scans(evidence: Evidence, scanners: Mapping[str, int], n_switches: int) -> str:
    parts = []
    if n_switches:
        parts.append("Each line switches a search for plugins off, where you need none.")
    if "" in scanners:
        parts.append("Keep the result of a scan that your program makes itself.")
    if evidence.watch is not None and evidence.watch.foreign_scanners:
        parts.append(
            "Start the environment's interpreter itself in jobs, and nothing that looks at the environment first."
        )
    return " ".join([*parts, "Fewer installed distributions are fewer files."])


def _scanners(evidence: Evidence) -> Mapping[str, int]:
    """Who opened entry_points.txt; nobody where estimated imports can't tell the module: the files are those of everybody else."""
    return evidence.watch.scanners if evidence.watch is not None and tells_modules(evidence) else {}


def _who_scanned(evidence: Evidence) -> str:
    """The modules whose import opened most entry_points.txt, or that it was outside any import; "" where none was opened."""
    scanners = _scanners(evidence)
    most = sorted(scanners, key=lambda name: (-scanners[name], name))[:2]
    parts = [
        f"{plural(scanners[name], 'open was', 'opens were')} of entry_points.txt, {f'while {name} was imported' if name else 'outside any import'}"
        for name in most
    ]
    foreign = evidence.watch.foreign_scanners if evidence.watch is not None else {}
    parts += [f"{n:,} by {label}" for label, n in sorted(foreign.items(), key=lambda entry: -entry[1])[:2]]
    if not tells_modules(evidence) and evidence.watch is not None and evidence.watch.scanners:
        parts.append("which import asked for them can't be told from the paths")
    said = "; ".join(parts)
    return f" {said[:1].upper()}{said[1:]}." if parts else ""


def font_list(evidence: Evidence) -> Seen | None:
    """matplotlib built its list of fonts.

    Seen: matplotlib did not find its font list, asked fc-list and opened every font.

    Costs: matplotlib#13071: about 10 s. Where its cache directory can't be written (containers, read-only homes) it
    takes a new one in /tmp, and every process does this again.

    Do: point MPLCONFIGDIR to a directory that persists and import pyplot once, or bring the list in the image.

    Saving: the calls on font files and font directories, those of the fc-list processes with their search of PATH, and
    the writing of the list.
    """
    watch = evidence.watch
    if watch is None:
        return None
    lists = {path: n for path, n in watch.font_paths.items() if _FONT_LIST.search(path)}
    fonts = [path for path in watch.font_paths if _FONT.search(path)]
    built = [path for path in lists if not path.endswith(b"-lock")]
    if not built or not fonts:
        return None
    calls = sum(n for path, n in watch.font_paths.items() if not _needed_anyway(path, built))
    calls += sum(
        process.counts.n_metadata for process in evidence.tally.by_process.values() if process.label == "fc-list"
    )
    calls += sum(
        evidence.tally.by_module[name].own.n_metadata
        for name, parents in evidence.notes.imports.items()
        if name.startswith("encodings.") and set(parents) == {FONT_MANAGER} and name in evidence.tally.by_module
    )
    # the list itself is opened, not found, and then opened to write; where it exists, once
    calls -= sum(1 for path in built)
    severity = weigh(evidence, "removable_calls", calls)
    if severity is None:
        return None
    place = os.path.dirname(built[0])
    temporary = b"/matplotlib-" in place
    return Seen(
        severity="info" if severity == "info" else "warn",
        evidence=f"matplotlib built its font list ({some(built)}): {plural(calls, 'call')}"
        + (", in a temporary directory, so the next process does it again." if temporary else "."),
        advice="Give matplotlib a directory that stays, and fill it once; or bring it in the image.",
        commands=[
            f"export MPLCONFIGDIR={_directory_that_stays(evidence) if temporary else quote(place)}",
            f"{quote(python_of(evidence))} -c 'import matplotlib.pyplot'",
        ],
        saves={"calls": calls},
    )


def _directory_that_stays(evidence: Evidence) -> str:
    """Where matplotlib may keep its list, as a word to type: not the directory that it was refused, nor anything beside that."""
    cwd = os.fsencode(evidence.profile.manifest.cwd)
    refused = evidence.watch.refused if evidence.watch is not None else {}
    mount = evidence.mounts_of(cwd + b"/x") if cwd else None
    is_read_only = mount is not None and "ro" in mount.options.split(",")
    if not cwd or is_read_only or any(is_under(cwd, os.path.dirname(path)) for path in refused):
        return '"/tmp/$USER/matplotlib"'
    return quote(os.path.join(cwd, b".matplotlib"))


def _needed_anyway(path: bytes, built: list[bytes]) -> bool:
    """Whether importing matplotlib.font_manager touches a path with the list in place, too."""
    if _FONT.search(path) or _FONT_PLACE.search(path):
        return False
    return b"/matplotlib/" in path + b"/" or any(is_under(name, path) for name in built if name != path)


def caches_on_network(evidence: Evidence) -> Seen | None:
    """Caches on a network filesystem.

    Seen: calls in cache directories (Triton, Numba, CUDA, matplotlib, ~/.cache) on a network filesystem.

    Costs: such caches are many small files, written and locked by every rank at the same time, in the home directory of
    all nodes.

    Do: point the cache's variable to node-local storage.

    Saving: the metadata requests for these paths. The calls stay: on node-local storage they ask no server. The first run
    on each node has to fill the cache again.
    """
    homes = tuple(prefix + b"/" for prefix in prefixes(evidence))
    rows, variables = [], []
    for path, counted in evidence.tally.by_path.items():
        if not _ANY_CACHE.search(path + b"/"):
            continue  # as most
        variable = next((v for name, v in _CACHES.items() if name in path + b"/"), None)
        # an environment may lie below ~/.cache (poetry): its files are no cache
        if variable is None or path.startswith(homes) or any(name in path + b"/" for name in _NO_CACHES):
            continue
        if on_network(evidence, path):
            rows.append((path, counted))
            variables.append(variable)
    severity = weigh(evidence, "cache_calls", n_calls(rows))
    if severity is None:
        return None
    return Seen(
        severity=severity,
        evidence=f"{plural(n_calls(rows), 'call')} on {plural(len(rows), 'path')} in cache directories on a network "
        f"filesystem ({some([path for path, _ in rows], 2)}).",
        advice="Keep caches on the node (on LUMI /tmp is memory and counts as such), or fill them once and ship them.",
        commands=[
            f'export {name}="/tmp/$USER/{name.lower()}"; mkdir -p "${name}"' for name in dict.fromkeys(variables)
        ],
        saves={name: n for name, n in saving(evidence, 0, rows).items() if name == "requests"},
    )
