"""Rules on where an environment lies and what of it is searched: network filesystems, PYTHONPATH, user site, .pth, conda."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from fsprobe.analysis.counting.tally import PathTally
from fsprobe.analysis.findings.evidence import (
    Evidence,
    Seen,
    assignment,
    directories,
    environment,
    is_file,
    is_in_archive,
    is_missing,
    n_calls,
    n_requests_below,
    on_network,
    plural,
    prefixes,
    python_of,
    quote,
    real_place,
    saving,
    some,
    under,
    weigh,
)
from fsprobe.analysis.findings.images import (
    choose_a_line,
    image_commands,
    line_of_its_python,
    lines_to_rebuild,
)
from fsprobe.model.events import is_under
from fsprobe.model.formats import text
from fsprobe.model.rows import Counts

_CONDA = re.compile(rb"/(?:mini|ana|mamba)(?:conda|forge)\d*(?:/|$)|/(?:micromamba|conda|mamba)/envs/|/\.conda/envs/")
_CODE = re.compile(rb"\.(?:py|pyc|pyd|so(?:\.[0-9.]+)?|pth|egg-link|zip|egg|whl)$|\.(?:dist|egg)-info/|/pyvenv\.cfg$")
_EDITABLE_NAME = re.compile(rb"/(?:__editable__\.)?([^/]+?)(?:-[0-9][^/-]*)?\.(?:pth|egg-link)$")
_EDITABLE = re.compile(rb"/(?:__editable__[^/]*|[^/]*\.egg-link|easy-install\.pth)$")


@dataclass(slots=True)
class Root:
    """A directory tree that the run's modules come from."""

    path: bytes
    rows: list[tuple[bytes, PathTally]] = field(default_factory=list)
    n_files: int = 0
    fstype: str = ""


def network_roots(evidence: Evidence) -> list[Root]:
    """The trees on network filesystems that modules were read from, the one with the most files first.

    A tree is the prefix of an interpreter, its base prefix, or a sys.path entry outside both. Of such an entry only code
    counts: a script's own directory is one, and the data beside the script is no environment.
    """
    found: list[Root] | None = evidence.worked_out.get("network_roots")
    if found is None:
        found = evidence.worked_out["network_roots"] = _network_roots(evidence)
    return found


def _network_roots(evidence: Evidence) -> list[Root]:
    places: list[bytes] = [*prefixes(evidence)]
    places += [os.fsencode(str(fact["base_prefix"])) for fact in evidence.facts if fact.get("base_prefix")]
    for fact in evidence.facts:
        for entry in fact.get("path") or ():
            place = os.fsencode(str(entry))
            if place.startswith(b"/") and not any(is_under(place, other) for other in places):
                places.append(place)
    # a tree in a tree (a venv in the directory of a PYTHONPATH entry) counts for itself: the longest match owns a path
    table = {place: Root(place) for place in dict.fromkeys(places) if place not in (b"/", b"/usr", b"/usr/local")}
    ordered = sorted(table, key=len, reverse=True)
    whole = {*prefixes(evidence), *(os.fsencode(str(fact.get("base_prefix") or "")) for fact in evidence.facts)}
    owners: dict[bytes, bytes | None] = {}
    for path, counted in evidence.tally.by_path.items():
        directory = path.rpartition(b"/")[0]
        if directory not in owners:
            owners[directory] = next((place for place in ordered if is_under(directory + b"/", place)), None)
        owner = path if path in table else owners[directory]
        if owner is None or (owner not in whole and is_file(counted) and not _CODE.search(path)):
            continue
        mount = evidence.mounts_of(path)
        if mount is None or mount.fs_class != "network":
            continue
        root = table[owner]
        root.rows.append((path, counted))
        root.n_files += is_file(counted)
        root.fstype = mount.fstype
    return sorted((root for root in table.values() if root.rows), key=lambda root: (-root.n_files, root.path))


def is_conda(evidence: Evidence, root: bytes) -> bool:
    """Whether a tree is a conda environment, by its path or the recorded variables."""
    prefix = environment(evidence).get("CONDA_PREFIX")
    return bool(_CONDA.search(root + b"/")) or bool(prefix and os.fsencode(prefix) == root)


