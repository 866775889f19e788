"""IMG.json, the file beside an image: which environment, interpreter and container the image belongs to."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fsprobe import __version__
from fsprobe.layouts import venv as environments
from fsprobe.layouts.image import read_superblock
from fsprobe.model import FORMAT, JsonObject, text


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


def write(description: JsonObject, side_file: Path) -> None:
    """Write it whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{side_file.name}.", suffix=".part", dir=side_file.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(description, indent=1) + "\n")
            os.fchmod(file.fileno(), 0o666 & ~umask())
        os.replace(name, side_file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def mismatches(image: str, at: str, environment: Mapping[str, str]) -> list[str]:
    """Why `image` may not work at `at` on this machine, in this container; empty when all fits or there is no side file.

    Costs a few stat calls; the interpreter is only run when it is not the very file that the image was packed with.
    """
    path = Path(os.path.realpath(image))
    side_file = side_file_of(path)
    try:
        described = json.loads(side_file.read_text(encoding="utf-8"))
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
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [
            f"{side_file.name} can't be used ({type(error).__name__}); it can't be told what the image was packed for"
        ]
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
    if not program or program.startswith(_text(at) + "/"):
        return []  # not known, or inside the image
    here = environments.identify(program)
    if here is None:
        return [f"the interpreter that the image was packed for does not exist here: {program}"]
    if identity == list(here):
        return []
    version = _version_of(program)
    packed = ".".join(python["version"].split(".")[:3])
    if version == packed:
        return []
    return [f"the image was packed for Python {packed}; {program} is {version or 'something that does not run'} here"]


def _container_mismatch(packed: str, here: str) -> list[str]:
    # by name: the same image file lies elsewhere on another machine
    if os.path.basename(packed) == os.path.basename(here):
        return []
    return [f"the image was packed in {packed or 'no container'}, this is {here or 'no container'}"]


def _version_of(program: str) -> str:
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        done = subprocess.run(
            [program, "-I", "-S", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _text(path: str) -> str:
    return text(os.fsencode(path))
