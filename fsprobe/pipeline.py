"""The whole flow on one screen: a recording goes in, a profile comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsprobe.analysis.attribute import Notes, attribute
from fsprobe.analysis.missing import WhyMissing
from fsprobe.analysis.profile import make_profile
from fsprobe.analysis.tally import Tally, fold
from fsprobe.capture import mounts as mount_table
from fsprobe.capture import scratch
from fsprobe.errors import BadInput
from fsprobe.model import Event, JsonObject, Mount, ParseQuality
from fsprobe.parse import marks, strace
from fsprobe.recording import Recording

OBSERVES = {
    "strace": ("loader", "results", "durations", "children"),
    "ptrace": ("loader", "results", "durations", "children"),
    "audit": ("results",),
}


def analyse(path: str | Path) -> JsonObject:
    """Read a recording and say what it means.

    Raises:
        BadInput: not a recording, or a damaged one.
    """
    recording = Recording(str(path))
    if recording.kind != "recording":
        raise BadInput(f"{path} is a {recording.kind}, not a recording", "see `fsprobe report --help`")
    tally, notes, quality, hooks = tally_recording(recording)
    facts = list(hooks.facts.values())
    lookups = read_json(recording, "lookups")
    return make_profile(
        kind=recording.kind,
        manifest=complete_manifest(recording, hooks),
        tally=tally,
        notes=notes,
        quality=quality,
        facts=facts,
        mounts=read_mounts(recording, hooks),
        distributions=lookups.get("distributions", {}),
        n_marks_unread=hooks.n_unread,
    )


def tally_recording(recording: Recording) -> tuple[Tally, Notes, ParseQuality, marks.HookFiles]:
    """Parse, attribute and fold one recording."""
    quality, notes = ParseQuality(), Notes()
    hooks = marks.read_hook_files(recording.section("marks"))
    place = str(recording.manifest.get("scratch") or "")
    hook_dir = f"{place}/{scratch.HOOK}" if place else ""
    for fact in hooks.facts.values():
        fact["path"] = [entry for entry in fact.get("path") or () if entry != hook_dir]
    rows = attribute(
        read_events(recording, quality, hooks),
        notes,
        hook_dir=hook_dir.encode("utf-8", "surrogateescape"),
        marks_dir=f"{place}/{scratch.MARKS}".encode("utf-8", "surrogateescape") if place else b"",
    )
    return fold(rows, WhyMissing(hooks.facts.values())), notes, quality, hooks


def read_events(recording: Recording, quality: ParseQuality, hooks: marks.HookFiles) -> Iterator[Event]:
    """The events of a recording, with the marks of its hooks merged in."""
    cwd = recording.manifest.get("cwd")
    events = strace.parse(
        recording.lines("log"),
        quality,
        cwd=cwd.encode("utf-8", "surrogateescape") if isinstance(cwd, str) and cwd else None,
    )
    if not hooks.marks:
        return events
    return marks.merge(events, hooks, marks.find_anchors(recording.lines("log")))


def read_mounts(recording: Recording, hooks: marks.HookFiles) -> list[Mount]:
    """The target's own mounts as its hook read them, else those of the recorder."""
    tables = [fact.get("mounts") for fact in hooks.facts.values()]
    data = next((hooks.mounts[name] for name in tables if isinstance(name, str) and hooks.mounts.get(name)), None)
    rows = mount_table.parse_mountinfo(data if data is not None else b"".join(recording.section("mounts")))
    return [
        Mount(path=path, fstype=fstype, fs_class=mount_table.classify(fstype), source=source, options=options)
        for path, fstype, source, options in rows
    ]


def read_json(recording: Recording, section: str) -> dict[str, Any]:
    """A JSON section; empty where there is none.

    Raises:
        BadInput: the section is damaged.
    """
    data = b"".join(recording.section(section))
    if not data:
        return {}
    try:
        value = json.loads(data.decode("utf-8", "surrogateescape"))
    except ValueError:
        raise BadInput(f"{recording.path} is damaged: its section {section} is not JSON") from None
    return value if isinstance(value, dict) else {}


def complete_manifest(recording: Recording, hooks: marks.HookFiles) -> JsonObject:
    """The manifest as a profile shows it: with what the interpreters said, and without what only the recorder needs."""
    manifest = dict(recording.manifest)
    for name in ("scratch", "fsprobe_pid"):
        manifest.pop(name, None)
    facts = sorted(hooks.facts.values(), key=lambda fact: int(fact.get("ns") or 0))
    first = facts[0] if facts else None
    manifest["python"] = (
        {name: first.get(name) for name in ("version", "implementation", "executable", "prefix", "base_prefix", "path")}
        if first is not None
        else None
    )
    manifest["n_python_processes"] = len(facts) if facts else None
    manifest["mounts"] = [
        {"path": mount.path.decode("utf-8", "backslashreplace"), "fstype": mount.fstype, "fs_class": mount.fs_class}
        for mount in read_mounts(recording, hooks)
        if mount.fs_class != "pseudo"
    ]
    manifest["observes"] = list(OBSERVES.get(str(manifest.get("backend")), ()))
    return manifest
