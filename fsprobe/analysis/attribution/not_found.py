"""Why a lookup failed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fsprobe.analysis.attribution.attribute import Attributed
from fsprobe.model.events import Op

SUFFIX = "extension suffixes"
SYS_PATH = "sys.path entries"
LIBRARY = "library search (LD_LIBRARY_PATH, RPATH)"
PROGRAM = "PATH search"
BYTECODE = "missing bytecode"
CONFIGURATION = "configuration"
OTHER = "other"
REASONS = (SUFFIX, SYS_PATH, LIBRARY, PROGRAM, BYTECODE, CONFIGURATION, OTHER)

_LIBRARY_NAME = re.compile(rb"(?:^lib[^/]*\.so(?:\.[0-9.]+)?$|\.so\.[0-9.]+$)")
_MODULE_FILE = re.compile(rb"\.(?:py|pyc|pyi|so|pth|egg-link|zip)$|^__init__$|^py\.typed$")
_CONFIGURATION_NAME = re.compile(
    rb"\.(?:cfg|conf|ini|toml|ya?ml|json|rc|cnf|config|properties|desktop|cache|preload)$|^\.[^/]+|rc$|^ld\.so\.preload$"
)


class WhyNotFound:
    """Explains failed lookups with what the target's interpreters said of themselves (sys.path, suffixes)."""

    def __init__(self, facts: Iterable[Mapping[str, Any]]) -> None:
        suffixes = {".so", ".abi3.so"}
        entries: set[str] = set()
        for fact in facts:
            suffixes.update(str(suffix) for suffix in fact.get("extension_suffixes") or ())
            entries.update(str(entry) for entry in fact.get("path") or ())
        self.suffixes = tuple(os.fsencode(suffix) for suffix in sorted(suffixes, key=len, reverse=True))
        self.entries = tuple(os.fsencode(entry) for entry in entries if entry.startswith("/"))
        self.entry_set = frozenset(self.entries)

    def __call__(self, row: Attributed) -> str:
        """The reason of one failed lookup, one of `REASONS`."""
        call = row.call
        path = call.path
        if call.op is Op.EXEC:
            return PROGRAM
        base = path.rpartition(b"/")[2]
        in_python = row.phase in ("site", "import", "run")
        if row.phase == "loader" or b"/glibc-hwcaps/" in path:
            return CONFIGURATION if path.startswith(b"/etc/") else LIBRARY
        if call.op is Op.OPEN and _LIBRARY_NAME.search(base):
            return LIBRARY
        if in_python and base.endswith(self.suffixes):
            return SUFFIX if call.op is Op.STAT else LIBRARY
        if base.endswith(b".pyc"):
            return BYTECODE
        if path in self.entry_set or (path.startswith(self.entries) and _MODULE_FILE.search(base)):
            return SYS_PATH
        if path.startswith(b"/etc/") or _CONFIGURATION_NAME.search(base):
            return CONFIGURATION
        if row.phase in ("launch",) and call.op is Op.STAT and b"/bin/" in path:
            return PROGRAM
        return OTHER
