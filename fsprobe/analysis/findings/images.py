"""What to type to serve a tree from one image file, at its own path."""

from __future__ import annotations

import os
import shutil

from fsprobe.analysis.findings.evidence import Evidence, command_line, environment, prefixes, quote, real_place

_SIF = '"$SIF"'


def starter(evidence: Evidence) -> str:
    """The program that starts containers, as a word to type: the one that the run was in, else the one that is on PATH here."""
    variables = environment(evidence)
    if variables.get("APPTAINER_CONTAINER"):
        return "apptainer"  # it sets the variables of both
    if variables.get("SINGULARITY_CONTAINER"):
        return "singularity"
    return "apptainer" if shutil.which("apptainer") and not shutil.which("singularity") else "singularity"


def container_image(evidence: Evidence) -> str:
    """The container that the run was in, as a word to type; `$SIF` where it is not known."""
    variables = environment(evidence)
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        if variables.get(name, "").startswith("/"):
            return quote(variables[name])
    return _SIF


def is_container_known(evidence: Evidence) -> bool:
    """Whether the run was in a container whose image is known."""
    return container_image(evidence) != _SIF


def name_the_container(evidence: Evidence) -> str:
    """What to say of commands that hold `$SIF`; "" where the container is known."""
    return "" if is_container_known(evidence) else " Set SIF to the container image, where you use one."


def image_of(evidence: Evidence, root: bytes) -> bytes:
    """Where to make the image of a tree: beside it; of an installation that venvs are based on, which may be another's, in
    the working directory."""
    cwd = os.fsencode(evidence.profile.manifest.cwd)
    bases = {os.fsencode(str(fact["base_prefix"])) for fact in evidence.facts if fact.get("base_prefix")}
    if cwd and root in bases and root not in prefixes(evidence):
        return os.path.join(cwd, os.path.basename(root) + b".sqsh")
    return root + b".sqsh"


def image_commands(evidence: Evidence, root: bytes) -> list[str]:
    """What to type to serve a tree from one file, at its own path: where it lies, since a link would be packed as such."""
    image, root = image_of(evidence, root), real_place(evidence, root)
    where = b"%b:%b:image-src=/" % (image, root)
    lines = [f"mksquashfs {quote(root)} {quote(image)} -noappend -processors 1 -no-xattrs"]
    if is_container_known(evidence):
        lines.append(f"{starter(evidence)} exec -B {quote(where)} {container_image(evidence)} {command_line(evidence)}")
    else:
        lines.append(f"fsprobe run --image {quote(image)} --at {quote(root)} -- {command_line(evidence)}")
        lines.append(f"{starter(evidence)} exec -B {quote(where)} {_SIF} {command_line(evidence)}")
    return lines
