"""The recording: one file of named sections with checksums.

`Recording`, `write` and `KINDS` can be had from here too, for scripts; they are loaded at their first use.
"""


def __getattr__(name: "str") -> "object":
    if name in ("KINDS", "Recording", "write"):
        from fsprobe.recording import file

        return getattr(file, name)
    raise AttributeError("module 'fsprobe.recording' has no attribute %r" % name)
