"""The JSON of recordings, field by field: what is structure, a name as a whole, a command line, or free text."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.identities import SCHEDULER
from fsprobe.recording.shapes import MANIFEST

_HOST_KEYS = frozenset({"host", "node", "nodename", "SLURMD_NODENAME", "SLURM_CLUSTER_NAME"})
_JOB_KEYS = frozenset({"job_name", "SLURM_JOB_NAME"})
_STRUCTURE_KEYS = frozenset(
    "kind backend backend_version markers fstype fs_class cache op phase severity level code machine version "
    "implementation cache_tag fsprobe_version fsprobe_python capabilities protocol".split()
)
"""Fields whose text is from a list of this program's, or of the system's."""
_LABEL_KEYS = frozenset({"label", "layout", "baseline"})
_LAYOUTS = frozenset("plain venv copy flash squashfs overlay none".split())
"""Labels that are fsprobe's own."""
_FREE_KEYS = frozenset({"backend_why", "no_hook", "log_truncated", "ranks"})
"""Sentences of fsprobe's own, in which a name may stand all the same."""
KNOWN_KEYS = frozenset(MANIFEST) | frozenset(
    "ranks lookups_left flushed streamed attached logs observes capabilities fsprobe_pid shield hook_fstype fsprobe_version "
    "fsprobe_python counters n_lines fs_counters watch truncated".split()
)
_UNSURE = re.compile(r"(?=[^ ]*[A-Za-z])(?=[^ ]*\d)[A-Za-z][A-Za-z0-9_.-]{4,}|[^ ]*[^\x00-\x7f][^ ]*")
_KERNEL_WORD = re.compile(
    r"(?i)\d+|v\d+|rc\d+|(?:el|fc|amzn|ubuntu|deb|bpo|suse)\d*(?:_\d+)?|x86_64|aarch64|arm64|amd64|ppc64le|i686|generic|default|rt|smp|"
    r"preempt|cloud|aws|azure|gcp|kvm|oracle|lowlatency|lustre|cray|shasta|c|n|microsoft|standard|wsl2|64k|pve|lts|arch|nixos"
)
_TABLES = frozenset({"by_mount", "by_package", "by_module", "differences"})
"""Objects whose keys are names of things."""
_ID_KEYS = frozenset({"uid", "gid", "euid"})
_NUMBERS = re.compile(r"[\d,x()\[\]*-]*")


def only_listed(value: Any, variables: Collection[str]) -> Any:
    """A manifest without variables (`environment`, `job`) that are not on the list."""
    if isinstance(value, list):
        return [only_listed(inner, variables) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: inner[name] for name in inner if name in variables}
        if key in ("environment", "job") and isinstance(inner, dict) and all(isinstance(v, str) for v in inner.values())
        else only_listed(inner, variables)
        for key, inner in value.items()
    }


def json_value(value: Any, hide: Unchanged, key: str = "") -> Any:
    """A JSON value with the names in it replaced: in texts, in keys, and in fields that are a name as a whole."""
    if isinstance(value, str):
        if key in _STRUCTURE_KEYS:
            return value
        if key == "kernel":
            return _kernel(value) if hide.is_redacting else value
        if key in _LABEL_KEYS and hide.sees_names:
            return value if value in _LAYOUTS else as_str(hide.named("label", as_bytes(value)))
        if key in _FREE_KEYS:
            return _free_text(key, as_str(hide.text(as_bytes(value))), hide)
        if key in _HOST_KEYS or key in _JOB_KEYS:
            return as_str(hide.named("host" if key in _HOST_KEYS else "job", as_bytes(value)))
        if key == "user_site":
            hide.home(as_bytes(value).partition(b"/.local/")[0] if "/.local/" in value else b"")
        return as_str(hide.text(as_bytes(value)))
    if isinstance(value, dict):
        if key == "environment" and all(isinstance(inner, str) for inner in value.values()):
            return {name: as_str(hide.assigned(as_bytes(name), as_bytes(inner))) for name, inner in value.items()}
        if key == "job" and all(isinstance(inner, str) for inner in value.values()):
            return {name: _of_job(name, inner, hide) for name, inner in value.items()}
        if key == "counters":  # by mount
            return {as_str(hide.text(as_bytes(name))): json_value(inner, hide) for name, inner in value.items()}
        if key == "differences" and hide.sees_names:  # by layout
            return {json_value(name, hide, "layout"): json_value(inner, hide) for name, inner in value.items()}
        is_table = key in _TABLES or key.startswith("/")
        return {
            as_str(hide.text(as_bytes(name))) if is_table or name.startswith("/") else name: json_value(
                inner, hide, name
            )
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        if key in _LABEL_KEYS or key in _STRUCTURE_KEYS:
            return [json_value(inner, hide, key) for inner in value]
        if all(isinstance(inner, str) for inner in value):
            return [as_str(word) for word in hide.argv([as_bytes(inner) for inner in value])]
        if key == "nodes":
            return [
                {**json_value(inner, hide), "key": json_value(inner.get("key"), hide, "host")}
                if isinstance(inner, dict)
                else json_value(inner, hide)
                for inner in value
            ]
        return [json_value(inner, hide) for inner in value]
    if key in _ID_KEYS and hide.is_redacting:
        return None
    return value


def _of_job(name: str, value: str, hide: Unchanged) -> str:
    """A batch system's variable: its numbers stay, what is named is replaced."""
    if name in _HOST_KEYS or name in _JOB_KEYS:
        return str(json_value(value, hide, name))
    if not hide.sees_names:
        return as_str(hide.assigned(as_bytes(name), as_bytes(value)))
    if name in SCHEDULER:
        return as_str(hide.named(SCHEDULER[name], as_bytes(value)))
    number = _NUMBERS.match(value)
    assert number is not None  # it may be empty
    rest = value[number.end() :]
    if not rest:
        return value
    server = rest.lstrip(".@")
    return number.group() + rest[: len(rest) - len(server)] + as_str(hide.named("server", as_bytes(server)))


def _kernel(release: str) -> str:
    """A kernel's release without what a site calls its own."""
    return "".join(
        piece if at % 2 or not piece or _KERNEL_WORD.fullmatch(piece) else "local"
        for at, piece in enumerate(re.split(r"([-._+~]+)", release))
    )


def name_texts(place: str, value: Any, hide: Unchanged) -> None:
    """Remember each text of a field that this version does not know."""
    if isinstance(value, str) and re.search(r"[^\W\d_]{3}", value):
        hide.keep(place, as_bytes(value))
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            name_texts(place, inner, hide)


def _free_text(key: str, value: str, hide: Unchanged) -> str:
    for word in _UNSURE.findall(value):
        hide.keep(key, as_bytes(word))
    return value


def as_bytes(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def as_str(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
