"""What to type to serve a tree from one image file at its own path, or to make a venv again."""

from __future__ import annotations

import os

from fsprobe.analysis.findings.evidence import Evidence, command_line, environment, prefixes, quote, real_place

_SIF = '"$SIF"'


def container_image(evidence: Evidence) -> str:
    """The container that the run was in, as a word to type; `$SIF` where it is not known."""
    variables = environment(evidence)
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        if variables.get(name, "").startswith("/"):
            return quote(variables[name])
    return _SIF


def container_program(evidence: Evidence) -> str:
    """What starts the container, to type: that in which the run was; else whichever of the two is on the reader's PATH."""
    variables = environment(evidence)
    for name in ("apptainer", "singularity"):  # Apptainer sets both its own variables and Singularity's
        if variables.get(f"{name.upper()}_CONTAINER", "").startswith("/"):
            return name
    return "$(command -v apptainer || echo singularity)"


def is_container_known(evidence: Evidence) -> bool:
    """Whether the run was in a container whose image is known."""
    return container_image(evidence) != _SIF


def inside_the_container(evidence: Evidence) -> str:
    """What to put before a command that needs the run's container; "" where the container is not known."""
    return f"{container_program(evidence)} exec {container_image(evidence)} " if is_container_known(evidence) else ""


def name_the_container(evidence: Evidence) -> str:
    """What to say of commands that hold `$SIF`; "" where the container is known."""
    return "" if is_container_known(evidence) else " Set SIF to the container image, where you use one."


def choose_a_line(evidence: Evidence) -> str:
    """What to say of `image_commands`, of which the last two do the same; "" where the container is known."""
    if is_container_known(evidence):
        return ""
    return " Of the last two lines one is enough: the first of them without a container, the other in one (set SIF to its image)."


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
    program = container_program(evidence)
    if is_container_known(evidence):
        lines.append(f"{program} exec -B {quote(where)} {container_image(evidence)} {command_line(evidence)}")
    else:
        lines.append(f"fsprobe run --image {quote(image)} --at {quote(root)} -- {command_line(evidence)}")
        lines.append(f"{program} exec -B {quote(where)} {_SIF} {command_line(evidence)}")
    return lines


def line_of_its_python(evidence: Evidence, venv: str) -> list[str]:
    """The command with the venv's interpreter; nothing where the command does not name one."""
    words = list(evidence.profile.manifest.command or ())
    if not words or evidence.profile.manifest.command_cut or not os.path.basename(words[0]).startswith("python"):
        return []
    return [" ".join(map(quote, [os.path.join(venv, "bin/python"), *words[1:]]))]


def lines_to_rebuild(evidence: Evidence, prefix: bytes, base_prefix: str, version: str) -> list[str]:
    """Keep the list of a venv's packages, empty it and fill it again with another Python, in the container where there is one."""
    python = os.path.join(base_prefix, f"bin/python{'.'.join(version.split('.')[:2])}") if base_prefix else "python"
    inside = inside_the_container(evidence)
    return [
        f"{inside}{quote(python)} -m pip freeze --path {quote(prefix)}/lib/python3.*/site-packages > requirements.txt",
        f"{inside}{quote(python)} -m venv --clear {quote(prefix)}",
        f"{inside}{quote(prefix + b'/bin/python')} -m pip install -r requirements.txt",
    ]