def _image_saving(evidence: Evidence, root: Root) -> dict[str, int]:
    requests = n_requests_below(evidence, root.path)
    # what remains is the image's own LOOKUP and OPEN
    return {} if requests is None or requests <= 2 else {"requests": requests - 2}


def environment_on_network(evidence: Evidence) -> Seen | None:
    """An environment of many small files on a network filesystem.

    Seen: files that the run opened in a venv, or another tree on sys.path, on a network filesystem.

    Costs: each file is looked up, opened and read at the metadata server, by each node again. EESSI measured `import
    tensorflow` (4,190 opens): RAM disk 2.0 s, Lustre cold 75 s, hot 2.8 s.

    Do: pack the tree into a SquashFS image and mount that at the same path, so that scripts and activation still work;
    or install the packages into the container.

    Saving: the metadata requests below the tree, less the two (LOOKUP and OPEN) for the image file. The system calls stay:
    the kernel answers them from the image.
    """
    roots = [root for root in network_roots(evidence) if not is_conda(evidence, root.path)]
    if not roots:
        return None
    root = roots[0]
    severity = weigh(evidence, "environment_files", root.n_files)
    if severity is None:
        return None
    return Seen(
        severity=severity,
        evidence=f"The run opened {plural(root.n_files, 'file')} of {text(root.path)} ({root.fstype}): "
        f"{plural(n_calls(root.rows), 'metadata call')} there, {sum(c.counts.n_not_found for _, c in root.rows):,} of them failed (not found).",
        advice="Pack it into one SquashFS image and mount that at the same path (build the venv at its final path), or "
        "install the packages into the container. Compile bytecode before packing (`fsprobe pack --compile` does both); an image is read-only."
        + choose_a_line(evidence),
        commands=image_commands(evidence, root.path),
        saves=_image_saving(evidence, root),
    )


def conda_on_network(evidence: Evidence) -> Seen | None:
    """A conda environment on a network filesystem.

    Seen: files that the run opened in a conda environment on a network filesystem.

    Costs: as for a venv, but such an environment has tens to hundreds of thousands of files, which also count against
    the quota (LUMI: 100,000 files in a project's directory; raises for conda are refused).

    Do: pack it into an image that is mounted at the same path, so that nothing in it has to be rewritten; or let the
    LUMI container wrapper or Tykky build it anew inside a container.

    Saving: the metadata requests below the environment, less the two for the image file.
    """
    roots = [root for root in network_roots(evidence) if is_conda(evidence, root.path)]
    if not roots:
        return None
    root = roots[0]
    severity = weigh(evidence, "environment_files", root.n_files)
    if severity is None:
        return None
    return Seen(
        severity=severity,
        evidence=f"The run opened {plural(root.n_files, 'file')} of the conda environment {text(root.path)} ({root.fstype}): "
        f"{plural(n_calls(root.rows), 'metadata call')} there.",
        advice="Pack it into one image, mounted at the same path; or build it anew in a container, "
        "with the container wrapper of LUMI or Tykky where the site has it." + choose_a_line(evidence),
        commands=image_commands(evidence, root.path),
        saves=_image_saving(evidence, root),
    )


def unused_python_path(evidence: Evidence) -> Seen | None:
    """PYTHONPATH entries that exist and gave nothing.

    Seen: directories of PYTHONPATH that were searched and from which the run took no module.

    Costs: they stand before site-packages, so each import asks them first (one stat, a listing at the first time), of
    every interpreter that inherits the variable. And they can shadow installed packages.

    Do: take them out; unset PYTHONPATH in jobs that bring their own environment (CSCS advises it), or use `python -I`.

    Saving: all calls on and below these directories.
    """
    entries = directories(environment(evidence).get("PYTHONPATH", ""))
    unused, rows = [], []
    for entry in entries:
        asked = evidence.tally.by_path.get(entry)
        if asked is None or asked.counts.n_metadata == asked.counts.n_not_found:
            continue
        below = list(under(evidence, [entry]))
        is_used = any(c.counts.n_metadata > c.counts.n_not_found for path, c in below if path != entry)
        if is_used or is_in_archive(evidence, entry):  # what a zip gave is not seen
            continue
        unused.append(entry)
        rows += below
    calls = n_calls(dict(rows).items())
    severity = weigh(evidence, "removable_calls", calls, unused)
    if not unused or severity is None:
        return None
    rest = [entry for entry in entries if entry not in unused and not is_missing(evidence, entry)]
    return Seen(
        severity=severity,
        evidence=f"{plural(len(unused), 'directory', 'directories')} of PYTHONPATH ({some(unused)}) gave no module and cost "
        f"{plural(calls, 'call')}.",
        advice="Take them out of PYTHONPATH for this program.",
        commands=[assignment("PYTHONPATH", rest)],
        saves=saving(evidence, calls, rows),
    )


