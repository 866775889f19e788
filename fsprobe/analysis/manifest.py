"""What is known of a run besides its calls: the recording's manifest, checked, with what its interpreters said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fsprobe import capabilities
from fsprobe.analysis.counting.tally import Tally
from fsprobe.errors import BadInput
from fsprobe.events import marks
from fsprobe.foreign_numbers import count
from fsprobe.model import serial
from fsprobe.model.events import Mount
from fsprobe.model.formats import text
from fsprobe.model.manifest import Manifest, MountFacts, PythonFacts
from fsprobe.model.profile import Profile
from fsprobe.recording import format1
from fsprobe.recording.file import Recording
from fsprobe.recording.shapes import MANIFEST, misfit


def check_manifest(recording: Recording) -> None:
    """Refuse a recording whose manifest the analysis can't use.

    Raises:
        BadInput: it is not as recorders write it.
    """
    if where := misfit(recording.manifest, MANIFEST):
        raise not_as_written(recording, f"manifest: {where}")


def complete_manifest(
    recording: Recording, hooks: marks.HookFiles, mounts: Iterable[Mount], told: Sequence[Mapping[str, Any]]
) -> Manifest:
    """The manifest as a profile shows it: with what the interpreters said, and without what only the recorder needs.

    Args:
        recording: where it stands.
        hooks: what the interpreters said.
        mounts: the mounts that the profile names.
        told: what the paths tell of the interpreters; taken where these said nothing.

    Raises:
        BadInput: it is not as recorders write it.
    """
    try:
        manifest = serial.from_json(Manifest, format1.manifest(recording.manifest))
    except serial.Misfit as error:
        raise not_as_written(recording, f"manifest: {error}") from None
    facts = sorted(hooks.facts.values(), key=lambda fact: int(fact.get("ns") or 0))
    return replace(
        manifest,
        python=python_facts(facts[0]) if facts else python_facts(told[0], from_paths=True) if told else None,
        n_python_processes=len(facts) if facts else None,
        n_python_without_events=sum(not has_audit_events(fact) for fact in facts)
        if manifest.lacks(capabilities.FOREIGN_PROGRAMS)
        else None,
        mounts=mount_facts(mounts),
    )


def python_facts(fact: Mapping[str, Any], *, from_paths: bool = False) -> PythonFacts:
    """What an interpreter said of itself, or what the paths tell of it."""
    return PythonFacts(
        from_paths=from_paths,
        version=fact.get("version"),
        implementation=fact.get("implementation"),
        executable=fact.get("executable"),
        prefix=fact.get("prefix"),
        base_prefix=fact.get("base_prefix"),
        path=tuple(fact.get("path") or ()),
    )


def mount_facts(mounts: Iterable[Mount]) -> tuple[MountFacts, ...]:
    """The mounts that a profile names."""
    return tuple(
        MountFacts(path=text(mount.path), fstype=mount.fstype, fs_class=mount.fs_class)
        for mount in mounts
        if mount.fs_class != "pseudo"
    )


def has_audit_events(fact: Mapping[str, Any]) -> bool:
    """Whether the interpreter has sys.addaudithook (3.8): below it the audit backend hears of wrapped functions alone."""
    words = str(fact.get("version") or "").split(".")
    minor = count(words[1]) if len(words) > 1 else None
    return not (words[0] == "3" and minor is not None and minor < 8)


def is_observed(manifest: Manifest, tally: Tally) -> bool:
    """Whether the zeros of a run count anything: where interpreters tell of themselves and none did, nothing was observed."""
    return manifest.shows(capabilities.FOREIGN_PROGRAMS) or bool(tally.by_process)


def not_as_written(recording: Recording, where: str) -> BadInput:
    """The error of a recording whose JSON is not as the recorder writes it."""
    return BadInput(
        f"{recording.path} holds what fsprobe does not write ({where})",
        "was it edited, or made by another program? Record again",
    )


def with_open_names(profile: Profile, names: Mapping[str, Iterable[str]]) -> Profile:
    """A profile that says which packages are called as they are imported."""
    shown = tuple(sorted({text(name.encode("utf-8", "surrogateescape")) for found in names.values() for name in found}))
    return replace(profile, quality=replace(profile.quality, names_as_imported=shown)) if shown else profile
