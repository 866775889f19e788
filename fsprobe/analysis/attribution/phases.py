"""The phase that an interpreter's start has reached: told from the paths that it looks at."""

from __future__ import annotations

import re

from fsprobe.analysis.attribution.module_names import is_same_directory
from fsprobe.analysis.attribution.program_images import Frame, Image
from fsprobe.model.events import Call, Op

INTERPRETER_SIGN = re.compile(rb"/(?:encodings(?:/.*)?|python3\d*t?\.zip|lib-dynload)$")
"""What only an interpreter looks at when it starts. Not pyvenv.cfg: tools such as uv search for environments by it."""
_LOADER = re.compile(rb"^/etc/ld[.-]|/glibc-hwcaps/|/ld-linux|\.so(?:\.[0-9.]+)?$|/(?:tls|haswell|x86_64)(?:/|$)")
_SITE = re.compile(
    rb"/(?:site|dist)-packages(?:/|$)|/site\.(?:py|cpython.*)$|/pyvenv\.cfg$|\.pth$|/(?:site|user)customize"
)
_STDLIB = re.compile(rb"/lib(?:64)?/python3(?:\.\d+)?t?(?:/lib-dynload)?$|/python3\d+t?\.zip$")
_SITE_MODULES = re.compile(
    rb"/encodings/|/(?:__pycache__/)?(?:site|sitecustomize|usercustomize|os|stat|posixpath|genericpath|_collections_abc|abc|"
    rb"codecs|io|_sitebuiltins|_bootlocale|_weakrefset)\.[^/]*$"
)


def phase_of(call: Call, image: Image, stack: tuple[Frame, ...], hook_prefixes: tuple[bytes, ...]) -> str:
    """The phase of a call; moves its image on to the phase that the call begins.

    Args:
        call: the next call of the image.
        image: where it runs; not `unknown` any more.
        stack: the imports under way in its thread.
        hook_prefixes: how paths in the hook's directory begin; empty where there is none.
    """
    state = image.state
    if state == "main":
        return "import" if stack else "run"
    if state == "foreign":
        return "run" if image.under_python else "launch"
    if state == "loader":
        if _LOADER.search(call.path):
            return "loader"
        if call.op is Op.EXEC:
            return "launch"
        if call.op is Op.STAT and b"S_IFDIR" in call.args and not INTERPRETER_SIGN.search(call.path):
            return "loader"  # ld.so looks whether a search directory exists
        image.state = state = "init"
    if state == "init":
        if b"/encodings" in call.path:
            if not image.seen_encodings and image.expects_hook and not image.found_hook:
                # the first import searches sys.path from its begin, where the hook's directory would be
                image.expects_hook = False
                image.why_unmarked = "hidden" if image.asked_for_hook else "environment"
            image.seen_encodings = True
        elif image.seen_encodings and _SITE.search(call.path):
            image.state = "site"
            return "site"
        elif (image.is_silent or (image.seen_encodings and not image.expects_hook)) and _leaves_site(
            call, hook_prefixes
        ):
            image.state = "main"  # -S: there is no site; Python 2: encodings come after it
            return "import" if stack else "run"
        return "init"
    if (image.is_silent or not (image.hooked or image.expects_hook)) and _leaves_site(call, hook_prefixes):
        image.state = "main"
        return "import" if stack else "run"
    return "site"


def _leaves_site(call: Call, hook_prefixes: tuple[bytes, ...]) -> bool:
    # only where no hook tells: the first file that is opened for anything but site's own business
    return (
        call.op is Op.OPEN
        and not call.error
        and b"O_DIRECTORY" not in call.args
        and not _SITE.search(call.path)
        and not _SITE_MODULES.search(call.path)
        and not call.path.startswith(hook_prefixes)
    )


def may_begin_program(call: Call, before: Call | None, hook_prefixes: tuple[bytes, ...]) -> bool:
    """Whether a call may belong to the first visit of the directory that stands first on the program's search path.

    The import system looks at it several times, lists it, and goes on with the rest of the search path.

    Args:
        call: the next call, while site runs.
        before: the one before, if that was such a call.
        hook_prefixes: how paths in the hook's directory begin.
    """
    path = call.path
    if before is not None and is_same_directory(before, call):
        return call.op in (Op.STAT, Op.LIST) or (call.op is Op.OPEN and not call.error and b"O_DIRECTORY" in call.args)
    return (
        before is None
        and call.op is Op.STAT
        and b"S_IFDIR" in call.args
        and b"AT_SYMLINK_NOFOLLOW" not in call.args
        and not _SITE.search(path)
        and not _STDLIB.search(path)
        and not path.startswith(hook_prefixes)
    )