def user_site(evidence: Evidence) -> Seen | None:
    """The user's own site-packages (~/.local) are searched.

    Seen: calls in the user site directory; and whether files were opened there.

    Costs: correctness first: packages in ~/.local come before those of the container or base installation, so a `pip
    install` for one container changes all others. And each import asks the directory, which usually lies on the
    home filesystem.

    Do: `PYTHONNOUSERSITE=1` (or `python -s`). Install into a venv instead.

    Saving: all calls on and below the directory, and those of the search for `usercustomize` that only a user site
    brings. Not computed where modules came from there: then the same modules must come from elsewhere.
    """
    places = {
        os.fsencode(str(fact["user_site"]))
        for fact in evidence.facts
        if fact.get("enable_user_site") is True and fact.get("user_site")
    }
    rows = list(under(evidence, places))
    exists = any(c.counts.n_metadata > c.counts.n_not_found for _, c in rows)
    if not rows or not exists:
        return None
    files = [path for path, counted in rows if is_file(counted) and not path.endswith(b".pth")]
    customize = evidence.tally.by_module.get("usercustomize")
    n_tries = evidence.notes.n_imports.get("usercustomize", 0)
    n_customize = (customize.cumulative if customize else Counts()).n_metadata
    # each try asks the user site itself once: that lookup is among the rows already
    calls = n_calls(rows) + max(0, n_customize - n_tries)
    severity = weigh(evidence, "removable_calls", calls, places)
    if files:
        severity = "warn"
    if severity is None:
        return None
    seen = f"{plural(calls, 'call')} in {some(sorted(places))}"
    if files:
        seen += f", and {plural(len(files), 'file')} came from there ({some(files, 2)}): they hide what the environment brings"
    return Seen(
        severity=severity,
        evidence=seen + ".",
        advice="Leave the user site out of jobs and containers; install into a venv or image.",
        commands=["export PYTHONNOUSERSITE=1", *_in_container(evidence)],
        saves={} if files else saving(evidence, calls, rows),
    )


def _in_container(evidence: Evidence) -> list[str]:
    """The same for the container that the run was in, set outside of it; nothing where there was none."""
    names = environment(evidence)
    if any(name.startswith("APPTAINER") for name in names):
        return ["export APPTAINERENV_PYTHONNOUSERSITE=1"]
    is_inside = any(name.startswith("SINGULARITY") for name in names)
    return ["export SINGULARITYENV_PYTHONNOUSERSITE=1"] if is_inside else []


def path_files(evidence: Evidence) -> Seen | None:
    """Many .pth files, or editable installs.

    Seen: .pth files read from site directories, and editable installs among them.

    Costs: every interpreter reads all of them at each start, before your first line; a `.pth` of an editable install
    runs code and adds a finder that is asked for every import, or an entry to sys.path.

    Do: install for production without `-e`; uninstall what is not needed.

    Saving: not computed: a normal install replaces the lookups by others, and what a .pth file runs is not known from here.
    """
    files = _path_files_of_one(evidence)
    editable = [path for path in files if _EDITABLE.search(path)]
    severity = weigh(evidence, "path_files", len(files), files)
    on_server = [path for path in editable if on_network(evidence, path)]
    if severity is None and on_server:
        severity = "info"
    if severity is None:
        return None
    names = some(editable or files)
    return Seen(
        severity=severity,
        evidence=f"{plural(len(files), '.pth file')} read at each start of Python, {len(editable)} of editable installs ({names}).",
        advice="Install without -e for production (the line asks pip for the source and installs that), and uninstall what is "
        "not needed."
        if editable
        else "Look at what they do, and uninstall the packages that you do not need.",
        commands=_install_commands(evidence, editable) or [f"grep -H . {' '.join(quote(path) for path in files)}"],
    )


