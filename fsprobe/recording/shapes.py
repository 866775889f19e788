"""The shapes of a recording's JSON: what a damaged or foreign one may not do to the analysis.

A field that has another shape than the recorder writes makes the recording unusable (BadInput); a field that is not there is
"not observed". Fields that are not named here are passed on as they are: later versions may add some.
"""

from __future__ import annotations

import math
from typing import Any

TEXT = (str,)
NUMBER = (int, float)
COUNT = (int,)

# A shape: a tuple of types; [shape] for a list; {"*": shape} for a table; {field: shape} for named fields. None is allowed
# for each named field, and where `type(None)` is among the types.
MAYBE_TEXT = (str, type(None))

LOOKUPS = {
    "distributions": {"*": {"*": TEXT}},
    "undecided": {"*": {"names": [TEXT], "among": [TEXT]}},
    "links": {"*": MAYBE_TEXT},
    "missing": [TEXT],
    "files": [TEXT],
    "programs": {"*": MAYBE_TEXT},
    "sizes": {"*": COUNT},
    "n_calls": COUNT,
    "n_left": COUNT,
}
MANIFEST = {
    "command": [TEXT],
    "label": TEXT,
    "cwd": TEXT,
    "host": TEXT,
    "kernel": TEXT,
    "machine": TEXT,
    "backend": TEXT,
    "backend_version": TEXT,
    "backend_why": TEXT,
    "capabilities": [TEXT],
    "markers": TEXT,
    "cache": TEXT,
    "scratch": TEXT,
    "hook_dir": TEXT,
    "no_hook": TEXT,
    "hook_fstype": TEXT,
    "wall_start_ns": COUNT,
    "max_slots": COUNT,
    "started_s": NUMBER,
    "wall_s": NUMBER,
    "user_s": NUMBER,
    "sys_s": NUMBER,
    "tracer_user_s": NUMBER,
    "tracer_sys_s": NUMBER,
    "majflt": COUNT,
    "read_bytes": COUNT,
    "exit_code": COUNT,
    "signal": COUNT,
    "n_cpus": COUNT,
    "uid": COUNT,
    "job": {"*": TEXT},
    "environment": {"*": TEXT},
    "layout": {"label": TEXT, "kind": TEXT, "where": TEXT, "at": TEXT, "mount_how": TEXT},
    "privileged": [[TEXT]],
    "tracers": [TEXT],
    "attached": {"pid": COUNT, "tids": [COUNT], "program": TEXT, "is_python": (bool,), "for_s": NUMBER},
    "logs": [TEXT],
    "ranks": TEXT,
    "lookups_left": (bool,),
    "fsprobe_version": TEXT,
    "fsprobe_python": TEXT,
    "streamed": (bool,),
    "disclosed": (bool,),
    "flushed": (bool,),
    "log_truncated": TEXT,
    "log_compressed_bytes": COUNT,
    "counters": {"*": {"source": TEXT, "operations": {"*": COUNT}, "before": {"*": COUNT}, "why_not": TEXT}},
    "n_hook_files_unread": COUNT,
    "descendants_left": (bool,),
    "salvaged": (bool,),
}
FACTS = {
    "pid": COUNT,
    "ns": COUNT,
    "version": TEXT,
    "implementation": TEXT,
    "executable": TEXT,
    "prefix": TEXT,
    "base_prefix": TEXT,
    "exec_prefix": TEXT,
    "path": [TEXT],
    "cache_tag": TEXT,
    "dont_write_bytecode": (bool,),
    "pycache_prefix": TEXT,
    "extension_suffixes": [TEXT],
    "user_site": TEXT,
    "enable_user_site": (bool,),
    "environment": {"*": TEXT},
    "mounts": TEXT,
}


def _unwritable(text: str) -> bool:
    # what os.fsdecode makes can be encoded again; a lone surrogate of another kind comes from elsewhere
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return True
    return "\0" in text


def misfit(value: Any, shape: Any, where: str = "") -> str:
    """Say where a value first differs from its shape ("" where it fits)."""
    if isinstance(shape, list):
        if not isinstance(value, list | tuple):
            return where or "it is no list"
        return next((found for i, item in enumerate(value) if (found := misfit(item, shape[0], f"{where}[{i}]"))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            return where or "it is no table"
        if any(_unwritable(key) for key in value):
            return where or "its keys"
        if "*" in shape:
            pairs = [(key, shape["*"]) for key in value]
        else:
            pairs = [(key, shape[key]) for key in value if key in shape and value[key] is not None]
        return next(
            (found for key, inner in pairs if (found := misfit(value[key], inner, f"{where}.{key}" if where else key))),
            "",
        )
    wrong = bool(shape) and not isinstance(value, shape)
    if isinstance(value, bool) and bool not in shape and shape:
        wrong = True
    if isinstance(value, str) and _unwritable(value):
        wrong = True
    if isinstance(value, float) and not math.isfinite(value):
        wrong = True
    if isinstance(value, int) and abs(value) >= 1 << 63:
        wrong = True
    return (where or "it is something else") if wrong else ""
