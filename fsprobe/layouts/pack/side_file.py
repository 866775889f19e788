"""IMG.json, the file beside an image: which environment, interpreter and container the image belongs to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from fsprobe import __version__, files, foreign_json
from fsprobe.layouts.image import read_superblock
from fsprobe.layouts.scan import venv as environments
from fsprobe.model.formats import FORMAT, JsonObject, text
from fsprobe.recording.shapes import COUNT, TEXT, misfit

MAX_BYTES = 1 << 16
"""Of a side file; a dozen short fields, so that paths of 4096 bytes fit many times over."""
SHAPE = {
    "environment": TEXT,
    "container": TEXT,
    "image": {"n_bytes": COUNT},
    "python": {"version": TEXT, "program": TEXT, "program_identity": [COUNT]},
    "platform": {"machine": TEXT},
}


def side_file_of(image: Path) -> Path:
    """IMG -> IMG.json."""
    return image.with_name(image.name + ".json")


def describe(
    image: Path, venv: environments.Venv, base: environments.Base, environment: Mapping[str, str]
) -> JsonObject:
    """What the side file of an image made from `venv` holds; the container's name comes from `environment`."""
    block = read_superblock(str(image))
    return {
        "format": FORMAT,
        "kind": "image",
        "fsprobe": __version__,
        "environment": _text(venv.root),
        "image": {
            "n_bytes": image.stat().st_size,
            "made_s": block.made_s,
            "n_inodes": block.n_inodes,
            "comp": block.compression,
        },
        "python": {
            "version": venv.version,
            "home": _text(venv.home),
            "program": _text(base.program),
            "program_identity": list(base.identity) if base.identity else None,
            "cache_tag": venv.cache_tag,
            "system_site": venv.system_site,
        },
        "platform": {"machine": os.uname().machine, "system": os.uname().sysname},
        "container": _text(environments.container(environment)),
    }


def write(description: JsonObject, side_file: Path, part: Path, image: Path) -> None:
    """Put the finished image and its description in place: where there is room for one of them alone, neither is there.

    The image goes first: a description that belongs to another image is noticed by the size that it names.
    """
    with files.Replacing(str(side_file)) as file:
        file.write(json.dumps(description, indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())  # NFS asks for room only now
        os.replace(part, image)


def mismatches(image: str, at: str, environment: Mapping[str, str]) -> list[str]:
    """Why `image` may not work at `at` on this machine, in this container; empty when all fits or there is no side file.

    The side file may be anybody's, as the image may: it is data. Nothing that it names is run, and what it names is only
    looked at: a few stat calls, and the headers of an interpreter that is not the very file that the image was packed with.
    """
    path = Path(os.path.realpath(image))
    side_file = side_file_of(path)
    try:
        described = foreign_json.loads(files.read(str(side_file), MAX_BYTES).decode("utf-8"))
        if where := misfit(described, SHAPE):
            raise ValueError(where)
        python, packed_in = described["python"], described["container"]
        if described["image"]["n_bytes"] != path.stat().st_size:
            return [f"{side_file.name} belongs to another image; it can't be told what this one was packed for"]
        found = [
            *_path_mismatch(described["environment"], at),
            *_python_mismatch(python, os.path.realpath(at)),
            *_container_mismatch(packed_in, _text(environments.container(environment))),
        ]
        machine = described["platform"]["machine"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        return [f"{side_file.name} can't be used ({reason}); it can't be told what the image was packed for"]
    if machine != os.uname().machine:
        found.append(f"the image was packed on {machine}, this is {os.uname().machine}")
    return found


def _path_mismatch(packed: str, at: str) -> list[str]:
    if _text(os.path.realpath(at)) == packed:
        return []
    return [
        f"the image was packed from {packed} and is mounted over {at}: its scripts call the interpreter of {packed}"
    ]


def _python_mismatch(python: JsonObject, at: str) -> list[str]:
    program, identity = python["program"], python["program_identity"]
    if not program or not program.startswith("/") or program.startswith(_text(at) + "/"):
        return []  # not known, or inside the image
    here = environments.identify(program)
    if here is None:
        return [f"the interpreter that the image was packed for does not exist here: {program}"]
    if identity == list(here):
        return []
    packed = _digits(python["version"])
    version = _version_of(program, packed)
    if version and (packed + ".").startswith(version + "."):
        return []
    found = f"{version} here" if version else "another file here, whose version can't be told"
    return [f"the image was packed for Python {packed or '(not known)'}; {program} is {found}"]


def _container_mismatch(packed: str, here: str) -> list[str]:
    # by name: the same image file lies elsewhere on another machine
    if os.path.basename(packed) == os.path.basename(here):
        return []
    return [f"the image was packed in {packed or 'no container'}, this is {here or 'no container'}"]


def _version_of(program: str, packed: str) -> str:
    """The version of an interpreter by what lies beside it: 3.11.7, or 3.11 without its headers; "" where nothing says it."""
    real = os.path.realpath(program)
    prefix = os.path.dirname(os.path.dirname(real))
    named = re.match(r"(?:python|pypy)(\d+\.\d+)?", os.path.basename(real), re.ASCII)
    if named is None:
        return ""
    dotted = named[1] or ".".join(packed.split(".")[:2])
    if not named[1] and not os.path.exists(os.path.join(prefix, "lib", f"python{dotted}", "os.py")):
        return ""
    return _digits(environments.version_in_headers(prefix, dotted)) or dotted


def _digits(version: str) -> str:
    match = re.match(r"\d+(?:\.\d+){0,2}", version, re.ASCII)
    return match[0] if match else ""


def _text(path: str) -> str:
    return text(os.fsencode(path))
