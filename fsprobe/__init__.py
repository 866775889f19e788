"""fsprobe: why is my Python job slow to start, is it the filesystem, and what do I do about it?

In a notebook or a script:

    import fsprobe

    profile = fsprobe.run(["python", "train.py"])  # or fsprobe.open("run.fsprobe")
    profile.verdict, profile.modules, profile.findings

`%load_ext fsprobe` adds `%%fsprobe` to IPython. See docs/python.md. What is here is loaded at its first use: `import fsprobe`
alone loads nothing else, since the command and the recorder begin with it too.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from fsprobe.api.comparison import Comparison as Comparison
    from fsprobe.api.comparison import compare as compare
    from fsprobe.api.notebook import load_ipython_extension as load_ipython_extension
    from fsprobe.api.profile import Profile as Profile
    from fsprobe.api.runs import open as open
    from fsprobe.api.runs import run as run

_API = {
    "Comparison": "comparison",
    "Profile": "profile",
    "compare": "comparison",
    "load_ipython_extension": "notebook",
    "open": "runs",
    "run": "runs",
}


__all__ = ["Comparison", "Profile", "compare", "load_ipython_extension", "open", "run"]


def __getattr__(name: "str") -> "object":
    if name in _API:
        from importlib import import_module

        return getattr(import_module("fsprobe.api." + _API[name]), name)
    raise AttributeError(f"module 'fsprobe' has no attribute {name!r}")


def __dir__() -> "list[str]":
    return sorted({*globals(), *_API})