def _path_files_of_one(evidence: Evidence) -> list[bytes]:
    """The .pth files that one interpreter read: of the one with the most, where there were several environments."""
    files = sorted(
        path for path, counted in evidence.tally.by_path.items() if path.endswith(b".pth") and is_file(counted)
    )
    of_each = [
        [path for path in files if os.fsdecode(os.path.dirname(path)) in entries]
        for entries in ({str(entry) for entry in fact.get("path") or ()} for fact in evidence.facts)
    ]
    return max(of_each, key=len, default=[]) or files


def _install_commands(evidence: Evidence, editable: list[bytes]) -> list[str]:
    """For each editable install: ask pip where its source is, and install from there for good."""
    python = quote(python_of(evidence))
    lines = []
    for path in editable:
        name = _EDITABLE_NAME.search(path)
        if path.endswith(b"/easy-install.pth"):
            lines.append(f"{python} -m pip list --editable")
        elif name:
            show = f"{python} -m pip show {quote(name.group(1))} | sed -n 's/^Editable project location: //p'"
            lines.append(f'{python} -m pip install --force-reinstall --no-deps "$({show})"')
    return lines


def flash_only(evidence: Evidence) -> Seen | None:
    """The environment lies on the flash filesystem.

    Seen: an environment under /flash on a network filesystem.

    Costs: metadata on flash storage costs "not always that much lower" than on disk (LUMI course, lesson on Lustre
    access), and the space is billed higher.

    Do: keep it there for tests only; pack it into an image for jobs.

    Saving: as for an environment on a network filesystem.
    """
    roots = [root for root in network_roots(evidence) if b"/flash/" in root.path + b"/"]
    if not roots or weigh(evidence, "environment_files", roots[0].n_files) is None:
        return None
    root = roots[0]
    return Seen(
        severity="info",
        evidence=f"{text(root.path)} lies on flash storage ({root.fstype}); the run opened {plural(root.n_files, 'file')} of it.",
        advice="Flash storage is for tests, not the cure: the number of metadata requests stays. Pack the environment."
        + choose_a_line(evidence),
        commands=image_commands(evidence, root.path),
        saves=_image_saving(evidence, root),
    )


def wrong_venv(evidence: Evidence) -> Seen | None:
    """A venv that belongs to another Python.

    Seen: an interpreter whose prefix is a venv without a site-packages directory for its version; or VIRTUAL_ENV naming a
    venv that no interpreter of the run used.

    Costs: correctness: the venv's packages are not found, or others are used in their place. A venv belongs to the
    container and the Python that made it.

    Do: build it again with the interpreter (in the container) that will use it.

    Saving: none; it is about running the right code.
    """
    for fact in evidence.facts:
        prefix, version = str(fact.get("prefix") or ""), str(fact.get("version") or "")
        if not prefix or prefix == fact.get("base_prefix"):
            continue
        site = os.fsencode(f"{prefix}/lib/python{'.'.join(version.split('.')[:2])}/site-packages")
        asked = evidence.tally.by_path.get(site)
        if asked is not None and asked.counts.n_not_found == asked.counts.n_metadata:
            return Seen(
                severity="critical",
                evidence=f"Python {version} ran in the venv {text(os.fsencode(prefix))}, but {text(site)} does not exist: "
                "the venv was made by another Python, and none of its packages was found.",
                advice="Build the venv again with this interpreter, in the container that will use it. The first line keeps "
                "the list of its packages, the second one empties it.",
                commands=lines_to_rebuild(evidence, os.fsencode(prefix), str(fact.get("base_prefix") or ""), version),
            )
    claimed = environment(evidence).get("VIRTUAL_ENV")
    if not claimed or not evidence.facts:
        return None
    places = {os.fsencode(claimed).rstrip(b"/"), real_place(evidence, os.fsencode(claimed).rstrip(b"/"))}
    if places & {place for prefix in prefixes(evidence) for place in (prefix, real_place(evidence, prefix))}:
        return None
    used = prefixes(evidence)[0] if prefixes(evidence) else b"another"
    return Seen(
        severity="warn",
        evidence=f"VIRTUAL_ENV is {text(os.fsencode(claimed))}, but the interpreter that ran has the prefix {text(used)}: "
        "the packages of the venv were not used.",
        advice="Start the venv's own interpreter. If that does not run here, the venv belongs to another container: build it again.",
        commands=line_of_its_python(evidence, claimed),
    )
